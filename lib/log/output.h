#pragma once

#include <chrono>
#include <string>

#include <sys/uio.h>

namespace logs {

// The file descriptor behind a sink; the writer thread's alone. Opens again after failures, never blocks on
// something that can be polled: a pipe or terminal of somebody else, which we may not switch to non-blocking because the
// description is shared with other processes, is written in pieces that poll has promised room for.
class Output {
 public:
  enum class Outcome : unsigned char { kWritten, kWait, kFailed };   // kWait: poll fd() for room
  explicit Output(std::string path) : path_(std::move(path)) {}
  ~Output() { close(); }
  Output(const Output&) = delete;

  // Opens now and not at the first line: by then another part of the process may have taken the last descriptor.
  void prepare() noexcept;
  // Writes the front of `pieces`; `written` says how much.
  Outcome write(iovec* pieces, int count, size_t& written) noexcept;
  int fd() const noexcept { return fd_; }
  void reopen() noexcept;                // the next write opens the path anew

 private:
  enum class Mode : unsigned char { kFile, kOwnPipe, kSharedPipe, kSocket };
  bool open() noexcept;
  bool open_standard(int standard) noexcept;
  void close() noexcept;
  void complain(const char* what, int error) noexcept;

  const std::string path_;
  int fd_ = -1;
  Mode mode_ = Mode::kFile;
  bool complained_ = false;
  std::chrono::steady_clock::time_point next_try_{};
};

}  // namespace logs
