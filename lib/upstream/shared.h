#pragma once

#include <atomic>
#include <cstdint>

namespace upstream {

// The only mutable things that workers share: lock-free, one per cluster and one per endpoint of the proxy. Every field is a
// counter that stands for itself, so relaxed order is enough; a limit may be overshot for a moment, never for long: take
// first, compare, give back when over.
struct SharedLimits {
  std::atomic<uint32_t> connections{0}, pending{0}, requests{0}, retries{0}, ejected{0};
};
struct Health {
  std::atomic<uint32_t> consecutive_5xx{0}, consecutive_gateway{0}, ejections{0};
  std::atomic<int64_t> ejected_until_ms{0};
};

}  // namespace upstream
