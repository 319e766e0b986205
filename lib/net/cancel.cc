#include "net/cancel.h"

#include <algorithm>

#include "net/worker_impl.h"

namespace net {

void Timer::arm(std::chrono::milliseconds after) noexcept { worker_.impl().arm(*this, after); }

std::chrono::milliseconds Timer::left() const noexcept {
  using std::chrono::milliseconds;
  if (!armed()) return milliseconds(0);
  auto& impl = worker_.impl();
  impl.fresh_clock();
  return std::max(milliseconds(0), std::chrono::ceil<milliseconds>(impl.clock.at(due_) - impl.clock.now()));
}

void Sleep::await_suspend(std::coroutine_handle<> h) noexcept {
  waiter_ = h;
  step = [](Op& op) noexcept { std::exchange(static_cast<Sleep&>(op).waiter_, nullptr).resume(); };
  if (cancelled()) {
    worker().ready(*this);
  } else {
    arm(time_);
  }
}

Result<> Sleep::await_resume() const noexcept {
  if (cancelled()) return std::unexpected(why());
  return {};
}

void Sleep::fire() noexcept { std::exchange(waiter_, nullptr).resume(); }

void Sleep::on_cancel() noexcept {
  disarm();
  if (waiter_) worker().ready(*this);
}

}  // namespace net
