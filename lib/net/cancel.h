#pragma once

#include <chrono>
#include <coroutine>
#include <cstdint>

#include "base/intrusive_list.h"
#include "base/result.h"
#include "net/ready.h"

namespace net {

class Worker;

// Something whose waiting operations can be ended from outside: stream, exchange, pool waiter, sleep. Cancellation is final
// and the first reason wins. Single-threaded: only the owning worker calls it.
class Cancellable {
 public:
  void cancel(Error why) noexcept {
    if (cancelled_) return;
    cancelled_ = true;
    why_ = why;
    on_cancel();
  }
  bool cancelled() const noexcept { return cancelled_; }
  Error why() const noexcept { return why_; }   // meaningful once cancelled

 protected:
  Cancellable() = default;
  Cancellable(const Cancellable&) = delete;
  Cancellable& operator=(const Cancellable&) = delete;
  ~Cancellable() = default;

 private:
  virtual void on_cancel() noexcept = 0;   // makes the waiting operations ready (Worker::ready); resumes nobody in this stack
  Error why_{};
  bool cancelled_ = false;
};

// One point in time on a worker's wheel. Arming and disarming is O(1), without system call or allocation; exact to the
// millisecond and never early. `fire` runs in a turn of its own. Disarming leaves the timer where it stands on the wheel, and
// arming it for a later time too: idle deadlines come and go with each request, and moving one touches its neighbours there,
// the timers of other connections.
class Timer : public base::ListLink {
 public:
  explicit Timer(Worker& worker) noexcept : worker_(worker) {}
  void arm(std::chrono::milliseconds after) noexcept;   // re-arms when armed; 0 or less fires in the next turn
  void disarm() noexcept { due_ = kDisarmed; }
  bool armed() const noexcept { return due_ != kDisarmed; }
  std::chrono::milliseconds left() const noexcept;      // until it fires; 0 when not armed

 protected:
  ~Timer() = default;                                   // the link takes itself off the wheel
  Worker& worker() const noexcept { return worker_; }

 private:
  friend class Wheel;
  static constexpr uint64_t kDisarmed = ~uint64_t{0};
  virtual void fire() noexcept = 0;                     // the timer is disarmed; it may arm itself again
  Worker& worker_;
  uint64_t due_ = kDisarmed;                            // tick of the wheel, ms
  uint64_t stands_ = 0;                                 // while linked: the tick it stands for there, not after due_
};

// Cancels `target` with `why` unless disarmed in time. The destructor disarms.
class Deadline final : private Timer {
 public:
  Deadline(Worker& worker, Cancellable& target) noexcept : Timer(worker), target_(target) {}
  void arm(std::chrono::milliseconds after, Error why) noexcept {
    why_ = why;
    Timer::arm(after);
  }
  using Timer::disarm, Timer::armed, Timer::left;

 private:
  void fire() noexcept override { target_.cancel(why_); }
  Cancellable& target_;
  Error why_{};
};

// A pause: `co_await sleep` yields Result<>: value when the time is over, error when somebody cancelled it. Lives in the
// frame of the caller. Fault delay, retry back-off.
class [[nodiscard]] Sleep final : public Cancellable, private Timer, private Op {
 public:
  Sleep(Worker& worker, std::chrono::milliseconds time) noexcept : Timer(worker), time_(time) {}
  bool await_ready() noexcept { return time_.count() <= 0 && !cancelled(); }
  void await_suspend(std::coroutine_handle<> h) noexcept;
  Result<> await_resume() const noexcept;

 private:
  void fire() noexcept override;
  void on_cancel() noexcept override;
  std::chrono::milliseconds time_;
  std::coroutine_handle<> waiter_;
};
inline Sleep sleep(Worker& worker, std::chrono::milliseconds time) { return {worker, time}; }

}  // namespace net
