#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include "base/intrusive_list.h"
#include "net/block_pool.h"
#include "net/clock.h"
#include "net/pipe.h"
#include "net/reactor.h"
#include "net/ready_queue.h"
#include "net/wheel.h"
#include "net/worker.h"

namespace net {

// The buffer that every read of a worker goes into. Dead after each turn: borrowed bytes then have an older generation, and
// checked builds poison or overwrite them.
class Scratch {
 public:
  explicit Scratch(size_t size);
  ~Scratch();
  Scratch(const Scratch&) = delete;
  std::span<std::byte> all() noexcept;                 // for a read of this turn
  Borrowed borrow(size_t n) noexcept;                  // ends what was borrowed before
  void end_turn() noexcept {
    if (used_) retire();
  }

 private:
  void retire() noexcept;
  const size_t size_;
  const std::unique_ptr<std::byte[]> bytes_;
  size_t lent_ = 0;
  uint32_t generation_ = 0;
  bool used_ = false;
};

struct Worker::Impl final : Reactor::Client {
  Impl(Worker& owner, const Options& options);
  ~Impl();

  // Runs `f` as one turn. Turns never nest.
  template <class F> void turn(F&& f) {
    begin_turn();
    std::forward<F>(f)();
    end_turn();
  }
  // For the reactor's callbacks: one turn, then everything that it made ready.
  template <class F> void event(F&& f) {
    turn(std::forward<F>(f));
    settle();
  }
  void settle();                                       // runs ready operations and due timers, then sets the loop's timer
  bool take_inbox();                                   // runs what other threads posted; true when there was something
  size_t poll();
  void arm(Timer& timer, std::chrono::milliseconds after) noexcept;
  void fresh_clock() noexcept {                        // outside of turns the last one's time may be old
    if (!in_turn) clock.refresh();
  }

  void on_timer() noexcept override;
  void on_notify() noexcept override;
  void on_again() noexcept override;

  struct Spawned;
  void ended() noexcept;                               // a spawned task is gone
  struct IdleOp : Op {
    Impl* impl = nullptr;
  };

  Worker& self;
  const Options options;
  Clock clock;
  Reactor reactor;
  BlockPool blocks;
  PipePool pipes;
  Wheel wheel;
  ReadyQueue queue;
  Scratch scratch;
  base::IntrusiveList<Spawned> spawned;
  size_t tasks = 0;
  std::move_only_function<void()> idle;
  IdleOp idle_op;
  bool in_turn = false;
  bool again_asked = false;                            // settle() stopped early and will be called again
  uint64_t woken_at;                                   // tick the loop's timer is set to

  std::mutex inbox_mutex;
  std::vector<std::move_only_function<void()>> inbox;

  // Relaxed all: each is a number that somebody else looks at now and then; nothing else is published through them.
  std::atomic<bool> stopping{false};
  std::atomic<uint32_t> load{0};
  std::atomic<uint64_t> turns{0};
  std::atomic<int64_t> turn_started{0};

 private:
  void begin_turn() noexcept;
  void end_turn() noexcept;
};

}  // namespace net
