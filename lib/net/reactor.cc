#include "net/reactor.h"

#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <limits>
#include <utility>

#include "base/intrusive_list.h"
#include "net/worker_impl.h"

namespace net {

namespace {

using Steady = std::chrono::steady_clock;

// What one pass takes from the kernel at most. The rest stays in the kernel's list, and its order is fair.
constexpr int kEventsPerPass = 128;

constexpr uint32_t kHungUp = EPOLLERR | EPOLLHUP;
constexpr uint32_t kReadable = EPOLLIN | EPOLLRDHUP | kHungUp;
constexpr uint32_t kWritable = EPOLLOUT | kHungUp;
constexpr std::array<uint32_t, 3> kEnds = {kReadable, kWritable, kHungUp};   // by Wait: the events that end it
constexpr std::array<Wait, 3> kOrder = {Wait::kError, Wait::kWrite, Wait::kRead};

constexpr uint8_t bit(Wait wait) noexcept { return static_cast<uint8_t>(1u << static_cast<unsigned>(wait)); }

// A worker without its loop cannot exist; these fail only at start, when descriptors or memory have run out.
int or_die(int fd, const char* what) {
  if (fd >= 0) return fd;
  std::perror(what);
  std::abort();
}

}  // namespace

// What the kernel's list points to. It outlives its Descriptor until the end of the pass, for the events of a pass may name a
// descriptor that an earlier event of the same pass has closed.
struct Descriptor::Block final : base::ListLink {
  Block(Worker& w, int descriptor, DescriptorOwner& o) noexcept : worker(w), owner(&o), fd(descriptor) {}
  Reactor::Loop& loop() const noexcept { return worker.impl().reactor.loop(); }
  void came(uint32_t events) noexcept;
  void deliver(Wait wait) noexcept;
  void deliver_due() noexcept;
  void end_soon(Wait wait) noexcept;
  void watch() noexcept;

  Worker& worker;
  DescriptorOwner* owner;                              // null once it is gone
  int fd;
  bool watched = false;                                // the kernel knows it
  uint8_t waiting = 0;                                 // bits of Wait
  uint8_t due = 0;                                     // of those, the ones that end in the next pass
  bool unread = false;                                 // something came while nobody waited for it
  bool ended = false, hung_up = false, urgent = false; // for good
};

struct Reactor::Loop {
  explicit Loop(Client& c) : client(c) {
    epoll_event event{.events = EPOLLIN | EPOLLET, .data = {.ptr = nullptr}};
    or_die(::epoll_ctl(epoll_fd, EPOLL_CTL_ADD, event_fd, &event), "epoll_ctl");
  }
  ~Loop() {
    bury();
    ::close(event_fd);
    ::close(epoll_fd);
  }
  Loop(const Loop&) = delete;

  bool pass(bool may_wait);                            // true: there was something to do
  int patience(bool may_wait) const noexcept;          // milliseconds, for epoll_wait
  void bury() noexcept {
    while (Descriptor::Block* block = dead.pop_front()) delete block;
  }

  Client& client;
  const int epoll_fd = or_die(::epoll_create1(EPOLL_CLOEXEC), "epoll_create1");
  const int event_fd = or_die(::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC), "eventfd");
  base::IntrusiveList<Descriptor::Block> due, dead;
  Steady::time_point wake = Steady::time_point::max();
  bool stopped = false, again = false;
};

int Reactor::Loop::patience(bool may_wait) const noexcept {
  if (!may_wait || again || !due.empty()) return 0;
  if (wake == Steady::time_point::max()) return -1;
  const auto left = std::chrono::ceil<std::chrono::milliseconds>(wake - Steady::now()).count();
  return static_cast<int>(std::clamp<int64_t>(left, 0, std::numeric_limits<int>::max()));
}

bool Reactor::Loop::pass(bool may_wait) {
  std::array<epoll_event, kEventsPerPass> events;
  const int count = ::epoll_wait(epoll_fd, events.data(), kEventsPerPass, patience(may_wait));
  bool did = count > 0;
  // What becomes due during this pass belongs to the next one: descriptors that keep each other busy must not hold up the rest.
  base::IntrusiveList<Descriptor::Block> now;
  while (Descriptor::Block* block = due.pop_front()) now.push_back(*block);
  for (int i = 0; i < count; ++i) {
    if (auto* block = static_cast<Descriptor::Block*>(events[static_cast<size_t>(i)].data.ptr)) {
      block->came(events[static_cast<size_t>(i)].events);
      continue;
    }
    uint64_t calls;
    [[maybe_unused]] const auto n = ::read(event_fd, &calls, sizeof calls);
    client.on_notify();
  }
  while (Descriptor::Block* block = now.pop_front()) {
    did = true;
    block->deliver_due();
  }
  bury();
  if (std::exchange(again, false)) {
    did = true;
    client.on_again();
  }
  if (wake != Steady::time_point::max() && Steady::now() >= wake) {
    did = true;
    wake = Steady::time_point::max();
    client.on_timer();
  }
  return did;
}

Reactor::Reactor(Client& client) : loop_(std::make_unique<Loop>(client)) {}
Reactor::~Reactor() = default;

void Reactor::run() {
  loop_->stopped = false;
  while (!loop_->stopped) loop_->pass(true);
}

void Reactor::stop() noexcept { loop_->stopped = true; }
bool Reactor::poll() { return loop_->pass(false); }
void Reactor::wake_at(Steady::time_point at) noexcept { loop_->wake = at; }
void Reactor::again() noexcept { loop_->again = true; }

void Reactor::notify() noexcept {
  const uint64_t one = 1;
  [[maybe_unused]] const auto n = ::write(loop_->event_fd, &one, sizeof one);   // full means: a wake-up is already under way
}

void Descriptor::Block::came(uint32_t events) noexcept {
  if (!owner) return;
  ended |= (events & (EPOLLRDHUP | kHungUp)) != 0;
  hung_up |= (events & kHungUp) != 0;
  urgent |= (events & EPOLLPRI) != 0;
  unread |= (events & kReadable) != 0;
  for (const Wait wait : kOrder) {
    if (events & kEnds[static_cast<size_t>(wait)]) deliver(wait);
  }
}

void Descriptor::Block::deliver(Wait wait) noexcept {
  if (!owner || !(waiting & bit(wait))) return;
  waiting &= static_cast<uint8_t>(~bit(wait));
  if (wait == Wait::kRead) unread = false;
  worker.impl().event([this, wait] { owner->on_wait_over(wait); });
}

void Descriptor::Block::deliver_due() noexcept {
  const uint8_t which = std::exchange(due, 0);
  for (const Wait wait : kOrder) {
    if (which & bit(wait)) deliver(wait);
  }
}

void Descriptor::Block::end_soon(Wait wait) noexcept {
  due |= bit(wait);
  if (!linked()) loop().due.push_back(*this);
}

// The kernel reports the state that it finds, so nothing that came before is lost.
void Descriptor::Block::watch() noexcept {
  watched = true;
  epoll_event event{.events = EPOLLIN | EPOLLOUT | EPOLLPRI | EPOLLRDHUP | EPOLLET, .data = {.ptr = this}};
  if (::epoll_ctl(loop().epoll_fd, EPOLL_CTL_ADD, fd, &event) == 0) return;
  ::close(std::exchange(fd, -1));                      // out of memory or of watches: whoever waits tries, and fails
  ended = hung_up = true;
}

Descriptor::Descriptor(Worker& worker, int fd, DescriptorOwner& owner) : block_(new Block(worker, fd, owner)) {}

Descriptor::Descriptor(Descriptor&& other, DescriptorOwner& owner) noexcept : block_(std::exchange(other.block_, nullptr)) {
  if (block_) block_->owner = &owner;
}

void Descriptor::close() noexcept {
  if (!block_) return;
  Block* block = std::exchange(block_, nullptr);
  block->owner = nullptr;
  if (block->fd >= 0) {
    // Closing takes it off the kernel's list, unless somebody holds a second descriptor: a child between fork and exec.
    if (block->watched && block->worker.impl().options.starts_programs) ::epoll_ctl(block->loop().epoll_fd, EPOLL_CTL_DEL, block->fd, nullptr);
    ::close(block->fd);
  }
  block->unlink();
  block->loop().dead.push_back(*block);
}

bool Descriptor::urgent() const noexcept { return block_ && block_->urgent; }
bool Descriptor::came() const noexcept { return block_ && (block_->unread || block_->ended); }
int Descriptor::fd() const noexcept { return block_ ? block_->fd : -1; }

void Descriptor::wait(Wait kind) noexcept {
  if (!usable()) return;
  // Not before the first wait: a socket that is not yet connecting counts as hung up.
  if (!block_->watched) block_->watch();
  block_->waiting |= bit(kind);
  const bool over = kind == Wait::kRead ? block_->unread || block_->ended : block_->hung_up;
  if (over) block_->end_soon(kind);
}

void Descriptor::again(Wait kind) noexcept {
  if (!usable()) return;
  block_->waiting |= bit(kind);
  block_->end_soon(kind);
}

}  // namespace net
