#include "net/wheel.h"

#include <algorithm>
#include <bit>

namespace net {

void Wheel::arm(Timer& timer, uint64_t due) noexcept {
  timer.due_ = std::min(due, now_ + kFurthest);
  if (timer.linked() && timer.stands_ <= timer.due_) return;
  timer.unlink();
  put(timer);
}

void Wheel::put(Timer& timer) noexcept {
  timer.stands_ = timer.due_;
  if (timer.due_ <= now_) {
    due_.push_back(timer);
    return;
  }
  // 2^36 is passed once in two years of uptime; timers beyond it then differ in a digit above the top level and stand on the
  // top level of the next round (next_slot() wraps).
  const unsigned digit = (std::bit_width(timer.due_ ^ now_) - 1) / kBits;
  const unsigned level = std::min(digit, kLevels - 1);
  const unsigned index = (timer.due_ >> (level * kBits)) & (kSlots - 1);
  slots_[level][index].push_back(timer);
  occupied_[level] |= uint64_t{1} << index;
  earliest_ = std::min(earliest_, timer.due_ >> (level * kBits) << (level * kBits));
}

std::optional<Wheel::Slot> Wheel::next_slot() noexcept {
  // A lower level is spread over the current slot of the level above it, so its slots always come first.
  for (unsigned level = 0; level < kLevels; ++level) {
    const unsigned shift = level * kBits;
    const unsigned current = (now_ >> shift) & (kSlots - 1);
    while (occupied_[level]) {
      const unsigned ahead = std::countr_zero(std::rotr(occupied_[level], static_cast<int>(current)));
      const unsigned index = (current + ahead) & (kSlots - 1);
      if (!slots_[level][index].empty()) {
        return Slot{level, index, ((now_ >> shift) + ahead) << shift};   // ahead > 0: the digit differs, kFurthest is half a round
      }
      occupied_[level] &= ~(uint64_t{1} << index);
    }
  }
  return std::nullopt;
}

std::optional<uint64_t> Wheel::next() const noexcept {
  if (!due_.empty()) return now_;
  if (earliest_ == kNever) return std::nullopt;
  return earliest_;
}

Timer* Wheel::pop_due(uint64_t to) noexcept {
  for (;;) {
    while (Timer* timer = due_.pop_front()) {
      if (!timer->armed()) continue;
      if (timer->due_ <= now_) {
        timer->disarm();
        return timer;
      }
      put(*timer);
    }
    if (to < earliest_) break;
    const auto slot = next_slot();
    earliest_ = slot ? slot->start : kNever;
    if (to < earliest_) break;
    now_ = slot->start;
    occupied_[slot->level] &= ~(uint64_t{1} << slot->index);
    // Every timer of the slot now differs from now_ in a lower digit, or was put off to another slot: none comes back to this list.
    List& list = slots_[slot->level][slot->index];
    while (Timer* timer = list.pop_front()) {
      if (timer->armed()) put(*timer);
    }
  }
  now_ = std::max(now_, to);
  return nullptr;
}

}  // namespace net
