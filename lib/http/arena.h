#pragma once

#include <cstddef>
#include <memory_resource>

#include "net/worker.h"

namespace http {

// Memory of one request: blocks from the worker's pool, handed out in a row and given back all at once. Empty it owns nothing,
// so an idle connection keeps the object and no block.
class Arena final : public std::pmr::memory_resource {
 public:
  explicit Arena(net::Worker& worker) noexcept : worker_(worker) {}
  Arena(const Arena&) = delete;
  ~Arena() override { release(); }
  void release() noexcept;  // everything allocated here is gone
  // Allocation without the virtual call.
  void* take(size_t bytes, size_t alignment) {
    std::byte* at = aligned(alignment);
    if (at == nullptr || static_cast<size_t>(end_ - at) < bytes) at = grow(bytes, alignment);
    next_ = at + bytes;
    return at;
  }

 private:
  struct Block {
    Block* previous;
    uint32_t capacity;
  };
  std::byte* aligned(size_t alignment) const noexcept { return next_ + (-reinterpret_cast<uintptr_t>(next_) & (alignment - 1)); }
  std::byte* grow(size_t bytes, size_t alignment);
  void* do_allocate(size_t bytes, size_t alignment) override { return take(bytes, alignment); }
  void do_deallocate(void*, size_t, size_t) override {}
  bool do_is_equal(const std::pmr::memory_resource& other) const noexcept override { return this == &other; }
  net::Worker& worker_;
  Block* block_ = nullptr;
  std::byte* next_ = nullptr;
  std::byte* end_ = nullptr;
};

}  // namespace http
