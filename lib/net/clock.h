#pragma once

#include <chrono>
#include <cstdint>

namespace net {

// The time of one worker: taken once per turn, or moved by hand. A tick is a millisecond since the worker was made.
class Clock {
 public:
  using Steady = std::chrono::steady_clock;
  explicit Clock(bool manual) noexcept : manual_(manual) {}
  bool manual() const noexcept { return manual_; }
  void refresh() noexcept {
    if (manual_) return;
    now_ = Steady::now();
    wall_known_ = false;
  }
  void set_tick(uint64_t tick) noexcept {              // manual only
    now_ = at(tick);
    wall_known_ = false;
  }
  Steady::time_point now() const noexcept { return now_; }
  std::chrono::system_clock::time_point wall() noexcept {
    if (!wall_known_) {
      wall_ = manual_ ? wall_origin_ + std::chrono::duration_cast<std::chrono::system_clock::duration>(now_ - origin_)
                      : std::chrono::system_clock::now();
      wall_known_ = true;
    }
    return wall_;
  }
  uint64_t tick() const noexcept { return static_cast<uint64_t>((now_ - origin_) / std::chrono::milliseconds(1)); }
  // The first tick that is not before now + after, so that a timer is never early.
  uint64_t tick_after(std::chrono::milliseconds after) const noexcept {
    return static_cast<uint64_t>(std::chrono::ceil<std::chrono::milliseconds>(now_ - origin_ + after).count());
  }
  Steady::time_point at(uint64_t tick) const noexcept { return origin_ + std::chrono::milliseconds(tick); }

 private:
  const bool manual_;
  const Steady::time_point origin_ = Steady::now();
  const std::chrono::system_clock::time_point wall_origin_ = std::chrono::system_clock::now();
  Steady::time_point now_ = origin_;
  std::chrono::system_clock::time_point wall_ = wall_origin_;
  bool wall_known_ = false;
};

}  // namespace net
