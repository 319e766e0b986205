#include <fcntl.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cassert>
#include <cerrno>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "log/log.h"
#include "net/reactor.h"
#include "net/socket_address.h"
#include "net/socket_stream.h"
#include "net/worker.h"

namespace net {
namespace {

using namespace std::chrono_literals;

// Accepting goes on until the kernel's queue is empty, but not for longer than this in one turn: a storm of connections must
// not starve those that exist.
constexpr int kAcceptsPerTurn = 64;
// Out of descriptors: existing connections get this long to end some before the next is refused.
constexpr auto kOutOfDescriptors = 100ms;

bool set_transparent(int fd, bool v6) noexcept {
  const int one = 1;
  return ::setsockopt(fd, v6 ? IPPROTO_IPV6 : IPPROTO_IP, v6 ? IPV6_TRANSPARENT : IP_TRANSPARENT, &one, sizeof one) == 0;
}

Error listen_error() { return {.code = base::Code::kConnect, .sys = static_cast<uint16_t>(errno)}; }

// An accepted socket on its way to its worker. Whatever happens to the message, it is closed and counted.
class Accepted {
 public:
  Accepted(int fd, std::shared_ptr<ConnectionCounter> counter, Worker& worker) noexcept
      : fd_(fd), counter_(std::move(counter)), worker_(&worker) {}
  Accepted(Accepted&& other) noexcept
      : fd_(std::exchange(other.fd_, -1)), counter_(std::move(other.counter_)), worker_(other.worker_) {}
  Accepted& operator=(Accepted&&) = delete;
  ~Accepted() {
    if (fd_ < 0) return;
    ::close(fd_);
    counter_->connection_over(*worker_);
  }
  std::unique_ptr<Stream> stream(const base::SocketAddress& peer, uint16_t transparent_port) {
    return make_socket(*worker_, std::exchange(fd_, -1),
                       {.peer = peer, .transparent_port = transparent_port, .counter = std::move(counter_)});
  }

 private:
  int fd_;
  std::shared_ptr<ConnectionCounter> counter_;
  Worker* worker_;
};

// What outlives the listener while connections of it are open. Everything but the counts belongs to worker 0.
class Acceptor final : public ConnectionCounter, public std::enable_shared_from_this<Acceptor>, private DescriptorOwner, private Timer {
 public:
  Acceptor(std::span<Worker* const> workers, int fd, Listener::Serve serve, void* context, const Listener::Options& options)
      : Timer(*workers[0]), workers_(workers.begin(), workers.end()), serve_(serve), context_(context), options_(options), fd_(fd),
        address_(local_address(fd)) {
    keep_spare();
  }
  ~Acceptor() override { shut(); }

  void start() {
    if (fd_ < 0 || descriptor_) return;
    descriptor_.emplace(worker(), fd_, static_cast<DescriptorOwner&>(*this));
    fd_ = -1;
    accept();
  }
  void close() {
    if (descriptor_) {
      closing_ = true;
      while (descriptor_ && accept()) {
      }
    }
    shut();
  }
  void shut() noexcept {
    disarm();
    descriptor_.reset();
    paused_.store(false);                                // nobody calls back: worker 0 may end before the last connection
    if (fd_ >= 0) ::close(std::exchange(fd_, -1));
    if (spare_ >= 0) ::close(std::exchange(spare_, -1));
  }
  Result<> make_transparent() {
    if (!set_transparent(fd_, !address_.ip.v4)) return std::unexpected(listen_error());
    options_.transparent = true;
    return {};
  }
  Worker& first() const noexcept { return worker(); }
  base::SocketAddress address() const noexcept { return address_; }
  uint32_t connections() const noexcept { return connections_.load(std::memory_order_relaxed); }
  void connection_over(Worker& worker) noexcept override;

 private:
  bool accept();                                         // true: there may be more at once
  bool at_limit() noexcept;
  void keep_spare() noexcept {
    if (spare_ < 0) spare_ = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
  }
  void hand_over(int fd, const base::SocketAddress& peer);
  bool failed(int error);                                // true: go on accepting
  void on_wait_over(Wait) noexcept override { accept(); }
  void fire() noexcept override { accept(); }

  const std::vector<Worker*> workers_;
  const Listener::Serve serve_;
  void* const context_;
  Listener::Options options_;
  std::optional<Descriptor> descriptor_;                 // while accepting
  int fd_;                                               // before start()
  int spare_ = -1;                                       // to be able to refuse when descriptors have run out
  const base::SocketAddress address_;
  size_t next_ = 0;                                      // where the search for the least load begins: ties go round
  bool closing_ = false;
  logs::OncePerSecond log_, log_full_;

  // Sequentially consistent together: the acceptor writes paused_ and then reads connections_, the end of a connection writes
  // connections_ and then reads paused_. With anything weaker both could miss each other and accepting would stop for ever.
  std::atomic<uint32_t> connections_{0};
  std::atomic<bool> paused_{false};
};

void Acceptor::connection_over(Worker& worker) noexcept {
  worker.add_load(-1);
  connections_.fetch_sub(1);
  if (!paused_.exchange(false)) return;
  first().post([self = shared_from_this()] {
    if (self->descriptor_) self->accept();
  });
}

bool Acceptor::at_limit() noexcept {
  if (connections_.load() < options_.max_connections) return false;
  paused_.store(true);
  if (connections_.load() >= options_.max_connections) {
    if (options_.tally) options_.tally->at_limit.fetch_add(1, std::memory_order_relaxed);
    if (log_full_.pass())
      logs::warn(logs::Component::kNet, "{}: {} connections are open, accepting pauses", address_.text(), options_.max_connections);
    return true;
  }
  return !paused_.exchange(false);                       // false: somebody else saw it and has called us
}

bool Acceptor::accept() {
  if (armed()) return false;                             // out of descriptors: the timer comes back
  if (!descriptor_->usable()) {                          // the loop could not take it
    logs::warn(logs::Component::kNet, "{}: cannot listen, out of memory or of epoll watches", address_.text());
    return false;
  }
  keep_spare();                                          // another thread may have taken the last one; before any client gets it
  for (int i = 0; i < kAcceptsPerTurn; ++i) {
    if (at_limit()) return false;
    KernelAddress peer;
    const int fd = ::accept4(descriptor_->fd(), peer.get(), &peer.length, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd >= 0) {
      hand_over(fd, peer.read());
    } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
      descriptor_->wait(Wait::kRead);
      return false;
    } else if (!failed(errno)) {
      return false;
    }
  }
  if (!closing_) descriptor_->again(Wait::kRead);        // more may be queued
  return true;
}

void Acceptor::hand_over(int fd, const base::SocketAddress& peer) {
  Worker* target = nullptr;
  size_t chosen = 0;
  for (size_t i = 0; i < workers_.size(); ++i) {
    const size_t index = (next_ + i) % workers_.size();
    if (target && workers_[index]->load() >= target->load()) continue;
    target = workers_[index];
    chosen = index;
  }
  next_ = (chosen + 1) % workers_.size();
  target->add_load(1);
  connections_.fetch_add(1);
  Accepted accepted(fd, shared_from_this(), *target);
  const uint16_t transparent_port = options_.transparent ? address_.port : 0;
  if (target == &worker()) {
    target->spawn(serve_(*target, accepted.stream(peer, transparent_port), context_));
    return;
  }
  target->post([target, serve = serve_, context = context_, peer, transparent_port, moved = std::move(accepted)]() mutable {
    target->spawn(serve(*target, moved.stream(peer, transparent_port), context));
  });
}

bool Acceptor::failed(int error) {
  if (error != EMFILE && error != ENFILE && error != ENOBUFS && error != ENOMEM) return true;   // that one connection died
  if (options_.tally) options_.tally->out_of_descriptors.fetch_add(1, std::memory_order_relaxed);
  if (log_.pass()) logs::warn(logs::Component::kNet, "{}: cannot accept, errno {}: refusing for 100 ms", address_.text(), error);
  // The client at the head of the queue learns at once that it will not be served, instead of hanging in it.
  if (spare_ >= 0) {
    ::close(std::exchange(spare_, -1));
    const int refused = ::accept4(descriptor_->fd(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (refused >= 0) ::close(refused);
    keep_spare();
  }
  if (!closing_) arm(kOutOfDescriptors);
  return false;
}

class SocketListener final : public Listener {
 public:
  explicit SocketListener(std::shared_ptr<Acceptor> acceptor) : acceptor_(std::move(acceptor)) {}
  ~SocketListener() override { acceptor_->shut(); }
  void start() override {
    acceptor_->first().post([acceptor = acceptor_] { acceptor->start(); });
  }
  Result<> make_transparent() override { return acceptor_->make_transparent(); }
  void close() override {
    acceptor_->first().post([acceptor = acceptor_] { acceptor->close(); });
  }
  base::SocketAddress address() const noexcept override { return acceptor_->address(); }
  uint32_t connections() const noexcept override { return acceptor_->connections(); }

 private:
  const std::shared_ptr<Acceptor> acceptor_;
};

bool prepare(int fd, const base::SocketAddress& at, const Listener::Options& options) {
  const int one = 1, zero = 0;
  const bool v6 = !at.ip.v4;
  ::setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
  // The kernel's default is a sysctl; we say what the contract says.
  if (v6 && ::setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &zero, sizeof zero) != 0) return false;
  if (options.transparent && !set_transparent(fd, v6)) return false;
  set_tcp_options(fd);                                   // inherited by what it accepts
  const KernelAddress address(at);
  return ::bind(fd, address.get(), address.length) == 0 && ::listen(fd, options.backlog) == 0;
}

}  // namespace

Result<std::unique_ptr<Listener>> Listener::open(std::span<Worker* const> workers, base::SocketAddress at, Serve serve, void* context,
                                                 const Options& options) {
  assert(!workers.empty());
  const int fd = ::socket(at.ip.v4 ? AF_INET : AF_INET6, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) return std::unexpected(listen_error());
  if (!prepare(fd, at, options)) {
    const Error why = listen_error();
    ::close(fd);
    return std::unexpected(why);
  }
  return std::make_unique<SocketListener>(std::make_shared<Acceptor>(workers, fd, serve, context, options));
}

}  // namespace net
