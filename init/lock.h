#pragma once

#include <chrono>
#include <expected>
#include <string>

namespace init {

// One run at a time in a network namespace: two that read the rules and then write them would each undo, double or delete what
// the other has made. The lock is a name that only one socket of the namespace can have, in the abstract space: it needs no
// file system, and the kernel frees it with the last descriptor, however the run ends. The programs that a run starts inherit it,
// so what is left of a killed run holds it as long as it works. Anybody in the namespace can take the name; that holds up a
// run, and the error names him.
class Lock {
 public:
  // As long as iptables-restore waits for its own lock.
  static constexpr std::chrono::milliseconds kPatience{30000};
  // Waits until the lock is free; at most one of this process may live at a time. The error is one line.
  static std::expected<Lock, std::string> take(std::chrono::milliseconds patience = kPatience);

  Lock(Lock&& other) noexcept;
  Lock& operator=(Lock&&) = delete;
  ~Lock();

  // The descriptor that a program must inherit; -1 where this process has no lock.
  static int descriptor() noexcept;

 private:
  explicit Lock(int fd) noexcept;
  int fd_;
};

}  // namespace init
