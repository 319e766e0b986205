#include "init/lock.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstring>
#include <string_view>
#include <utility>

#include "init/say.h"

namespace init {
namespace {

using Clock = std::chrono::steady_clock;

int held = -1;  // by this process

struct Name {
  sockaddr_un address{};
  socklen_t size = 0;
  const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&address); }
};
Name name() {
  constexpr std::string_view kName = "sluice-init";
  Name out;
  out.address.sun_family = AF_UNIX;
  std::memcpy(out.address.sun_path + 1, kName.data(), kName.size());  // the first byte, 0, makes it abstract
  out.size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + kName.size());
  return out;
}

// Above the standard streams, one of which may be closed: a program that inherits the lock has others there.
int new_socket() {
  const int fd = ::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
  if (fd < 0 || fd > STDERR_FILENO) return fd;
  const int higher = ::fcntl(fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
  ::close(fd);
  return higher;
}

// Nobody accepts, so a connection ends when the last holder is gone: that is the event. Who it is comes into `holder`.
void await_end(std::chrono::milliseconds left, std::string& holder) {
  const int fd = new_socket();
  const auto count = std::max<long>(left.count(), 1);
  const timeval limit{count / 1000, count % 1000 * 1000};  // connect waits for room in the holder's queue
  ::setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
  const auto to = name();
  const auto begun = Clock::now();
  const bool connected = ::connect(fd, to.get(), to.size) == 0;
  const auto rest = count - std::chrono::duration_cast<std::chrono::milliseconds>(Clock::now() - begun).count();
  if (connected && rest > 0) {
    ucred who{};
    socklen_t size = sizeof who;
    if (::getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &size) == 0)
      holder = who.pid ? fmt::format("process {} of user {}", who.pid, who.uid) : fmt::format("a process of user {} outside", who.uid);
    pollfd wait{fd, POLLIN, 0};
    ::poll(&wait, 1, static_cast<int>(rest));
  } else {
    ::poll(nullptr, 0, static_cast<int>(std::min(count, 5l)));  // it has the name and does not listen yet, or never will
  }
  ::close(fd);
}

// A sandbox without unix sockets: two runs at once are rare, and no rules at all would be worse.
bool forbidden(int error) { return error == EPERM || error == EACCES || error == EAFNOSUPPORT; }

}  // namespace

std::expected<Lock, std::string> Lock::take(std::chrono::milliseconds patience) {
  const auto without = [] {
    say(Severity::kWarning, "no lock for this network namespace: {}; another run at the same time could undo this one", std::strerror(errno));
    return Lock(-1);
  };
  const auto failed = [](std::string_view what) {
    return std::unexpected(fmt::format("the lock of this network namespace: {}: {}", what, std::strerror(errno)));
  };
  const int fd = new_socket();
  if (fd < 0 && forbidden(errno)) return without();
  if (fd < 0) return failed("no socket");
  const auto limit = Clock::now() + patience;
  const auto own = name();
  std::string holder = "another process";
  while (::bind(fd, own.get(), own.size) != 0) {
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(limit - Clock::now());
    if (errno == EADDRINUSE && left.count() > 0) {
      await_end(left, holder);
      continue;
    }
    const int error = errno;
    ::close(fd);
    errno = error;
    if (forbidden(error)) return without();
    if (error != EADDRINUSE) return failed("its name cannot be taken");
    return std::unexpected(
        fmt::format("another run of sluice-init is at work in this network namespace ({}, which has the name "
                    "@sluice-init) and did not end within {} ms; nothing was changed",
                    holder, patience.count()));
  }
  // Whoever waits connects; those for whom there is no room wait in connect.
  if (::listen(fd, 128) != 0) {
    const int error = errno;
    ::close(fd);
    errno = error;
    return failed("listen");
  }
  return Lock(fd);
}

Lock::Lock(int fd) noexcept : fd_(fd) { held = fd; }
Lock::Lock(Lock&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
Lock::~Lock() {
  if (fd_ < 0) return;
  held = -1;
  ::close(fd_);
}

int Lock::descriptor() noexcept { return held; }

}  // namespace init
