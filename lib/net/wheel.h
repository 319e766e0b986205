#pragma once

#include <array>
#include <cstdint>
#include <optional>

#include "base/intrusive_list.h"
#include "net/cancel.h"

namespace net {

// A hierarchical timer wheel: 6 levels of 64 slots, one tick is a millisecond, 2^36 ticks (two years) around. A timer stands
// on the level of the highest 6-bit digit in which its due tick differs from now, so timers of one tick always share a slot
// and fire in the order they were put there. Arming and disarming is O(1); moving over empty time costs one step per occupied
// slot. A timer that was disarmed or put off stays where it is until its slot comes, and is dropped or moved on then.
class Wheel {
 public:
  // Later than this is cut to it: the digits of `due` then still tell rounds of the top level apart.
  static constexpr uint64_t kFurthest = uint64_t{1} << 35;

  uint64_t now() const noexcept { return now_; }
  void arm(Timer& timer, uint64_t due) noexcept;
  static uint64_t due(const Timer& timer) noexcept { return timer.due_; }

  // Moves towards tick `to` (not before now) and takes off the first timer that is due by then; nullptr: now() is `to`.
  // The caller fires one at a time, so that a timer may arm or disarm others while they wait their turn.
  Timer* pop_due(uint64_t to) noexcept;
  static void fire(Timer& timer) noexcept { timer.fire(); }
  // The tick at which pop_due() has something to do: a timer is due, or a slot of a higher level has to be spread. Never later
  // than the first due tick; earlier when the timer it was for has been disarmed or put off. Empty: none has been armed since.
  std::optional<uint64_t> next() const noexcept;

 private:
  void put(Timer& timer) noexcept;                    // where its due tick says
  static constexpr uint64_t kNever = ~uint64_t{0};
  static constexpr unsigned kBits = 6, kLevels = 6, kSlots = 64;
  using List = base::IntrusiveList<Timer>;
  struct Slot {
    unsigned level, index;
    uint64_t start;
  };
  std::optional<Slot> next_slot() noexcept;
  std::array<std::array<List, kSlots>, kLevels> slots_;
  std::array<uint64_t, kLevels> occupied_{};          // a set bit may be stale: disarming does not look here
  List due_;                                          // due at or before now_
  uint64_t now_ = 0;
  uint64_t earliest_ = kNever;                        // no slot begins before it: most turns need to look at nothing else
};

}  // namespace net
