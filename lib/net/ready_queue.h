#pragma once

#include "net/ready.h"

namespace net {

// The operations a worker has to run, first come first served. Circular around a sentinel: an operation can leave without
// knowing its queue.
class ReadyQueue {
 public:
  ReadyQueue() noexcept { head_.next_ready = head_.prev_ready = &head_; }
  ReadyQueue(const ReadyQueue&) = delete;
  ~ReadyQueue() {
    while (pop()) {
    }
  }
  bool empty() const noexcept { return head_.next_ready == &head_; }
  void push(Op& op) noexcept {
    if (op.queued) return;
    op.queued = true;
    op.next_ready = &head_;
    op.prev_ready = head_.prev_ready;
    op.prev_ready->next_ready = &op;
    head_.prev_ready = &op;
  }
  Op* pop() noexcept {
    if (empty()) return nullptr;
    Op* first = head_.next_ready;
    first->leave_queue();
    return first;
  }

 private:
  Op head_;
};

}  // namespace net
