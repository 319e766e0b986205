#pragma once

#include <array>
#include <bit>
#include <cstdint>

#include "routing/engine.h"

namespace proxy {

// xoshiro256** per worker, seeded from the kernel: for weights, load balancing and request ids, none of which is a secret.
class Xoshiro final : public routing::Random {
 public:
  explicit Xoshiro(std::array<uint64_t, 4> seed) noexcept : s_(seed) { s_[0] |= 1; }   // all zero would stay zero
  uint64_t next() noexcept {
    const uint64_t result = std::rotl(s_[1] * 5, 7) * 9, t = s_[1] << 17;
    s_[2] ^= s_[0];
    s_[3] ^= s_[1];
    s_[1] ^= s_[2];
    s_[0] ^= s_[3];
    s_[2] ^= t;
    s_[3] = std::rotl(s_[3], 45);
    return result;
  }
  // Multiply and shift: the bias for n below 2^32 is under 2^-32.
  uint32_t below(uint32_t n) override { return static_cast<uint32_t>(((next() >> 32) * n) >> 32); }

 private:
  std::array<uint64_t, 4> s_;
};

}  // namespace proxy
