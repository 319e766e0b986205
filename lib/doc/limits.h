#pragma once

#include <cstddef>

namespace doc {

// DESIGN §9. Deeper or larger than any object Kubernetes stores (1.5 MiB), small enough that a hostile file costs little.
constexpr size_t kMaxFileBytes = 16 << 20;
constexpr size_t kMaxNodes = 1'000'000;
constexpr size_t kMaxDepth = 64;

}  // namespace doc
