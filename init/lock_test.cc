// Who may be at work in a network namespace. Needs root.
#include "init/lock.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/un.h>

#include <csignal>
#include <cstddef>
#include <cstring>

#include "init/namespace_testing.h"

namespace init {
namespace {

using std::chrono_literals::operator""ms;

struct Ends {
  int read = -1, write = -1;
};
Ends make_pipe() {
  int ends[2] = {-1, -1};
  return ::pipe2(ends, O_CLOEXEC) == 0 ? Ends{ends[0], ends[1]} : Ends{};
}
bool arrives(int fd) {
  char byte = 0;
  return ::read(fd, &byte, 1) == 1;
}

TEST(Lock, SecondOne_WaitsForTheFirstAndNoLonger) {
  EXPECT_TRUE(in_namespace([] {
    const auto ready = make_pipe(), end = make_pipe();
    const pid_t child = ::fork();
    if (child == 0) {
      ::close(end.write);
      const auto lock = Lock::take(1000ms);
      const bool told = lock && ::write(ready.write, "x", 1) == 1;
      arrives(end.read);
      ::_exit(told ? 0 : 1);
    }
    CHECK_THAT(arrives(ready.read));
    const auto refused = Lock::take(50ms);
    CHECK_THAT(!refused && refused.error().find("another run of sluice-init is at work") != std::string::npos);
    CHECK_THAT(refused.error().find("process " + std::to_string(child) + " of user 0") != std::string::npos);
    CHECK_THAT(Lock::descriptor() == -1);
    ::close(end.write);
    CHECK_THAT(good(Lock::take()));
    CHECK_THAT(Lock::descriptor() == -1 && good(Lock::take(0ms)));
    return ::waitpid(child, nullptr, 0) == child;
  }));
}

TEST(Lock, OtherNamespace_HasItsOwn) {
  EXPECT_TRUE(in_namespace([] {
    const auto lock = Lock::take(0ms);
    CHECK_THAT(lock);
    return in_namespace([] { return good(Lock::take(0ms)); });
  }));
}

// Its child still writes rules, perhaps.
TEST(Lock, HolderIsKilled_HeldUntilWhatItStartedEnds) {
  EXPECT_TRUE(in_namespace([] {
    const auto ready = make_pipe();
    const pid_t run = ::fork();
    if (run == 0) {
      const auto lock = Lock::take(0ms);
      // Says who it is on the only descriptor that it has from outside of the test, and stays.
      const auto script = "echo $$ > /proc/" + std::to_string(::getpid()) + "/fd/" + std::to_string(ready.write) + "; exec sleep infinity";
      const std::vector<std::string> arguments{"-c", script}, environment{"PATH=/usr/bin:/bin"};
      (void)run_program(find_program("sh"), arguments, environment, {});
      ::_exit(1);
    }
    char text[32] = {};
    CHECK_THAT(::read(ready.read, text, sizeof text - 1) > 0);
    const pid_t left = std::stoi(text);
    CHECK_THAT(::kill(run, SIGKILL) == 0 && ::waitpid(run, nullptr, 0) == run);
    const auto refused = Lock::take(50ms);
    CHECK_THAT(::kill(left, SIGKILL) == 0);
    CHECK_THAT(!refused && good(Lock::take()));
    return true;
  }));
}

// Somebody has the name and never listens.
TEST(Lock, SilentHolder_EndsAtTheLimit) {
  EXPECT_TRUE(in_namespace([] {
    const int fd = ::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::memcpy(address.sun_path, "\0sluice-init", 12);
    CHECK_THAT(::bind(fd, reinterpret_cast<const sockaddr*>(&address), offsetof(sockaddr_un, sun_path) + 12) == 0);
    const auto refused = Lock::take(30ms);
    CHECK_THAT(!refused && refused.error().find("did not end within 30 ms; nothing was changed") != std::string::npos);
    ::close(fd);
    return good(Lock::take(0ms));
  }));
}

}  // namespace
}  // namespace init
