#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "net/stream.h"

namespace net {

class Worker;

// A queue of bytes that had to wait: 4, 16, 64 or 128 KiB blocks from the worker's pool, given back when empty. An idle slab
// owns nothing but this object.
class Slab {
 public:
  explicit Slab(Worker& worker) noexcept : worker_(worker) {}
  Slab(const Slab&) = delete;
  ~Slab() { clear(); }
  void append(Slice bytes);                    // copies; grows to what is needed (a block is moved to a bigger one)
  void prepend(Slice bytes);
  Slice front() const noexcept { return {block_ + begin_, end_ - begin_}; }   // everything it holds, contiguous
  Borrowed borrow(size_t at_most) noexcept;    // the front; good until the slab changes
  void consume(size_t n) noexcept;             // n <= size(); gives the block back at 0
  bool empty() const noexcept { return begin_ == end_; }
  size_t size() const noexcept { return end_ - begin_; }
  void clear() noexcept;

 private:
  void make_room(size_t before, size_t after);
  Worker& worker_;
  std::byte* block_ = nullptr;
  uint32_t capacity_ = 0, begin_ = 0, end_ = 0;
  uint32_t generation_ = 0;
};

}  // namespace net
