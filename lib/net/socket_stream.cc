#include "net/socket_stream.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <linux/sockios.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cassert>
#include <cerrno>
#include <cstring>
#include <utility>

#include "net/pipe.h"
#include "net/slab.h"
#include "net/socket_address.h"

namespace net {
namespace {

// A reader whose peer always has more would never wait and keep the worker from everybody else; after this many bytes without
// a wait it lets the loop go round once.
constexpr uint32_t kBurst = 1 << 20;

class SocketStream final : public Stream, private DescriptorOwner {
 public:
  template <class D> SocketStream(Worker& worker, D&& descriptor, SocketFacts facts);
  ~SocketStream() override;

  void unread(Slice bytes) override {
    assert(!reading_);
    unread_.prepend(bytes);
  }
  bool readable() noexcept override;
  bool known_readable() noexcept override {
    return (try_reading_ || descriptor_.came() || read_errno_ || !unread_.empty() || cancelled()) && readable();
  }
  std::chrono::steady_clock::time_point last_drained() noexcept override;
  bool undelivered() noexcept override { return descriptor_.usable() && (!unsent_.empty() || drains() || queued() > 0); }
  void shutdown_write() noexcept override;
  void reset() noexcept override;
  base::SocketAddress local() const noexcept override;
  base::SocketAddress peer() const noexcept override { return facts_.peer; }
  Result<base::OriginalDst> original_dst() const noexcept override;
  int raw_fd() const noexcept override { return descriptor_.fd(); }
  bool splices() const noexcept override { return descriptor_.usable() && unread_.empty() && !descriptor_.urgent(); }

 private:
  bool start_read(ReadOp& op) override;
  bool start_write(WriteOp& op) override;
  void watch_changed() noexcept override;
  void on_cancel() noexcept override;
  void on_wait_over(Wait wait) noexcept override;

  bool take(ReadOp& op);                 // true: op.result is set; false: the loop waits
  bool receive(ReadOp& op);
  void flush();
  bool drain(Pipe& pipe);                // true: empty, or write_errno_ says why not
  bool drains() const noexcept { return writing_ && writing_->pipe && writing_->pipe->held() > 0; }
  void wait_to_write() noexcept {
    queued_ = queued();
    descriptor_.wait(Wait::kWrite);
  }
  int queued() const noexcept;           // bytes in the kernel that the peer has not acknowledged
  void send_fin() noexcept { ::shutdown(descriptor_.fd(), SHUT_WR); }
  void look() noexcept;                  // for the watch: what has happened at the other end?

  Descriptor descriptor_;
  Slab unread_, unsent_;
  SocketFacts facts_;
  mutable base::SocketAddress local_;
  uint32_t burst_ = 0;
  int queued_ = 0;                       // when a write began to wait, and when last asked since
  uint16_t read_errno_ = 0, write_errno_ = 0;
  bool try_reading_;                     // the kernel may have bytes that nobody took: no need to wait first
  bool fin_wanted_ = false;              // behind unsent_
};

Error reset_error(int sys) { return {.code = base::Code::kReset, .sys = static_cast<uint16_t>(sys)}; }

template <class D>
SocketStream::SocketStream(Worker& worker, D&& descriptor, SocketFacts facts)
    : Stream(worker), descriptor_(std::forward<D>(descriptor)(*this)), unread_(worker), unsent_(worker), facts_(std::move(facts)),
      try_reading_(facts_.try_reading) {
  if (!descriptor_.usable()) read_errno_ = write_errno_ = ENOMEM;
}

SocketStream::~SocketStream() {
  descriptor_.close();                   // before the count: whoever sees it fall may count descriptors
  if (facts_.counter) facts_.counter->connection_over(worker());
}

bool SocketStream::start_read(ReadOp& op) {
  op.step = [](Op& base) noexcept {
    auto& read = static_cast<ReadOp&>(base);
    auto& self = static_cast<SocketStream&>(*read.stream);
    if (self.cancelled() || self.take(read)) read.finish();
  };
  return take(op);
}

bool SocketStream::take(ReadOp& op) {
  if (!unread_.empty()) {
    const auto scratch = worker().scratch();
    const size_t n = std::min(unread_.size(), scratch.size());
    std::memcpy(scratch.data(), unread_.front().data(), n);
    unread_.consume(n);
    op.result = worker().borrow_scratch(n);
    return true;
  }
  if (read_errno_) {
    op.result = std::unexpected(reset_error(read_errno_));
    return true;
  }
  const bool enough = burst_ >= kBurst;
  if (try_reading_ && !enough && receive(op)) return true;
  burst_ = 0;
  if (try_reading_ && enough) {
    descriptor_.again(Wait::kRead);
  } else {
    descriptor_.wait(Wait::kRead);
  }
  return false;
}

bool SocketStream::receive(ReadOp& op) {
  const auto scratch = worker().scratch();
  ssize_t n;
  do {
    n = op.pipe ? op.pipe->fill(descriptor_.fd(), op.most) : ::recv(descriptor_.fd(), scratch.data(), scratch.size(), MSG_DONTWAIT);
  } while (n < 0 && errno == EINTR);
  // A mark of urgent data stops splice for good, and then looks like the end. recv passes it.
  if (n <= 0 && op.pipe && descriptor_.urgent()) n = op.pipe->put_from(descriptor_.fd(), scratch.first(std::min(op.most, scratch.size())));
  if (n > 0 && op.pipe) {                                // how much is left the kernel does not tell: the next one tries
    burst_ += static_cast<uint32_t>(n);
    op.result = Borrowed();
    return true;
  }
  if (n > 0) {
    // A read that was not filled has emptied the socket: the next one waits without trying. The wait reports what came since.
    // Nor does it stop at the mark of urgent data, which a read does.
    try_reading_ = static_cast<size_t>(n) == scratch.size() || descriptor_.urgent();
    burst_ += static_cast<uint32_t>(n);
    op.result = worker().borrow_scratch(static_cast<size_t>(n));
    return true;
  }
  if (n == 0 && write_errno_ != ECONNRESET) {
    op.result = Borrowed();
    return true;
  }
  if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
    try_reading_ = false;
    return false;
  }
  // The kernel tells a reset once; had our write heard it, reading would see a clean end.
  read_errno_ = static_cast<uint16_t>(n == 0 ? ECONNRESET : errno);
  op.result = std::unexpected(reset_error(read_errno_));
  return true;
}

bool SocketStream::start_write(WriteOp& op) {
  if (write_errno_ || fin_wanted_) {
    op.result = std::unexpected(reset_error(write_errno_ ? write_errno_ : EPIPE));
    return true;
  }
  if (op.pipe && unsent_.empty() && drain(*op.pipe)) {
    if (write_errno_) op.result = std::unexpected(reset_error(write_errno_));
    return true;
  }
  Slice head = op.head, piece = op.piece.bytes();
  if (unsent_.empty() && !op.pipe) {
    iovec parts[2] = {{const_cast<std::byte*>(head.data()), head.size()}, {const_cast<std::byte*>(piece.data()), piece.size()}};
    msghdr message{};
    message.msg_iov = parts;
    message.msg_iovlen = 2;
    ssize_t n;
    do {
      // One part alone is cheaper to hand over; most messages are one.
      const iovec& only = head.empty() ? parts[1] : parts[0];
      if (head.empty() && piece.empty()) {
        n = 0;
      } else if (head.empty() || piece.empty()) {
        n = ::send(descriptor_.fd(), only.iov_base, only.iov_len, MSG_NOSIGNAL | MSG_DONTWAIT);
      } else {
        n = ::sendmsg(descriptor_.fd(), &message, MSG_NOSIGNAL | MSG_DONTWAIT);
      }
    } while (n < 0 && errno == EINTR);
    if (n < 0 && errno != EAGAIN && errno != EWOULDBLOCK) {
      write_errno_ = static_cast<uint16_t>(errno);
      op.result = std::unexpected(reset_error(write_errno_));
      return true;
    }
    const size_t sent = n > 0 ? static_cast<size_t>(n) : 0;
    if (sent == head.size() + piece.size()) return true;
    const size_t of_head = std::min(sent, head.size());
    head = head.subspan(of_head);
    piece = piece.subspan(sent - of_head);
  }
  unsent_.append(head);
  unsent_.append(piece);
  op.head = {};
  op.piece = {};
  op.step = [](Op& base) noexcept {
    auto& write = static_cast<WriteOp&>(base);
    auto& self = static_cast<SocketStream&>(*write.stream);
    if (self.write_errno_) write.result = std::unexpected(reset_error(self.write_errno_));
    write.finish();
  };
  wait_to_write();
  return false;
}

bool SocketStream::drain(Pipe& pipe) {
  while (pipe.held() > 0) {
    const ssize_t n = pipe.drain(descriptor_.fd());
    if (n > 0) continue;
    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return false;
    write_errno_ = static_cast<uint16_t>(n < 0 ? errno : EPIPE);
    break;
  }
  return true;
}

// In the turn of a wait that is over: the kernel has room, so the peer has taken something.
void SocketStream::flush() {
  drained_ = worker().now();
  while (!unsent_.empty()) {
    const Slice front = unsent_.front();
    const ssize_t n = ::send(descriptor_.fd(), front.data(), front.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
      wait_to_write();
      return;
    }
    if (n < 0) {
      write_errno_ = static_cast<uint16_t>(errno);
      unsent_.clear();
      break;
    }
    unsent_.consume(static_cast<size_t>(n));
  }
  if (!write_errno_ && drains() && !drain(*writing_->pipe)) {
    wait_to_write();
    return;
  }
  if (fin_wanted_ && !write_errno_) send_fin();
  if (writing_) writing_->step(*writing_);               // last: it may be the end of this stream
}

void SocketStream::on_wait_over(Wait wait) noexcept {
  switch (wait) {
    case Wait::kRead:
      try_reading_ = true;
      if (reading_) {
        reading_->step(*reading_);
      } else {
        look();
      }
      break;
    case Wait::kWrite:
      if (!unsent_.empty() || drains()) flush();
      break;
    case Wait::kError:
      look();
      break;
  }
}

void SocketStream::watch_changed() noexcept {
  if (try_reading_ || read_errno_ || !unread_.empty()) {
    look();
  } else if (watch_) {
    descriptor_.wait(Wait::kRead);                       // the same wait then serves the next read
  }
}

// Peeking alone would not do: a reset hides behind unread bytes and behind a FIN, poll() tells it in front of both.
void SocketStream::look() noexcept {
  if (!watch_) return;
  pollfd state{descriptor_.fd(), POLLIN | POLLRDHUP, 0};
  if (read_errno_ || ::poll(&state, 1, 0) < 0 || (state.revents & (POLLERR | POLLNVAL))) {
    watch_->saw_error();
    return;
  }
  char byte;
  const ssize_t n = unread_.empty() ? ::recv(descriptor_.fd(), &byte, 1, MSG_PEEK | MSG_DONTWAIT) : 1;
  if (n < 0) {
    if (errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR) {
      watch_->saw_error();
      return;
    }
    try_reading_ = false;
    descriptor_.wait(Wait::kRead);
    return;
  }
  // With both directions closed the kernel has nothing more to tell.
  if (!(state.revents & POLLHUP)) descriptor_.wait(Wait::kError);
  if (n > 0) {
    watch_->saw_bytes();
  } else {
    watch_->saw_fin();
  }
}

bool SocketStream::readable() noexcept {
  if (cancelled() || read_errno_ || !unread_.empty()) return true;
  pollfd state{descriptor_.fd(), POLLIN | POLLRDHUP, 0};
  return ::poll(&state, 1, 0) > 0;
}

int SocketStream::queued() const noexcept {
  int bytes = 0;
  return ::ioctl(descriptor_.fd(), SIOCOUTQ, &bytes) == 0 ? bytes : 0;
}

// The kernel wakes a writer when a third of its buffer is free, which may be a megabyte; what the peer took until then shows in
// the length of the queue.
std::chrono::steady_clock::time_point SocketStream::last_drained() noexcept {
  if (descriptor_.usable() && (!unsent_.empty() || drains())) {
    const int now = queued();
    if (now < queued_) drained_ = worker().now();
    queued_ = now;
  }
  return drained_;
}

void SocketStream::shutdown_write() noexcept {
  if (std::exchange(fin_wanted_, true) || write_errno_) return;
  if (unsent_.empty() && !drains()) send_fin();
}

void SocketStream::reset() noexcept {
  if (!descriptor_.usable()) return;
  local_ = local();
  const linger now{.l_onoff = 1, .l_linger = 0};
  ::setsockopt(descriptor_.fd(), SOL_SOCKET, SO_LINGER, &now, sizeof now);
  descriptor_.close();
  unread_.clear();
  unsent_.clear();
  read_errno_ = write_errno_ = ECONNRESET;
  if (reading_) worker().ready(*reading_);
  if (writing_) worker().ready(*writing_);
  if (watch_) watch_->saw_error();
}

void SocketStream::on_cancel() noexcept {
  if (!unsent_.empty() || drains()) {
    // What we dropped must not look like a clean end to the peer (a body that ends with the connection): it sees a reset.
    unsent_.clear();
    write_errno_ = ECONNRESET;
    const linger now{.l_onoff = 1, .l_linger = 0};
    ::setsockopt(descriptor_.fd(), SOL_SOCKET, SO_LINGER, &now, sizeof now);
  }
  if (watch_) watch_->saw_error();   // whoever waits for somebody else meanwhile must learn that this end is gone
  if (reading_) worker().ready(*reading_);
  if (writing_) worker().ready(*writing_);
}

base::SocketAddress SocketStream::local() const noexcept {
  if (local_ == base::SocketAddress{} && descriptor_.usable()) local_ = local_address(descriptor_.fd());
  return local_;
}

Result<base::OriginalDst> SocketStream::original_dst() const noexcept {
  auto found = net::original_dst(descriptor_.fd());
  if (found && facts_.transparent_port && !found->redirected) found->redirected = found->address.port != facts_.transparent_port;
  return found;
}

}  // namespace

std::unique_ptr<Stream> make_socket(Worker& worker, int fd, SocketFacts facts) {
  const auto open = [&](DescriptorOwner& owner) { return Descriptor(worker, fd, owner); };
  return std::make_unique<SocketStream>(worker, open, std::move(facts));
}

std::unique_ptr<Stream> make_socket(Worker& worker, Descriptor&& descriptor, SocketFacts facts) {
  const auto move = [&](DescriptorOwner& owner) { return Descriptor(std::move(descriptor), owner); };
  return std::make_unique<SocketStream>(worker, move, std::move(facts));
}

void set_tcp_options(int fd) noexcept {
  const auto set = [fd](int level, int option, int value) { ::setsockopt(fd, level, option, &value, sizeof value); };
  set(IPPROTO_TCP, TCP_NODELAY, 1);
  set(SOL_SOCKET, SO_KEEPALIVE, 1);
  set(IPPROTO_TCP, TCP_KEEPIDLE, 60);
  set(IPPROTO_TCP, TCP_KEEPINTVL, 20);
  set(IPPROTO_TCP, TCP_KEEPCNT, 3);
}

std::unique_ptr<Stream> adopt_socket(Worker& worker, int fd) {
  set_tcp_options(fd);
  return make_socket(worker, fd, {.peer = peer_address(fd), .counter = nullptr});
}

}  // namespace net
