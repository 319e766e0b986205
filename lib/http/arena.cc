#include "http/arena.h"

#include <algorithm>

namespace http {

// 4 KiB hold an ordinary request and its answer; a second block is four times as large, so a head of 60 KiB costs three blocks.
constexpr uint32_t kFirstBlock = 4096;

std::byte* Arena::grow(size_t bytes, size_t alignment) {
  const size_t wanted = sizeof(Block) + bytes + alignment;
  uint32_t capacity =
      static_cast<uint32_t>(std::max<size_t>(wanted, block_ ? std::min<uint32_t>(block_->capacity, 16 * 1024) * 4 : kFirstBlock));
  std::byte* memory = worker_.take_block(capacity);
  block_ = new (memory) Block{.previous = block_, .capacity = capacity};
  next_ = memory + sizeof(Block);
  end_ = memory + capacity;
  return aligned(alignment);
}

void Arena::release() noexcept {
  while (block_) {
    Block* previous = block_->previous;
    worker_.give_block(reinterpret_cast<std::byte*>(block_), block_->capacity);
    block_ = previous;
  }
  next_ = end_ = nullptr;
}

}  // namespace http
