#include "runner/netns.h"

#include <algorithm>
#include <cstdlib>
#include <utility>

#include <fcntl.h>
#include <sched.h>
#include <unistd.h>

namespace runner {

Netns Netns::open(const std::string& name) { return Netns(::open(("/run/netns/" + name).c_str(), O_RDONLY | O_CLOEXEC)); }
Netns::Netns(Netns&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
Netns& Netns::operator=(Netns&& other) noexcept {
  std::swap(fd_, other.fd_);
  return *this;
}
Netns::~Netns() {
  if (fd_ >= 0) ::close(fd_);
}

Inside::Inside(const Netns& there) {
  if (!there.valid()) return;
  back_ = ::open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
  ok_ = back_ >= 0 && ::setns(there.fd(), CLONE_NEWNET) == 0;
}

Inside::~Inside() {
  if (back_ < 0) return;
  // Going on in a pod's namespace would send everything that follows to the wrong place.
  if (ok_ && ::setns(back_, CLONE_NEWNET) != 0) std::abort();
  ::close(back_);
}

bool set_sysctl(std::string_view dotted, std::string_view value) {
  std::string path = "/proc/sys/" + std::string(dotted);
  std::replace(path.begin() + 10, path.end(), '.', '/');
  const int fd = ::open(path.c_str(), O_WRONLY | O_CLOEXEC);
  if (fd < 0) return false;
  const bool ok = ::write(fd, value.data(), value.size()) == static_cast<ssize_t>(value.size());
  ::close(fd);
  return ok;
}

}  // namespace runner
