#include "net/slab.h"

#include <algorithm>
#include <cassert>
#include <cstring>
#include <utility>

#include "net/block_pool.h"
#include "net/checks.h"
#include "net/worker.h"

namespace net {

BlockPool::~BlockPool() {
  for (auto& list : free_) {
    for (std::byte* block : list) delete[] block;
  }
}

std::byte* BlockPool::take(uint32_t& capacity) {
  for (size_t i = 0; i < kSizes.size(); ++i) {
    if (capacity > kSizes[i]) continue;
    capacity = kSizes[i];
    bytes_ += capacity;
    if (free_[i].empty()) return new std::byte[capacity];
    std::byte* block = free_[i].back();
    free_[i].pop_back();
    return block;
  }
  bytes_ += capacity;
  return new std::byte[capacity];
}

void BlockPool::give(std::byte* block, uint32_t capacity) noexcept {
  constexpr size_t kKept = 1 << 20;
  bytes_ -= capacity;
  for (size_t i = 0; !kSanitized && i < kSizes.size(); ++i) {
    if (capacity != kSizes[i]) continue;
    if (free_[i].size() >= kKept / kSizes[i]) break;
    if (free_[i].capacity() == 0) free_[i].reserve(kKept / kSizes[i]);
    free_[i].push_back(block);
    return;
  }
  delete[] block;
}

void Slab::append(Slice bytes) {
  if (bytes.empty()) return;
  make_room(0, bytes.size());
  std::memcpy(block_ + end_, bytes.data(), bytes.size());
  end_ += static_cast<uint32_t>(bytes.size());
  ++generation_;
}

void Slab::prepend(Slice bytes) {
  if (bytes.empty()) return;
  make_room(bytes.size(), 0);
  begin_ -= static_cast<uint32_t>(bytes.size());
  std::memcpy(block_ + begin_, bytes.data(), bytes.size());
  ++generation_;
}

Borrowed Slab::borrow(size_t at_most) noexcept {
  return Borrowed(front().first(std::min(at_most, size())), generation_);
}

void Slab::consume(size_t n) noexcept {
  assert(n <= size());
  begin_ += static_cast<uint32_t>(n);
  ++generation_;
  if (empty()) clear();
}

void Slab::clear() noexcept {
  if (block_) worker_.give_block(std::exchange(block_, nullptr), capacity_);
  capacity_ = begin_ = end_ = 0;
  ++generation_;
}

// Room in the block there is, else by sliding, else a bigger block. Sliding only a block that is at most half full keeps many
// small appends linear.
void Slab::make_room(size_t before, size_t after) {
  const size_t held = size();
  if (block_ && begin_ >= before && capacity_ - end_ >= after) return;
  const size_t wanted = before + held + after;
  assert(wanted <= uint32_t(-1) / 2);
  if (wanted <= capacity_ && held <= capacity_ / 2) {
    std::memmove(block_ + before, block_ + begin_, held);
  } else {
    uint32_t capacity = static_cast<uint32_t>(std::max(wanted, size_t{capacity_} * 2));
    std::byte* block = worker_.take_block(capacity);
    if (held) std::memcpy(block + before, block_ + begin_, held);
    if (block_) worker_.give_block(block_, capacity_);
    block_ = block;
    capacity_ = capacity;
  }
  begin_ = static_cast<uint32_t>(before);
  end_ = static_cast<uint32_t>(before + held);
}

}  // namespace net
