#pragma once

#include <cassert>
#include <coroutine>

namespace net {

// One operation that a worker runs in a turn of its own (Worker::ready). Lives inside its owner; an Op destroyed while queued
// is taken off the queue, so an owner may die at any time outside `step`.
struct Op {
  void (*step)(Op&) noexcept = nullptr;
  Op* next_ready = nullptr;
  Op* prev_ready = nullptr;   // doubly linked: leaving the queue early is O(1)
  bool queued = false;
  Op() = default;
  explicit Op(void (*run)(Op&) noexcept) : step(run) {}
  Op(const Op& other) noexcept : step(other.step) { assert(!other.queued); }   // awaiters are returned by value before they start
  Op& operator=(const Op&) = delete;
  ~Op() {
    if (queued) leave_queue();
  }
  void leave_queue() noexcept {   // the queue is circular around a sentinel, so nobody else has to be told
    prev_ready->next_ready = next_ready;
    next_ready->prev_ready = prev_ready;
    next_ready = prev_ready = nullptr;
    queued = false;
  }
};

// Who is told that an operation is finished: a coroutine, or a method of a state machine that has no frame.
class Waiter {
 public:
  Waiter() = default;
  Waiter(std::coroutine_handle<> h) noexcept : run_(&resume), object_(h.address()) {}
  template <auto Method, class T> static Waiter to(T& object) noexcept {
    Waiter waiter;
    waiter.run_ = [](void* self) { (static_cast<T*>(self)->*Method)(); };
    waiter.object_ = &object;
    return waiter;
  }
  void wake() const {
    if (run_) run_(object_);
  }
  explicit operator bool() const noexcept { return run_ != nullptr; }

 private:
  static void resume(void* address) { std::coroutine_handle<>::from_address(address).resume(); }
  void (*run_)(void*) = nullptr;
  void* object_ = nullptr;
};

}  // namespace net
