#pragma once

#include <string>
#include <string_view>

#include "base/ip.h"

namespace runner {

// An open network namespace of the kind `ip netns` keeps in /run/netns.
class Netns {
 public:
  Netns() = default;
  static Netns open(const std::string& name);  // !valid() when there is none of that name
  Netns(Netns&& other) noexcept;
  Netns& operator=(Netns&& other) noexcept;
  ~Netns();
  bool valid() const noexcept { return fd_ >= 0; }
  int fd() const noexcept { return fd_; }

 private:
  explicit Netns(int fd) : fd_(fd) {}
  int fd_ = -1;
};

// The calling thread (only) is inside the namespace while this lives. Sockets made then stay there for good, and so do
// programs started then. An invalid namespace means: stay where we are.
class Inside {
 public:
  explicit Inside(const Netns& there);
  Inside(const Inside&) = delete;
  ~Inside();  // ends the process when the way back is lost
  bool ok() const noexcept { return ok_; }

 private:
  int back_ = -1;
  bool ok_ = true;
};

// Writes /proc/sys/… of the namespace the thread is in; false when the kernel lacks the name or refuses the value.
bool set_sysctl(std::string_view dotted, std::string_view value);

}  // namespace runner
