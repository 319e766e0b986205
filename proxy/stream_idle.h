#pragma once

#include <algorithm>
#include <chrono>

#include "base/detail.h"
#include "net/cancel.h"
#include "net/stream.h"
#include "net/worker.h"

namespace proxy {

inline constexpr Error kStreamIdle{.code = base::Code::kTimeout, .detail = base::Detail::kStreamIdleTimeout};

// Cancels `target` when for `most` (0: never) no byte has moved. Whoever has moved some says so with progress(). A write to a
// slow peer is one step however long it is, a whole pipe at times; so before anything is cut the streams are asked whether
// their peers have taken a part of it. When they took it, within the last `most`, a socket does not tell, so one that stops is
// cut after `most` at the earliest and twice that at the latest. Nor does it tell what a peer has read, only what the peer's
// kernel has acknowledged: once its receive buffer is full that says nothing until enough is free again to be worth a window
// update (a good part of the buffer: a megabyte read at 20 KB/s is silent for many seconds). A steady reader is therefore safe
// only when `most` is longer than it needs for that part.
class StreamIdle final : private net::Timer {
 public:
  StreamIdle(net::Worker& worker, net::Cancellable& target, std::chrono::milliseconds most) noexcept : Timer(worker), target_(target), most_(most) {}
  // Both may be null; they live as long as the limit is armed.
  void watch(net::Stream* down, net::Stream* up) noexcept {
    down_ = down;
    up_ = up;
  }
  void progress() noexcept {
    if (most_.count() > 0) arm(most_);
  }
  // Another limit from now on.
  void limit(std::chrono::milliseconds most) noexcept {
    most_ = most;
    disarm();
    progress();
  }

 private:
  void fire() noexcept override {
    std::chrono::steady_clock::time_point last{};
    for (net::Stream* stream : {down_, up_})
      if (stream) last = std::max(last, stream->last_drained());
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(last + most_ - worker().now());
    if (left.count() > 0) arm(left);
    else target_.cancel(kStreamIdle);
  }
  net::Cancellable& target_;
  std::chrono::milliseconds most_;
  net::Stream* down_ = nullptr;
  net::Stream* up_ = nullptr;
};

}  // namespace proxy
