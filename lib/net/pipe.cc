#include "net/pipe.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <new>
#include <system_error>

#include "log/log.h"
#include "net/worker_impl.h"

namespace net {
namespace {

// Room for what a fast sender delivers while the other side is written to (performance.md §8.6); the kernel's default is less,
// and below that the copies through the scratch are as good.
constexpr int kWanted = 1 << 20;
constexpr int kLeast = 64 << 10;

// Moving nothing succeeds at once, unless the call itself is forbidden (a seccomp profile: EPERM) or unknown (ENOSYS).
bool allowed(const int* ends) noexcept {
  if (::splice(ends[0], nullptr, ends[1], nullptr, 0, SPLICE_F_NONBLOCK) == 0) return true;
  static std::atomic<bool> said{false};                // relaxed: it guards one line of the log
  if (!said.exchange(true, std::memory_order_relaxed))
    logs::warn(logs::Component::kNet, "splice(2) is refused here ({}): bulk is copied, which costs more CPU", std::generic_category().message(errno));
  return false;
}

}  // namespace

std::unique_ptr<Pipe> Pipe::open(bool& refused) noexcept {
  int ends[2];
  if (::pipe2(ends, O_NONBLOCK | O_CLOEXEC) != 0) return nullptr;
  int capacity = ::fcntl(ends[1], F_SETPIPE_SZ, kWanted);
  if (capacity < 0) capacity = ::fcntl(ends[1], F_GETPIPE_SZ);   // EPERM: beyond the user's share; it keeps what it has
  std::unique_ptr<Pipe> pipe(new (std::nothrow) Pipe(ends[0], ends[1], static_cast<size_t>(std::max(capacity, 0))));
  if (!pipe) {
    ::close(ends[0]);
    ::close(ends[1]);
    return nullptr;
  }
  refused = !allowed(ends);
  return capacity >= kLeast && !refused ? std::move(pipe) : nullptr;
}

Pipe::~Pipe() {
  ::close(read_end_);
  ::close(write_end_);
}

ssize_t Pipe::fill(int socket, size_t most) noexcept {
  ssize_t n;
  do {
    n = ::splice(socket, nullptr, write_end_, nullptr, std::min(most, capacity_), SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
  } while (n < 0 && errno == EINTR);
  if (n > 0) held_ += static_cast<size_t>(n);
  return n;
}

ssize_t Pipe::drain(int socket) noexcept {
  ssize_t n;
  do {
    n = ::splice(read_end_, nullptr, socket, nullptr, held_, SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
  } while (n < 0 && errno == EINTR);
  if (n > 0) held_ -= static_cast<size_t>(n);
  return n;
}

ssize_t Pipe::put_from(int socket, std::span<std::byte> through) noexcept {
  const ssize_t n = ::recv(socket, through.data(), std::min(through.size(), size_t{kLeast}), MSG_DONTWAIT);
  if (n <= 0) return n;
  const auto came = static_cast<size_t>(n);
  if (put(through.first(came)) == came) return n;        // it is empty, and that is its least size
  errno = EIO;                                           // bytes are gone: the connection must not look whole
  return -1;
}

size_t Pipe::put(std::span<const std::byte> bytes) noexcept {
  const ssize_t n = ::write(write_end_, bytes.data(), bytes.size());
  const size_t moved = n > 0 ? static_cast<size_t>(n) : 0;
  held_ += moved;
  return moved;
}

size_t Pipe::take(std::span<std::byte> into) noexcept {
  const ssize_t n = ::read(read_end_, into.data(), into.size());
  const size_t moved = n > 0 ? static_cast<size_t>(n) : 0;
  held_ -= moved;
  return moved;
}

std::unique_ptr<Pipe> PipePool::take() noexcept {
  if (refused_ || lent_ >= kMostLent) return nullptr;
  std::unique_ptr<Pipe> pipe;
  if (idle_.empty()) {
    pipe = Pipe::open(refused_);
  } else {
    pipe = std::move(idle_.back());
    idle_.pop_back();
  }
  if (pipe) ++lent_;
  return pipe;
}

void PipePool::give(std::unique_ptr<Pipe> pipe) noexcept {
  --lent_;
  if (pipe->held() == 0 && idle_.size() < kKept) idle_.push_back(std::move(pipe));
}

void PipeLoan::end() noexcept {
  if (pipe_) worker_->impl().pipes.give(std::move(pipe_));
}

}  // namespace net
