#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace net {

// Blocks of 4, 16, 64 and 128 KiB for the slabs of one worker. What is given back is kept up to 1 MiB per size; under
// sanitizers nothing is kept, so that a block used too late is a report.
class BlockPool {
 public:
  BlockPool() = default;
  BlockPool(const BlockPool&) = delete;
  ~BlockPool();
  std::byte* take(uint32_t& capacity);               // in: wanted; out: what it is (exact above 128 KiB)
  void give(std::byte* block, uint32_t capacity) noexcept;
  size_t bytes() const noexcept { return bytes_; }   // lent

 private:
  static constexpr std::array<uint32_t, 4> kSizes{4u << 10, 16u << 10, 64u << 10, 128u << 10};
  std::array<std::vector<std::byte*>, kSizes.size()> free_;
  size_t bytes_ = 0;
};

}  // namespace net
