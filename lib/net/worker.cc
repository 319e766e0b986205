#include "net/worker.h"

#include <cassert>
#include <cstdio>
#include <cstring>
#include <limits>

#include "net/checks.h"
#include "net/worker_impl.h"

#if __has_feature(address_sanitizer)
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(at, size) ((void)(at), (void)(size))
#define ASAN_UNPOISON_MEMORY_REGION(at, size) ((void)(at), (void)(size))
#endif

namespace net {
namespace {

constexpr uint64_t kNever = std::numeric_limits<uint64_t>::max();
// Turns from the ready queue and the wheel before descriptors are looked at again: operations that keep each other busy must
// not starve the sockets. Large enough that a usual burst of a loop pass is never cut.
constexpr int kTurnsPerPass = 512;
constexpr auto kRelaxed = std::memory_order_relaxed;

}  // namespace

Scratch::Scratch(size_t size) : size_(size), bytes_(new std::byte[size]) { ASAN_POISON_MEMORY_REGION(bytes_.get(), size_); }
Scratch::~Scratch() { ASAN_UNPOISON_MEMORY_REGION(bytes_.get(), size_); }

std::span<std::byte> Scratch::all() noexcept {
  if (!used_) ASAN_UNPOISON_MEMORY_REGION(bytes_.get(), size_);
  used_ = true;
  return {bytes_.get(), size_};
}

Borrowed Scratch::borrow(size_t n) noexcept {
  assert(n <= size_);
  if (n > lent_) lent_ = n;
  ++generation_;
  return Borrowed(all().first(n), generation_);
}

void Scratch::retire() noexcept {
  ++generation_;
  // Without AddressSanitizer whoever keeps a span of his own at least reads rubbish, always.
  if constexpr (kChecked) std::memset(bytes_.get(), 0xDD, lent_);
  ASAN_POISON_MEMORY_REGION(bytes_.get(), size_);
  lent_ = 0;
  used_ = false;
}

// A spawned task. It is let go in a turn of its own: the frame is then suspended for good.
struct Worker::Impl::Spawned : Op, base::ListLink {
  Spawned(Impl& owner, Task<> body) noexcept : Op(&start), impl(owner), task(std::move(body)) {}
  static void start(Op& op) noexcept {
    auto& self = static_cast<Spawned&>(op);
    self.step = &end;
    if (!self.task.start({&over, &self})) end(op);
  }
  static std::coroutine_handle<> over(void* self) noexcept {
    auto& spawned = *static_cast<Spawned*>(self);
    spawned.impl.queue.push(spawned);
    return std::noop_coroutine();
  }
  static void end(Op& op) noexcept {
    auto* self = static_cast<Spawned*>(&op);
    Impl& impl = self->impl;
    delete self;
    impl.ended();
  }
  bool started() const noexcept { return step != &start; }
  Impl& impl;
  Task<> task;
};

Worker::Impl::Impl(Worker& owner, const Options& given)
    : self(owner), options(given), clock(given.manual_clock), reactor(*this), scratch(given.scratch), woken_at(kNever) {
  idle_op.impl = this;
  idle_op.step = [](Op& op) noexcept {
    Impl& impl = *static_cast<IdleOp&>(op).impl;
    if (impl.tasks == 0 && impl.idle) std::exchange(impl.idle, nullptr)();
  };
}

Worker::Impl::~Impl() {
  // What was posted and never run owns sockets and the like; they still need the loop. Dying may post again: once is enough.
  std::exchange(inbox, {}).clear();
  size_t waiting = 0;
  for (Spawned* task = spawned.front(); task;) {
    Spawned* const next = spawned.next(*task);
    // A frame that waits cannot be destroyed (its operations are known elsewhere): it stays behind, and LeakSanitizer tells.
    const bool over = task->started() && task->queued;
    if (!task->started() || over) {
      delete task;
    } else {
      ++waiting;
      task->unlink();
    }
    task = next;
  }
  if (kChecked && waiting) std::fprintf(stderr, "net::Worker destroyed while %zu tasks wait\n", waiting);
}

void Worker::Impl::begin_turn() noexcept {
  assert(!in_turn);
  in_turn = true;
  clock.refresh();
  turn_started.store(clock.now().time_since_epoch().count(), kRelaxed);
}

void Worker::Impl::end_turn() noexcept {
  scratch.end_turn();
  turns.store(turns.load(kRelaxed) + 1, kRelaxed);     // only this thread writes: no read-modify-write needed
  in_turn = false;
}

void Worker::Impl::settle() {
  int left = kTurnsPerPass;
  for (;;) {
    while (Op* op = queue.pop()) {
      turn([op] { op->step(*op); });
      if (--left <= 0) break;
    }
    Timer* timer = left > 0 ? wheel.pop_due(clock.tick()) : nullptr;
    if (!timer) break;
    turn([timer] { Wheel::fire(*timer); });
    --left;
  }
  turn_started.store(0, kRelaxed);
  if (left <= 0) {
    if (!std::exchange(again_asked, true)) reactor.again();
    return;
  }
  if (clock.manual()) return;
  // The loop's timer is set only to be earlier. One that comes too early finds nothing due and sets itself anew: cheaper than
  // two system calls for each request that disarms its deadline.
  const auto next = wheel.next();
  if (!next || *next >= woken_at) return;
  woken_at = *next;
  reactor.wake_at(clock.at(woken_at));
}

bool Worker::Impl::take_inbox() {
  std::vector<std::move_only_function<void()>> posted;
  {
    std::lock_guard lock(inbox_mutex);
    posted.swap(inbox);
  }
  for (auto& f : posted) {
    turn([&f] { std::exchange(f, nullptr)(); });
    settle();
  }
  return !posted.empty();
}

void Worker::Impl::on_timer() noexcept {
  woken_at = kNever;
  fresh_clock();
  settle();
}

void Worker::Impl::on_notify() noexcept {
  take_inbox();
  if (stopping.load(kRelaxed)) reactor.stop();
}

void Worker::Impl::on_again() noexcept {
  again_asked = false;
  settle();
}

size_t Worker::Impl::poll() {
  assert(!in_turn);
  const uint64_t before = turns.load(kRelaxed);
  bool more = true;
  while (more) {
    fresh_clock();
    settle();
    more = take_inbox();
    more = reactor.poll() || more || !queue.empty();
  }
  return turns.load(kRelaxed) - before;
}

void Worker::Impl::arm(Timer& timer, std::chrono::milliseconds after) noexcept {
  fresh_clock();
  wheel.arm(timer, clock.tick_after(after < std::chrono::milliseconds(0) ? std::chrono::milliseconds(0) : after));
}

void Worker::Impl::ended() noexcept {
  if (--tasks == 0 && idle) queue.push(idle_op);
}

Worker::Worker(const Options& options) : impl_(std::make_unique<Impl>(*this, options)) {}
Worker::~Worker() = default;

void Worker::run() {
  if (!impl_->stopping.load(kRelaxed)) {
    impl_->fresh_clock();
    impl_->settle();                                   // what was armed or spawned before the thread was started
    impl_->reactor.run();
  }
  impl_->stopping.store(false, kRelaxed);
}

void Worker::stop() noexcept {
  impl_->stopping.store(true, kRelaxed);
  impl_->reactor.notify();
}

size_t Worker::poll() { return impl_->poll(); }

void Worker::advance(std::chrono::milliseconds by) {
  Impl& impl = *impl_;
  assert(impl.clock.manual());
  const uint64_t to = impl.clock.tick_after(by);
  impl.poll();
  for (auto next = impl.wheel.next(); next && *next <= to; next = impl.wheel.next()) {
    impl.clock.set_tick(*next);                        // one by one: what a timer arms counts from its own moment
    impl.poll();
  }
  impl.clock.set_tick(to);
  impl.poll();
}

void Worker::post(std::move_only_function<void()> f) {
  bool first;
  {
    std::lock_guard lock(impl_->inbox_mutex);
    first = impl_->inbox.empty();
    impl_->inbox.push_back(std::move(f));
  }
  if (first) impl_->reactor.notify();                  // later ones are seen together with it
}

void Worker::ready(Op& op) noexcept {
  assert(op.step);
  impl_->queue.push(op);
}

void Worker::spawn(Task<> task) {
  auto* spawned = new Impl::Spawned(*impl_, std::move(task));
  impl_->spawned.push_back(*spawned);
  ++impl_->tasks;
  impl_->queue.push(*spawned);
}

size_t Worker::tasks() const noexcept { return impl_->tasks; }

void Worker::when_idle(std::move_only_function<void()> f) {
  assert(!impl_->idle);
  impl_->idle = std::move(f);
  if (impl_->tasks == 0) impl_->queue.push(impl_->idle_op);
}

std::chrono::steady_clock::time_point Worker::now() const noexcept {
  impl_->fresh_clock();
  return impl_->clock.now();
}
std::chrono::system_clock::time_point Worker::wall() const noexcept {
  impl_->fresh_clock();
  return impl_->clock.wall();
}

unsigned Worker::index() const noexcept { return impl_->options.index; }
uint32_t Worker::load() const noexcept { return impl_->load.load(kRelaxed); }
uint64_t Worker::turns() const noexcept { return impl_->turns.load(kRelaxed); }
std::chrono::steady_clock::time_point Worker::turn_started() const noexcept {
  return std::chrono::steady_clock::time_point(std::chrono::steady_clock::duration(impl_->turn_started.load(kRelaxed)));
}

std::span<std::byte> Worker::scratch() noexcept { return impl_->scratch.all(); }
Borrowed Worker::borrow_scratch(size_t n) noexcept { return impl_->scratch.borrow(n); }
std::byte* Worker::take_block(uint32_t& capacity) { return impl_->blocks.take(capacity); }
void Worker::give_block(std::byte* block, uint32_t capacity) noexcept { impl_->blocks.give(block, capacity); }
PipeLoan Worker::lend_pipe() noexcept { return {*this, impl_->pipes.take()}; }
size_t Worker::block_bytes() const noexcept { return impl_->blocks.bytes(); }
// The acceptor adds for another worker, so this one is a real read-modify-write.
void Worker::add_load(int change) noexcept { impl_->load.fetch_add(static_cast<uint32_t>(change), kRelaxed); }

}  // namespace net
