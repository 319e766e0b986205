#pragma once

#include <coroutine>
#include <cstddef>
#include <exception>
#include <optional>
#include <utility>

namespace net {

// Coroutine frames come from a free list per thread and size class; under sanitizers from malloc, so that a frame used too
// late is a report. Tasks never change workers; a frame that is made before its worker's thread runs merely moves lists.
void* allocate_frame(size_t size);
void free_frame(void* frame, size_t size) noexcept;

template <class T = void> class Task;

namespace detail {
enum class Phase : unsigned char { kStarting, kWaiting, kDone };   // of one child, as whoever started it sees it

// What goes on when a task has ended: a callable without a frame. It names the coroutine to resume next, or the no-op one.
struct Continuation {
  std::coroutine_handle<> (*next)(void* object) noexcept = nullptr;
  void* object = nullptr;
  static Continuation resume(std::coroutine_handle<> parent) noexcept {
    return {[](void* address) noexcept { return std::coroutine_handle<>::from_address(address); }, parent.address()};
  }
};

struct PromiseBase {
  Continuation continuation;
  Phase phase = Phase::kStarting;
  static void* operator new(size_t size) { return allocate_frame(size); }
  static void operator delete(void* frame, size_t size) noexcept { free_frame(frame, size); }
  std::suspend_always initial_suspend() const noexcept { return {}; }
  // An exception that reaches a coroutine's body is a defect of ours: there is nobody who could handle it (STYLE, Errors).
  [[noreturn]] void unhandled_exception() noexcept { std::terminate(); }
  struct Final {
    bool await_ready() const noexcept { return false; }
    // While the parent is still inside await_suspend it learns of the end there, without a resume: that is what keeps the
    // stack flat when a million children finish at once.
    template <class P> std::coroutine_handle<> await_suspend(std::coroutine_handle<P> h) const noexcept {
      PromiseBase& promise = h.promise();
      const bool waiting = promise.phase == Phase::kWaiting;
      promise.phase = Phase::kDone;
      if (!waiting) return std::noop_coroutine();
      return promise.continuation.next(promise.continuation.object);
    }
    void await_resume() const noexcept {}
  };
  Final final_suspend() const noexcept { return {}; }
};
template <class T> struct Promise : PromiseBase {
  std::optional<T> value;
  Task<T> get_return_object() noexcept;
  template <class U = T> void return_value(U&& v) { value.emplace(std::forward<U>(v)); }
  T take() { return std::move(*value); }
};
template <> struct Promise<void> : PromiseBase {
  Task<void> get_return_object() noexcept;
  void return_void() const noexcept {}
  void take() const noexcept {}
};
}  // namespace detail

// A lazy coroutine on one thread: it starts when awaited, and its caller goes on when it ends. It owns its frame; destroying
// a task that waits is a defect (cancel what it waits for instead, and the stack unwinds), one that has not started is free.
template <class T> class [[nodiscard]] Task {
 public:
  using promise_type = detail::Promise<T>;
  Task(Task&& other) noexcept : handle_(std::exchange(other.handle_, {})) {}
  Task& operator=(Task&&) = delete;
  ~Task() {
    if (handle_) handle_.destroy();
  }
  bool await_ready() const noexcept { return false; }
  bool await_suspend(std::coroutine_handle<> parent) { return start(detail::Continuation::resume(parent)); }
  T await_resume() { return handle_.promise().take(); }

 private:
  friend promise_type;
  friend class Both;
  friend class Worker;
  explicit Task(std::coroutine_handle<promise_type> handle) noexcept : handle_(handle) {}
  // Runs the body up to its first real wait. False: it has ended already and `then` is not called.
  bool start(detail::Continuation then) {
    auto& promise = handle_.promise();
    promise.continuation = then;
    handle_.resume();
    if (promise.phase == detail::Phase::kDone) return false;
    promise.phase = detail::Phase::kWaiting;
    return true;
  }
  std::coroutine_handle<promise_type> handle_;
};

namespace detail {
template <class T> Task<T> Promise<T>::get_return_object() noexcept {
  return Task<T>(std::coroutine_handle<Promise<T>>::from_promise(*this));
}
inline Task<void> Promise<void>::get_return_object() noexcept {
  return Task<void>(std::coroutine_handle<Promise<void>>::from_promise(*this));
}
}  // namespace detail

// Runs two tasks on this thread and resumes the awaiting coroutine when both have ended. Has no frame of its own; both tasks
// start in the await, `a` first.
class [[nodiscard]] Both {
 public:
  Both(Task<> a, Task<> b) noexcept : a_(std::move(a)), b_(std::move(b)) {}
  Both(const Both&) = delete;
  bool await_ready() const noexcept { return false; }
  bool await_suspend(std::coroutine_handle<> parent);
  void await_resume() const noexcept {}

 private:
  static std::coroutine_handle<> one_ended(void* self) noexcept;
  Task<> a_, b_;
  std::coroutine_handle<> parent_;
  int left_ = 2;
  bool starting_ = true;               // the parent has not been suspended yet
};
inline Both both(Task<> a, Task<> b) { return {std::move(a), std::move(b)}; }

}  // namespace net
