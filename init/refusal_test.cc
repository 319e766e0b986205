// What happens when a privilege or a part of the kernel is missing: one line that names it, and never half of the rules. A
// missing part is a program of iptables that cannot load it, or one in its place that answers as the kernel does. Needs root.
#include <fcntl.h>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <limits.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include <algorithm>
#include <csignal>
#include <cstdlib>
#include <fstream>

#include "init/namespace_testing.h"
#include "init/native.h"

namespace init {
namespace {

constexpr unsigned kNobody = 65534;

bool private_mounts() { return ::unshare(CLONE_NEWNS) == 0 && ::mount("", "/", nullptr, MS_PRIVATE | MS_REC, nullptr) == 0; }

// iptables finds its library for a match or target no more.
bool hide_library(std::string_view name) {
  if (!private_mounts()) return false;
  for (const char* folder :
       {"/usr/lib/x86_64-linux-gnu/xtables", "/usr/lib/aarch64-linux-gnu/xtables", "/usr/lib64/xtables", "/usr/lib/xtables"}) {
    const auto path = fmt::format("{}/libxt_{}.so", folder, name);
    if (::access(path.c_str(), R_OK) == 0) return ::mount("/dev/null", path.c_str(), nullptr, MS_BIND, nullptr) == 0;
  }
  return false;
}

// A program goes to work as ever, unless its input holds `word`: then it says `error`, in which $line is the number of that
// line, and fails, as when the kernel refuses.
bool refuse(std::string_view program, std::string_view word, std::string_view error) {
  const auto real = find_program(program);
  if (real.empty() || !private_mounts() || ::mount("tmpfs", "/usr/local/sbin", "tmpfs", 0, nullptr) != 0) return false;
  const auto path = fmt::format("/usr/local/sbin/{}", program);
  std::ofstream(path) << fmt::format(
      "#!/bin/sh\ntext=$(cat)\nline=$(printf '%s\\n' \"$text\" | grep -n -m 1 -e '{}' | cut -d: -f1)\n"
      "if [ -n \"$line\" ]; then echo \"{}\" >&2; exit 1; fi\nprintf '%s\\n' \"$text\" | exec {} \"$@\"\n",
      word, error, real);
  return ::chmod(path.c_str(), 0755) == 0 && find_program(program) == path;
}

// Runs the body as this user with these capabilities; what it returns.
std::string as(unsigned user, uint32_t capabilities, const std::function<std::string()>& body) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return "no pipe";
  const pid_t child = ::fork();
  if (child == 0) {
    const auto text = become(user, capabilities) ? body() : "cannot become that user";
    [[maybe_unused]] const auto written = ::write(ends[1], text.data(), text.size());
    ::_exit(0);
  }
  ::close(ends[1]);
  std::string out;
  char buffer[4096];
  for (ssize_t got = 0; (got = ::read(ends[0], buffer, sizeof buffer)) > 0;) out.append(buffer, static_cast<size_t>(got));
  ::close(ends[0]);
  ::waitpid(child, nullptr, 0);
  return out;
}

std::string error_of(const std::expected<void, std::string>& done) { return done ? "done" : done.error(); }

// Everything that a run may change, in all backends.
std::string everything() {
  std::string out;
  for (const char* program : {"iptables-nft-save", "ip6tables-nft-save", "iptables-legacy-save", "ip6tables-legacy-save"}) {
    const auto text = output(program, {});
    for (size_t from = 0; from < text.size(); from = text.find('\n', from) + 1) {
      const auto line = text.substr(from, text.find('\n', from) - from);
      const bool user_chain = line.starts_with(':') && line.find(" - [") != std::string::npos;
      if (line.starts_with("-A") || user_chain) out += text.substr(from, text.find('\n', from) - from + 1);
    }
  }
  for (const std::vector<std::string>& arguments : std::vector<std::vector<std::string>>{{"rule"},
                                                                                         {"-6", "rule"},
                                                                                         {"route", "show", "table", "133"},
                                                                                         {"-6", "route", "show", "table", "133"},
                                                                                         {"-o", "addr", "show", "dev", "lo"}})
    out += output("ip", arguments);
  return out;
}

bool one_line_with(const std::string& text, const std::vector<std::string_view>& parts) {
  const auto body = text.ends_with('\n') ? std::string_view(text).substr(0, text.size() - 1) : std::string_view(text);
  const bool good =
      body.find('\n') == std::string::npos && std::ranges::all_of(parts, [&](auto part) { return body.find(part) != body.npos; });
  if (!good) std::fprintf(stderr, "not as expected: %s\n", text.c_str());
  return good;
}

Config pod(std::vector<const char*> more) {
  std::vector<const char*> arguments{"-i", "*", "-b", "*", "--enable-ipv6=true"};
  arguments.insert(arguments.end(), more.begin(), more.end());
  return config(arguments);
}

// Applies with the hold, as the kernel lets it; the state must be that of a run without it, with one warning.
bool degrades(const Config& held, const Config& plain, std::string_view part) {
  CHECK_THAT(good(apply_rules(plain.options, plain.rules)));
  const auto wanted = everything();
  const auto none = config({});
  for (const bool fresh : {true, false}) {
    if (fresh) CHECK_THAT(good(clean_up(none.options, none.rules)));
    bool done = false;
    const auto said = warnings([&] { done = good(apply_rules(held.options, held.rules)); });
    CHECK_THAT(done);
    CHECK_THAT(one_line_with(said, {"sluice-init: warning: --hold-until-ready is not possible here for ", part,
                                    "connections made before the proxy listens are refused: "}));
    CHECK_THAT(everything() == wanted);
  }
  return true;
}

TEST(NoSocketMatch, Iptables_EverythingButTheHold) {
  for (const char* backend : {"--force-iptables-binary=nft", "--force-iptables-binary=legacy"})
    EXPECT_TRUE(in_namespace([&] {
      CHECK_THAT(hide_library("socket"));
      return degrades(pod({backend, "--hold-until-ready", "-m", "TPROXY"}), pod({backend, "-m", "TPROXY"}), "IPv4 and IPv6");
    })) << backend;
}

TEST(NoSocketMatch, KernelRefuses_EverythingButTheHold) {
  EXPECT_TRUE(in_namespace([] {
    CHECK_THAT(refuse(
        "ip6tables-nft-restore", "-m socket",
        "ip6tables-nft-restore v1.8.9 (nf_tables): line $line: RULE_APPEND failed (No such file or directory): rule in chain SLUICE_HOLD"));
    const auto held = pod({"--hold-until-ready"}), plain = pod({});
    bool done = false;
    const auto said = warnings([&] { done = good(apply_rules(held.options, held.rules)); });
    CHECK_THAT(
        done &&
        one_line_with(said,
                      {"for IPv6,",
                       "at \"-A SLUICE_HOLD -m socket --nowildcard -j RETURN\" (table filter, which needs the kernel module xt_socket)"}));
    CHECK_THAT(state(true).find("SLUICE_HOLD") != std::string::npos && state(false).find("SLUICE_HOLD") == std::string::npos);
    CHECK_THAT(state(false).find("ISTIO_OUTPUT") != std::string::npos);
    return true;
  }));
}

TEST(NoSocketExpression, Nftables_EverythingButTheHold) {
  EXPECT_TRUE(in_namespace([] {
    CHECK_THAT(refuse("nft", "socket wildcard", "/dev/stdin:$line:1-2: Error: Could not process rule: No such file or directory"));
    const auto held = pod({"--native-nftables", "--hold-until-ready"});
    bool done = false;
    const auto said = warnings([&] { done = good(apply_rules(held.options, held.rules)); });
    CHECK_THAT(done && one_line_with(said, {"for nftables,", "No such file or directory"}));
    const std::vector<std::string> tables{"ip istio-proxy-nat", "ip6 istio-proxy-nat"};
    CHECK_THAT(native_tables() == tables);
    return true;
  }));
}

TEST(NoTproxy, ErrorNamesTheModuleAndNothingStays) {
  EXPECT_TRUE(in_namespace([] {
    const auto of = pod({"-m", "TPROXY"}), earlier = pod({"-u", "42"});
    CHECK_THAT(refuse(
        "iptables-nft-restore", "-j TPROXY",
        "iptables-nft-restore v1.8.9 (nf_tables): line $line: RULE_APPEND failed (No such file or directory): rule in chain ISTIO_TPROXY"));
    for (const bool fresh : {true, false}) {
      if (!fresh) CHECK_THAT(good(apply_rules(earlier.options, earlier.rules)));
      const auto before = everything();
      CHECK_THAT(one_line_with(error_of(apply_rules(of.options, of.rules)),
                               {"table mangle", "-j TPROXY", "needs the kernel module xt_TPROXY", "No such file or directory"}));
      CHECK_THAT(everything() == before);
    }
    return true;
  }));
}

TEST(NoTproxy, LibraryMissing_EveryBackendRefusesWhole) {
  for (const char* backend : {"--force-iptables-binary=nft", "--force-iptables-binary=legacy"})
    EXPECT_TRUE(in_namespace([&] {
      CHECK_THAT(hide_library("TPROXY"));
      const auto of = pod({"-m", "TPROXY", backend});
      const auto before = everything();
      CHECK_THAT(one_line_with(error_of(apply_rules(of.options, of.rules)),
                               {"TPROXY", backend + std::string_view("--force-iptables-binary=").size()}));
      CHECK_THAT(everything() == before);
      return true;
    })) << backend;
}

TEST(NoPrivilege, OneLineNamesTheCapabilityAndNothingStays) {
  struct Case {
    unsigned user;
    uint32_t capabilities;
    std::vector<const char*> options;
    std::string_view names;
  };
  const std::vector<Case> cases = {
      {kNobody, 0, {"-m", "TPROXY"}, "the capability NET_ADMIN is missing"},
      {0, kRaw, {"-m", "TPROXY"}, "the capability NET_ADMIN is missing"},
      {kNobody, kRaw, {"--native-nftables"}, "the capability NET_ADMIN is missing"},
      {kNobody, kAdmin, {"-m", "TPROXY", "--force-iptables-binary=legacy"}, "iptables-legacy needs the capability NET_RAW"},
      {0, kAdmin, {"--force-iptables-binary=legacy"}, "iptables-legacy needs the capability NET_RAW"}};
  for (const auto& c : cases)
    EXPECT_TRUE(in_namespace([&] {
      const auto of = pod(c.options);
      const auto before = everything();
      const auto text = as(c.user, c.capabilities, [&] { return error_of(apply_rules(of.options, of.rules)); });
      CHECK_THAT(one_line_with(text, {c.names}));
      CHECK_THAT(everything() == before);
      return true;
    })) << c.names
        << " as " << c.user;
}

// What cannot be read cannot be called clean.
TEST(NoPrivilege, CleanUpOfLegacyRules_RemovesTheRestAndFails) {
  for (const unsigned user : {0u, kNobody})
    EXPECT_TRUE(in_namespace([&] {
      auto of = pod({"--force-iptables-binary=legacy"});
      CHECK_THAT(good(apply_rules(of.options, of.rules)));
      const auto legacy = output("iptables-legacy-save", {});
      CHECK_THAT(tool("iptables-nft", {"-t", "nat", "-N", "ISTIO_OUTPUT"}));
      of.options.backend = iptables::Backend::kDetect;
      const auto clean = [&] { return error_of(clean_up(of.options, of.rules)); };
      CHECK_THAT(one_line_with(as(user, kAdmin, clean), {"iptables-legacy needs the capability NET_RAW to read its tables; grant it"}));
      CHECK_THAT(state(true).empty() && legacy.find("ISTIO_OUTPUT") != std::string::npos);
      CHECK_THAT(output("iptables-legacy-save", {}).find("-j ISTIO_OUTPUT") != std::string::npos);
      of.options.dry_run = true;
      CHECK_THAT(one_line_with(as(user, kAdmin, clean), {"iptables-legacy needs the capability NET_RAW to read its tables; grant it"}));
      of.options.dry_run = false;
      // An apply in the other backend says that it cannot look after them; who is not root does not even see them.
      const auto apply = [&] {
        say_as(Severity::kWarning, false);
        return error_of(apply_rules(of.options, of.rules));
      };
      const auto said = warnings([&] { (void)as(user, kAdmin, apply); });
      CHECK_THAT(one_line_with(said, {"warning: rules of earlier runs in iptables-legacy may stay, they cannot be read: ",
                                      user == 0 ? "NET_RAW" : "only root can see which legacy tables there are"}));
      of.options.backend = iptables::Backend::kNft;  // legacy does not matter
      CHECK_THAT(user == 0 || warnings([&] { (void)as(user, kAdmin, apply); }).empty());
      of.options.backend = iptables::Backend::kDetect;
      CHECK_THAT(as(user, kAdmin | kRaw, clean) == "done");
      CHECK_THAT(output("iptables-legacy-save", {}).find("ISTIO") == std::string::npos);
      return true;
    })) << user;
}

// The new rules are good by then.
TEST(EarlierRules, CannotBeRemoved_ErrorSaysWhatStands) {
  EXPECT_TRUE(in_namespace([] {
    const auto old = pod({"--force-iptables-binary=legacy"}), of = pod({});
    CHECK_THAT(good(apply_rules(old.options, old.rules)));
    CHECK_THAT(refuse("iptables-legacy-restore", "-X ISTIO_OUTPUT", "iptables-legacy-restore: line $line failed"));
    CHECK_THAT(one_line_with(error_of(apply_rules(of.options, of.rules)),
                             {"the rules asked for stand, made with iptables-nft, but so does something of an earlier run",
                              "--cleanup-only", "IPv4 rules in iptables-legacy: ", "-X ISTIO_OUTPUT"}));
    CHECK_THAT(state(true).find("ISTIO_OUTPUT") != std::string::npos && state(false).find("ISTIO_OUTPUT") != std::string::npos);
    CHECK_THAT(output("ip6tables-legacy-save", {}).find("ISTIO") == std::string::npos);  // the rest is tried all the same
    return true;
  }));
}

TEST(CleanUp, RulesThatCannotBeRemoved_TheRestGoesAndTheErrorNamesThem) {
  EXPECT_TRUE(in_namespace([] {
    const auto of = pod({"-m", "TPROXY"});
    CHECK_THAT(good(apply_rules(of.options, of.rules)));
    CHECK_THAT(good(feed_nft("add table ip istio-proxy-nat")));
    CHECK_THAT(refuse("iptables-nft-restore", "-X ISTIO_OUTPUT", "iptables-nft-restore: line $line failed"));
    CHECK_THAT(one_line_with(error_of(clean_up(of.options, of.rules)), {"IPv4 rules in iptables-nft: ", "-X ISTIO_OUTPUT"}));
    CHECK_THAT(state(true).find("ISTIO_OUTPUT") != std::string::npos);
    CHECK_THAT(state(false).find("ISTIO") == std::string::npos && native_tables().empty());
    CHECK_THAT(output("ip", {"rule"}).find("fwmark") == std::string::npos);
    CHECK_THAT(output("ip", {"-o", "addr", "show", "dev", "lo"}).find(" ::6/128") == std::string::npos);
    return true;
  }));
}

// Nobody forced a backend, so the next one is tried, and a line says why.
TEST(Fallback, NftRefuses_LegacyTakesOverAndTheReasonIsTold) {
  EXPECT_TRUE(in_namespace([] {
    auto of = pod({});
    of.options.backend = iptables::Backend::kDetect;
    CHECK_THAT(refuse("iptables-nft-restore", "ISTIO_OUTPUT", "iptables-nft-restore: line $line failed: Protocol not supported"));
    bool done = false;
    const auto said = warnings([&] { done = good(apply_rules(of.options, of.rules)); });
    CHECK_THAT(done && one_line_with(said, {"warning: the rules are made with iptables-legacy, because ",
                                            "iptables-nft-restore refused the rules", "Protocol not supported"}));
    CHECK_THAT(state(true).empty() && output("iptables-legacy-save", {}).find("-j ISTIO_OUTPUT") != std::string::npos);
    return true;
  }));
}

// As when another program takes a rule away at once.
TEST(Native, KernelHoldsLess_ErrorAndWhatWasThereIsBack) {
  EXPECT_TRUE(in_namespace([] {
    const auto earlier = pod({"--native-nftables", "-u", "42"}), of = pod({"--native-nftables"});
    const auto listing = [] { return output("nft", {"--stateless", "list", "ruleset"}); };
    const auto real = find_program("nft");
    std::string before;
    for (const bool fresh : {true, false}) {
      if (!fresh) {
        CHECK_THAT(good(apply_rules(earlier.options, earlier.rules)));
        before = listing();
        CHECK_THAT(!before.empty());
      }
      CHECK_THAT(private_mounts() && ::mount("tmpfs", "/usr/local/sbin", "tmpfs", 0, nullptr) == 0);
      std::ofstream("/usr/local/sbin/nft") << fmt::format(
          "#!/bin/sh\n/usr/bin/sed -e '/add rule ip istio-proxy-nat istio-output .*1337/d' | exec {} \"$@\"\n", real);
      CHECK_THAT(::chmod("/usr/local/sbin/nft", 0755) == 0);
      CHECK_THAT(one_line_with(error_of(apply_rules(of.options, of.rules)),
                               {"nft reported success, but chain istio-output of table ip istio-proxy-nat has "}));
      CHECK_THAT(listing() == before);
      CHECK_THAT(::umount2("/usr/local/sbin", MNT_DETACH) == 0);
    }
    return true;
  }));
}

// What it was told comes after all; a run that had looked before would hold every rule twice.
TEST(KilledRun, ItsChildStillWorks_TheNextRunWaits) {
  EXPECT_TRUE(in_namespace([] {
    const auto of = pod({"--native-nftables"}), none = config({});
    const auto listing = [] { return output("nft", {"--stateless", "list", "ruleset"}); };
    CHECK_THAT(good(apply_rules(of.options, of.rules)));
    const auto wanted = listing(), real = find_program("nft");
    CHECK_THAT(good(clean_up(none.options, none.rules)) && listing().empty());
    CHECK_THAT(private_mounts() && ::mount("tmpfs", "/usr/local/sbin", "tmpfs", 0, nullptr) == 0);
    CHECK_THAT(::mkfifo("/usr/local/sbin/begun", 0600) == 0 && ::mkfifo("/usr/local/sbin/go", 0600) == 0);
    std::ofstream("/usr/local/sbin/nft") << fmt::format(
        "#!/bin/sh\ncd /usr/local/sbin\nif [ \"$1\" = -f ] && mkdir once 2>/dev/null; then\n"
        "cat > rules; echo > begun; read line < go; exec {0} -f rules\nfi\nexec {0} \"$@\"\n",
        real);
    CHECK_THAT(::chmod("/usr/local/sbin/nft", 0755) == 0);
    const auto start = [&] {
      const pid_t run = ::fork();
      if (run == 0) ::_exit(good(apply_rules(of.options, of.rules)) ? 0 : 1);
      return run;
    };
    const pid_t killed = start();
    CHECK_THAT(::open("/usr/local/sbin/begun", O_RDONLY | O_CLOEXEC) >= 0);  // its child has the rules
    CHECK_THAT(::kill(killed, SIGKILL) == 0 && ::waitpid(killed, nullptr, 0) == killed);
    const pid_t next = start();
    pollfd end{static_cast<int>(::syscall(SYS_pidfd_open, next, 0)), POLLIN, 0};
    const bool waits = ::poll(&end, 1, 200) == 0;
    CHECK_THAT(::close(::open("/usr/local/sbin/go", O_WRONLY | O_CLOEXEC)) == 0);
    int status = 1;
    CHECK_THAT(::waitpid(next, &status, 0) == next && status == 0);
    CHECK_THAT(waits && listing() == wanted);
    return true;
  }));
}

// As in a pod with `runAsUser: 65534` and added capabilities that a runtime hands on as ambient ones.
TEST(OtherThanRoot, AmbientCapabilities_AreEnough) {
  struct Case {
    uint32_t capabilities;
    std::vector<const char*> options;
  };
  const std::vector<Case> cases = {{kAdmin, {"--hold-until-ready", "-m", "TPROXY"}},
                                   {kAdmin, {"--native-nftables", "--hold-until-ready"}},
                                   {kAdmin | kRaw, {"--force-iptables-binary=legacy", "--hold-until-ready", "-m", "TPROXY"}}};
  for (const auto& c : cases)
    EXPECT_TRUE(in_namespace([&] {
      const auto of = pod(c.options);
      const auto before = everything();
      const auto run = [&] { return error_of(apply_rules(of.options, of.rules)); };
      CHECK_THAT(run() == "done");
      const auto wanted = everything();
      const auto none = config({});
      CHECK_THAT(good(clean_up(of.options, none.rules)) && everything() == before);
      CHECK_THAT(as(kNobody, c.capabilities, run) == "done" && everything() == wanted);
      CHECK_THAT(as(kNobody, c.capabilities, run) == "done" && everything() == wanted);
      CHECK_THAT(as(kNobody, c.capabilities, [&] { return error_of(clean_up(of.options, of.rules)); }) == "done");
      CHECK_THAT(everything() == before);
      return true;
    })) << c.options.front();
}

}  // namespace
}  // namespace init
