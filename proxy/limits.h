#pragma once

#include <array>
#include <chrono>
#include <cstdint>

#include "base/detail.h"
#include "base/ip.h"
#include "http/h1.h"
#include "stats/registry.h"

namespace proxy {

// What strangers may cost. Defaults are Istio's: no cap on connections or on what waits, 60 KiB and 100 fields of head in 15 s.
struct Limits {
  uint32_t listener_connections = ~0u;               // --max-connections: accepting pauses there
  uint32_t worker_connections = ~0u;                 // --max-worker-connections: what is accepted beyond it is closed
  uint32_t pending_requests = ~0u;                   // --max-pending-requests: of one worker, over all clusters
  std::chrono::milliseconds stream_idle{0};          // --stream-idle-timeout; 0: off
  http::Limits http;
};

// The limits somebody ran into, on one worker: each has a counter and a line in the log at most once a second.
class LimitCounters {
 public:
  enum class Which : uint8_t {
    kHeaderBytes, kHeaderFields, kHeaderTime, kBodyTime, kStreamIdle, kWorkerConnections, kPendingRequests, kMemory, kDescriptors, kCount
  };
  explicit LimitCounters(stats::Shard& shard);
  // `peer` is who ran into it.
  void hit(Which which, const base::SocketAddress& peer) noexcept;
  // By the reason of an answer; reasons that are no limit of this list are passed over.
  void hit(base::Detail why, const base::SocketAddress& peer) noexcept;
  // No connection to upstream came about; a limit of ours when descriptors have run out.
  void not_dialled(const Error& why, const base::SocketAddress& peer) noexcept;

 private:
  std::array<stats::Cell*, static_cast<size_t>(Which::kCount)> cells_;
};

}  // namespace proxy
