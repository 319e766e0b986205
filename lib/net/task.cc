#include "net/task.h"

namespace net {

std::coroutine_handle<> Both::one_ended(void* self) noexcept {
  Both& both = *static_cast<Both*>(self);
  return --both.left_ == 0 && !both.starting_ ? both.parent_ : std::noop_coroutine();
}

bool Both::await_suspend(std::coroutine_handle<> parent) {
  parent_ = parent;
  if (!a_.start({&one_ended, this})) --left_;
  if (!b_.start({&one_ended, this})) --left_;
  starting_ = false;
  return left_ > 0;
}

}  // namespace net
