#include "init/program.h"

#include <gtest/gtest.h>
#include <sys/wait.h>

#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdlib>

namespace init {
namespace {

const std::vector<std::string> kNoEnvironment;

TEST(RunProgram, Input_ArrivesWholeAndBothOutputsComeBack) {
  const auto shell = find_program("sh");
  ASSERT_FALSE(shell.empty());
  const std::string big(3 << 20, 'x');
  const std::vector<std::string> arguments{"-c", "/bin/cat; echo problem >&2; exit 3"};
  const auto done = run_program(shell, arguments, kNoEnvironment, big);
  ASSERT_TRUE(done) << done.error();
  EXPECT_EQ(done->out, big);
  EXPECT_EQ(done->err, "problem\n");
  EXPECT_EQ(done->status, 3);
}

TEST(RunProgram, Environment_IsExactlyWhatWasGiven) {
  ASSERT_EQ(::setenv("XTABLES_LIBDIR", "/nonexistent", 1), 0);
  const std::vector<std::string> environment{"A=1"};
  const auto done = run_program(find_program("env"), {}, environment, {});
  ASSERT_TRUE(done) << done.error();
  EXPECT_EQ(done->out, "A=1\n");
}

TEST(RunProgram, KilledBySignal_StatusSaysSo) {
  const std::vector<std::string> arguments{"-c", "kill -9 $$"};
  const auto done = run_program(find_program("sh"), arguments, kNoEnvironment, {});
  ASSERT_TRUE(done) << done.error();
  EXPECT_EQ(done->status, 128 + SIGKILL);
}

TEST(RunProgram, NoSuchFile_ErrorNamesIt) {
  const auto done = run_program("/nonexistent/iptables", {}, kNoEnvironment, {});
  ASSERT_FALSE(done);
  EXPECT_NE(done.error().find("/nonexistent/iptables"), std::string::npos);
}

TEST(RunProgram, DoesNotEnd_IsKilledAndTheErrorSaysSo) {
  using std::chrono_literals::operator""ms;
  // With its pipes open, and with them closed.
  for (const char* script : {"exec /bin/sleep infinity", "exec >&- 2>&-; exec /bin/sleep infinity"}) {
    const std::vector<std::string> arguments{"-c", script};
    const auto done = run_program(find_program("sh"), arguments, kNoEnvironment, {}, 50ms);
    ASSERT_FALSE(done);
    EXPECT_NE(done.error().find("sh did not end within 50 ms and was killed"), std::string::npos) << done.error();
    EXPECT_EQ(::waitpid(-1, nullptr, WNOHANG), -1);  // nothing is left of it
    EXPECT_EQ(errno, ECHILD);
  }
}

// Somebody else may have the pipes for ever.
TEST(RunProgram, LeavesAProcessBehind_ItsOwnEndCounts) {
  const std::vector<std::string> arguments{"-c", "/bin/sleep infinity & echo $!"};
  const auto done = run_program(find_program("sh"), arguments, kNoEnvironment, {});
  ASSERT_TRUE(done) << done.error();
  EXPECT_EQ(done->status, 0);
  EXPECT_EQ(::kill(std::stoi(done->out), SIGKILL), 0);
}

TEST(FindProgram, PathVariable_HasNoSay) {
  ASSERT_EQ(::setenv("PATH", "/nonexistent", 1), 0);
  EXPECT_EQ(find_program("sh").front(), '/');
  EXPECT_EQ(find_program("no-such-program-anywhere"), "");
}

}  // namespace
}  // namespace init
