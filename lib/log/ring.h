#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <cstring>
#include <memory>
#include <string_view>

#include <sys/uio.h>

namespace logs {

// Bytes of whole lines from one producer thread to the writer thread. Inside this room only.
class Ring {
 public:
  enum class Put : uint8_t { kOk, kHalfFull, kFull };   // kHalfFull: this line crossed the middle, the writer should hurry

  explicit Ring(size_t capacity) : bytes_(std::make_unique_for_overwrite<char[]>(capacity)), capacity_(capacity) {}

  // Producer. `line` without its newline gets one, so that two lines never run together.
  Put put(std::string_view line) noexcept {
    const bool bare = line.empty() || line.back() != '\n';
    const size_t size = line.size() + bare;
    const uint64_t head = head_.load(std::memory_order_relaxed);   // ours alone
    // Acquire: the writer has finished reading what it gave back before we write over it.
    const uint64_t used = head - tail_.load(std::memory_order_acquire);
    if (size > capacity_ - used) {
      dropped_.store(dropped_.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
      return Put::kFull;
    }
    copy(head, line);
    if (bare) copy(head + line.size(), "\n");
    // Release: the bytes come before the new head. Sequentially consistent on top, because the producer looks at the writer's
    // `asleep` next, and the writer sets `asleep` before it looks at the heads: one of the two must see the other.
    head_.store(head + size, std::memory_order_seq_cst);
    return used < capacity_ / 2 && used + size >= capacity_ / 2 ? Put::kHalfFull : Put::kOk;
  }

  // Writer: what can be written now, in at most two pieces. Returns how many pieces.
  size_t pieces(iovec (&out)[2]) const noexcept {
    const uint64_t tail = tail_.load(std::memory_order_relaxed), head = head_.load(std::memory_order_seq_cst);
    if (head == tail) return 0;
    const size_t size = head - tail, at = tail % capacity_, first = std::min(size, capacity_ - at);
    out[0] = {bytes_.get() + at, first};
    if (first == size) return 1;
    out[1] = {bytes_.get(), size - first};
    return 2;
  }
  void consume(size_t n) noexcept { tail_.store(tail_.load(std::memory_order_relaxed) + n, std::memory_order_release); }
  bool empty() const noexcept { return head_.load(std::memory_order_seq_cst) == tail_.load(std::memory_order_relaxed); }
  uint64_t dropped() const noexcept { return dropped_.load(std::memory_order_relaxed); }

  // The list of rings only grows; a ring whose thread has ended serves the next new thread. Acquire and release hand over
  // what the former owner wrote.
  bool claim() noexcept { return !owned_.exchange(true, std::memory_order_acquire); }
  void abandon() noexcept { owned_.store(false, std::memory_order_release); }
  Ring* next = nullptr;                  // written before the ring is published

 private:
  void copy(uint64_t where, std::string_view text) noexcept {
    const size_t at = where % capacity_, first = std::min(text.size(), capacity_ - at);
    std::memcpy(bytes_.get() + at, text.data(), first);
    std::memcpy(bytes_.get(), text.data() + first, text.size() - first);
  }

  std::unique_ptr<char[]> bytes_;
  const size_t capacity_;
  alignas(64) std::atomic<uint64_t> head_{0};      // producer writes
  std::atomic<uint64_t> dropped_{0};               // producer writes; relaxed, a tally
  std::atomic<bool> owned_{true};
  alignas(64) std::atomic<uint64_t> tail_{0};      // writer writes
};

}  // namespace logs
