// The program as it is started: exit codes, and what it survives. Each run in a namespace that ends with the test. Needs root.
#include <fcntl.h>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <limits.h>

#include <csignal>
#include <filesystem>

#include "init/namespace_testing.h"
#include "init/native.h"
#include "init/probe.h"

namespace init {
namespace {

// The program stands beside this one.
std::string program() {
  std::error_code none;
  return std::filesystem::read_symlink("/proc/self/exe", none).parent_path() / "sluice-init";
}

struct Ran {
  int status = -1;  // 128 + signal
  std::string err;
};
Ran run(std::vector<std::string> arguments) {
  const std::vector<std::string> environment{"PATH=/nonexistent"};
  const auto done = run_program(program(), arguments, environment, {});
  return done ? Ran{done->status, done->err} : Ran{-1, done.error()};
}

bool ends(const std::vector<std::string>& arguments, int status, std::string_view says) {
  std::vector<std::string> all{"-i", "*", "-b", "*", "--enable-ipv6=true", "--force-iptables-binary=nft"};
  all.insert(all.end(), arguments.begin(), arguments.end());
  const auto ran = run(all);
  if (ran.status == status && ran.err.find(says) != std::string::npos) return true;
  std::fprintf(stderr, "exit %d: %s\n", ran.status, ran.err.c_str());
  return false;
}

TEST(Run, WrongValues_ExitTwoAndNothingIsMade) {
  EXPECT_TRUE(in_namespace([] {
    CHECK_THAT(ends({"--trace", ""}, 2, "--trace: \"\" is not accepted"));
    CHECK_THAT(ends({"--trace="}, 2, "--trace: \"\" is not accepted"));
    CHECK_THAT(ends({"--trace=out 10.0.0.7:0"}, 2, "--trace: \"10.0.0.7:0\" is not accepted"));
    CHECK_THAT(ends({"-p", "15006"}, 2, "--inbound-capture-port (-z): \"15006\" is not accepted"));
    CHECK_THAT(state(true).empty() && state(false).empty());
    return true;
  }));
}

TEST(Run, NobodyReadsItsLines_BothFamiliesGetTheirRules) {
  EXPECT_TRUE(in_namespace([] {
    int ends[2];
    CHECK_THAT(::pipe(ends) == 0 && ::close(ends[0]) == 0);
    const auto path = program();
    const pid_t child = ::fork();
    if (child == 0) {
      std::signal(SIGPIPE, SIG_DFL);
      ::dup2(ends[1], STDERR_FILENO);
      ::execl(path.c_str(), path.c_str(), "-i", "*", "-b", "*", "--enable-ipv6=true", "--force-iptables-binary=nft",
              "--log_output_level=debug", nullptr);
      ::_exit(127);
    }
    int status = -1;
    CHECK_THAT(::waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0);
    CHECK_THAT(state(true).find("ISTIO_OUTPUT") != std::string::npos && state(false).find("ISTIO_OUTPUT") != std::string::npos);
    return true;
  }));
}

// What this program ignores, those that it starts do not.
TEST(Run, ProgramsThatItStarts_HaveTheirSignalsBack) {
  EXPECT_TRUE(in_namespace([] {
    std::signal(SIGPIPE, SIG_IGN);
    const std::vector<std::string> arguments{"-c", "kill -PIPE $$; echo alive"}, environment;
    const auto done = run_program(find_program("sh"), arguments, environment, {});
    CHECK_THAT(good(done) && done->status == 128 + SIGPIPE && done->out.empty());
    return true;
  }));
}

TEST(Run, Validation_126OnlyForWhatIsNotCaptured) {
  EXPECT_TRUE(in_namespace([] {
    CHECK_THAT(ends({"--run-validation", "--skip-rule-apply", "--probe-timeout=1.5s"}, 126, "there are no rules of ours"));
    CHECK_THAT(ends({"--run-validation"}, 0, "connections are captured, checked: "));
    {
      const auto ear = Ear::open(true, 15006);  // Istio's program ends so as well
      CHECK_THAT(ear &&
                 ends({"--run-validation"}, 126, "cannot listen on 127.0.0.1:15006: Address already in use; it runs before the proxy"));
    }
    CHECK_THAT(become(1000, 0));
    CHECK_THAT(ends({"--run-validation", "--skip-rule-apply"}, 1, "--run-validation: nothing could be checked: "));
    return true;
  }));
}

TEST(Run, ValidationWhereIpv6IsRefusedAndNotNeeded_LooksAtIpv4) {
  EXPECT_TRUE(in_namespace([] {
    CHECK_THAT(good(feed_nft("add table ip6 nat; add chain ip6 nat PREROUTING { type filter hook prerouting priority 0; }")));
    CHECK_THAT(ends({"--run-validation"}, 0, "connections are captured, checked: IPv4 inbound"));
    // Without having made the rules it does not know that they are not needed.
    CHECK_THAT(ends({"--run-validation", "--skip-rule-apply"}, 126, "IPv6 inbound: "));
    return true;
  }));
}

TEST(Run, TraceOfAGroup_NameAndNumberAreOne) {
  EXPECT_TRUE(in_namespace([] {
    const auto said = [](const char* gid) {
      const std::vector<std::string> arguments{"-i", "*", "-g", "0", "--trace", fmt::format("out 10.0.0.7:443 uid 5 gid {}", gid)},
          environment;
      const auto done = run_program(program(), arguments, environment, {});
      return done ? done->out : done.error();
    };
    CHECK_THAT(said("root").find("not captured") != std::string::npos && said("root") == said("0"));
    CHECK_THAT(said("5").find("captured: arrives at port 15001") != std::string::npos);
    return true;
  }));
}

}  // namespace
}  // namespace init
