#include "net/reactor.h"

#include <sys/eventfd.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <utility>

#include <boost/asio/basic_waitable_timer.hpp>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/basic_stream_descriptor.hpp>
#include <boost/asio/post.hpp>

#include "net/worker_impl.h"

// io_uring as Asio's default backend would change when a wait counts as over and what a closed descriptor costs; everything
// here was measured and tested on epoll.
#ifdef BOOST_ASIO_HAS_IO_URING_AS_DEFAULT
#error "net/ needs Asio's epoll backend: build without BOOST_ASIO_HAS_IO_URING_AS_DEFAULT"
#endif

namespace net {
namespace asio = boost::asio;
using boost::system::error_code;

namespace {

using Executor = asio::io_context::executor_type;
// The concrete executor: the type-erased default costs an allocation's worth of bytes in each outstanding wait.
using AsioDescriptor = asio::posix::basic_stream_descriptor<Executor>;
using AsioTimer = asio::basic_waitable_timer<std::chrono::steady_clock, asio::wait_traits<std::chrono::steady_clock>, Executor>;

constexpr AsioDescriptor::wait_type kAsioWait[] = {AsioDescriptor::wait_read, AsioDescriptor::wait_write, AsioDescriptor::wait_error};

int make_eventfd() {
  const int fd = ::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
  if (fd < 0) {
    std::perror("eventfd");                            // a worker without its wake-up cannot exist; only at start
    std::abort();
  }
  return fd;
}

}  // namespace

// No locks at all: no other thread ever calls Asio, notify() writes to a descriptor.
struct Reactor::Loop {
  explicit Loop(Client& c)
      : client(c), io(BOOST_ASIO_CONCURRENCY_HINT_UNSAFE), event_fd(make_eventfd()), event(io, event_fd), timer(io) {
    wait_for_notify();
  }
  void wait_for_notify() {
    event.async_wait(AsioDescriptor::wait_read, [this](error_code error) {
      if (error) return;
      uint64_t count;
      [[maybe_unused]] const auto n = ::read(event_fd, &count, sizeof count);
      wait_for_notify();
      client.on_notify();
    });
  }
  Client& client;
  asio::io_context io;
  const int event_fd;
  AsioDescriptor event;                                // owns event_fd; its endless wait keeps the loop alive
  AsioTimer timer;
};

Reactor::Reactor(Client& client) : loop_(std::make_unique<Loop>(client)) {}
Reactor::~Reactor() = default;

void Reactor::run() {
  loop_->io.restart();
  loop_->io.run();
}

void Reactor::stop() noexcept { loop_->io.stop(); }

bool Reactor::poll() {
  loop_->io.restart();
  return loop_->io.poll() > 0;
}

void Reactor::wake_at(std::chrono::steady_clock::time_point at) noexcept {
  loop_->timer.expires_at(at);                         // ends an earlier wait with an error, which is no event
  loop_->timer.async_wait([this](error_code error) {
    if (!error) loop_->client.on_timer();
  });
}

void Reactor::again() noexcept {
  // Behind the descriptors: with a handler queued Asio looks at epoll without waiting before it runs the handler.
  asio::post(loop_->io, [this] { loop_->client.on_again(); });
}

void Reactor::notify() noexcept {
  const uint64_t one = 1;
  [[maybe_unused]] const auto n = ::write(loop_->event_fd, &one, sizeof one);   // full means: a wake-up is already under way
}

// What a wait in flight shares with its descriptor's owner.
struct Descriptor::Block {
  Block(Worker& w, DescriptorOwner& o) : worker(w), owner(&o), descriptor(w.impl().reactor.loop().io) {}
  Worker& worker;
  DescriptorOwner* owner;                              // null once it is gone
  AsioDescriptor descriptor;
  uint32_t references = 1;
  bool waiting[3] = {false, false, false};

  class Ref {                                          // the loop may drop a handler unrun when it ends
   public:
    explicit Ref(Block& block) noexcept : block_(&block) { ++block.references; }
    Ref(Ref&& other) noexcept : block_(std::exchange(other.block_, nullptr)) {}
    Ref(const Ref& other) noexcept : block_(other.block_) { ++block_->references; }
    Ref& operator=(const Ref&) = delete;
    ~Ref() {
      if (block_) drop(block_);
    }
    Block* operator->() const noexcept { return block_; }

   private:
    Block* block_;
  };
  static void drop(Block* block) noexcept {
    if (--block->references == 0) delete block;
  }
};

Descriptor::Descriptor(Worker& worker, int fd, DescriptorOwner& owner) : block_(new Block(worker, owner)) {
  error_code error;
  block_->descriptor.assign(fd, error);
  if (error) ::close(fd);
}

Descriptor::Descriptor(Descriptor&& other, DescriptorOwner& owner) noexcept : block_(std::exchange(other.block_, nullptr)) {
  if (block_) block_->owner = &owner;
}

void Descriptor::close() noexcept {
  if (!block_) return;
  block_->owner = nullptr;
  error_code ignored;
  block_->descriptor.close(ignored);
  Block::drop(std::exchange(block_, nullptr));
}

int Descriptor::fd() const noexcept { return block_ && block_->descriptor.is_open() ? block_->descriptor.native_handle() : -1; }

void Descriptor::wait(Wait kind) noexcept {
  const auto index = static_cast<size_t>(kind);
  if (!usable() || block_->waiting[index]) return;
  block_->waiting[index] = true;
  block_->descriptor.async_wait(kAsioWait[index], [block = Block::Ref(*block_), kind](error_code) {
    block->waiting[static_cast<size_t>(kind)] = false;
    if (!block->owner) return;
    block->worker.impl().event([&block, kind] { block->owner->on_wait_over(kind); });
  });
}

}  // namespace net
