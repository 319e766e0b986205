#include "log/output.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstring>

#include <fmt/format.h>

namespace logs {
namespace {

// A file system that came back, or a reader that opened the FIFO, is noticed within this time.
constexpr std::chrono::seconds kRetryOpen{1};
constexpr mode_t kFileMode = 0640;       // access logs name users: not for everybody

}  // namespace

void Output::prepare() noexcept {
  if (fd_ < 0 && !open()) next_try_ = {};
}

Output::Outcome Output::write(iovec* pieces, int count, size_t& written) noexcept {
  written = 0;
  if (fd_ < 0 && !open()) return Outcome::kFailed;
  ssize_t n = 0;
  do {
    if (mode_ == Mode::kSocket) {
      msghdr message{};
      message.msg_iov = pieces;
      message.msg_iovlen = static_cast<size_t>(count);
      n = ::sendmsg(fd_, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
    } else if (mode_ == Mode::kSharedPipe) {
      pollfd room{fd_, POLLOUT, 0};
      if (::poll(&room, 1, 0) == 0) return Outcome::kWait;
      n = ::write(fd_, pieces[0].iov_base, std::min<size_t>(pieces[0].iov_len, PIPE_BUF));   // poll's POLLOUT promises this much
    } else {
      n = ::writev(fd_, pieces, count);
    }
  } while (n < 0 && errno == EINTR);
  if (n >= 0) {
    written = static_cast<size_t>(n);
    complained_ = false;
    return Outcome::kWritten;
  }
  if (errno == EAGAIN) return Outcome::kWait;
  complain("write", errno);
  if (errno == EPIPE) close();           // a FIFO may get a new reader: open it again
  return Outcome::kFailed;
}

void Output::reopen() noexcept {
  close();
  next_try_ = {};
}

bool Output::open() noexcept {
  const auto now = std::chrono::steady_clock::now();
  if (now < next_try_) return false;
  next_try_ = now + kRetryOpen;
  if (path_ == "/dev/stdout") return open_standard(STDOUT_FILENO);
  if (path_ == "/dev/stderr") return open_standard(STDERR_FILENO);
  // O_NONBLOCK: opening a FIFO without a reader must not wait for one; it fails with ENXIO and is tried again.
  fd_ = ::open(path_.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NONBLOCK | O_NOCTTY, kFileMode);
  if (fd_ < 0) {
    complain("open", errno);
    return false;
  }
  struct stat facts {};
  ::fstat(fd_, &facts);
  mode_ = S_ISREG(facts.st_mode) ? Mode::kFile : Mode::kOwnPipe;
  return true;
}

bool Output::open_standard(int standard) noexcept {
  struct stat facts {};
  if (::fstat(standard, &facts) != 0) {
    complain("use", errno);
    return false;
  }
  if (S_ISFIFO(facts.st_mode)) {
    // A description of our own may be non-blocking. Not allowed when another user made the pipe (containers): then by poll.
    fd_ = ::open(standard == STDOUT_FILENO ? "/proc/self/fd/1" : "/proc/self/fd/2", O_WRONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd_ >= 0) {
      mode_ = Mode::kOwnPipe;
      return true;
    }
  }
  fd_ = ::fcntl(standard, F_DUPFD_CLOEXEC, 3);
  if (fd_ < 0) {
    complain("use", errno);
    return false;
  }
  if (S_ISSOCK(facts.st_mode))
    mode_ = Mode::kSocket;
  else if (S_ISFIFO(facts.st_mode) || ::isatty(fd_))
    mode_ = Mode::kSharedPipe;
  else
    mode_ = Mode::kFile;                 // and /dev/null: never waits
  return true;
}

void Output::close() noexcept {
  if (fd_ >= 0) ::close(fd_);
  fd_ = -1;
}

// Once until the next success: a full disk must not fill stderr. The reader of stderr may be the one that stalls, so this
// asks for room first.
void Output::complain(const char* what, int error) noexcept {
  if (complained_) return;
  complained_ = true;
  pollfd room{STDERR_FILENO, POLLOUT, 0};
  if (::poll(&room, 1, 0) != 1) return;
  const int saved = error;
  const std::string text = fmt::format("log: cannot {} {}: {}; its lines are dropped and counted until it works\n", what, path_, std::strerror(error));
  [[maybe_unused]] const ssize_t ignored = ::write(STDERR_FILENO, text.data(), std::min<size_t>(text.size(), PIPE_BUF));
  errno = saved;
}

}  // namespace logs
