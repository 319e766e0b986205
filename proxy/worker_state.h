#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "config/pipeline.h"
#include "log/log.h"
#include "net/worker.h"
#include "proxy/connection.h"
#include "proxy/options.h"
#include "proxy/random.h"
#include "stats/registry.h"
#include "telemetry/access_log.h"
#include "telemetry/istio_metrics.h"
#include "upstream/cluster.h"

namespace proxy {

// What all workers share besides the snapshot: the limits, and sinks that are opened when the configuration names them. The
// lock is taken at configuration changes only, never per request.
class Shared {
 public:
  explicit Shared(const Options& options) : options_(options) {}
  const Options& options() const noexcept { return options_; }
  std::shared_ptr<upstream::SharedLimits> limits_of(const std::string& cluster);
  // The sink of this path, opened at first use and kept: a stalled reader costs lines, nothing else.
  logs::Sink* access_log(const std::string& path);
  uint64_t access_log_dropped() const;
  void reopen_logs();                        // after rotation
  void finish_logs();                        // at the end: writes what waits, for about a second at most; later lines are lost
  net::ListenerTally& tally() noexcept { return tally_; }
  // Whether inbound connections come by TPROXY. Set before the listeners accept, and never afterwards.
  bool transparent() const noexcept { return transparent_.load(std::memory_order_relaxed); }
  void set_transparent() noexcept { transparent_.store(true, std::memory_order_relaxed); }

 private:
  // Relaxed: accepting begins with a post after the store, which orders both.
  std::atomic<bool> transparent_{false};
  const Options options_;
  mutable std::mutex lock_;
  std::unordered_map<std::string, std::weak_ptr<upstream::SharedLimits>> limits_;
  std::unordered_map<std::string, std::unique_ptr<logs::Sink>> sinks_;
  net::ListenerTally tally_;                 // of the listeners for traffic, all together
};

// The Envoy-named counters of one worker.
struct Counters {
  explicit Counters(stats::Shard& shard);
  stats::Cell &connections_total, &connections_active, &requests_total, &tcp_total, &detect_server_first, &black_hole, &refused_requests;
};

// Everything one worker owns: pools, the snapshot it works with, counters, its live connections.
class WorkerState {
 public:
  WorkerState(net::Worker& worker, Shared& shared, stats::Shard& shard, const upstream::ClusterSeams& seams = {});
  ~WorkerState();

  // A new configuration: clusters become those of the snapshot. Requests in flight keep the snapshot they began with.
  void apply(config::SnapshotHandle snapshot, const routing::Endpoints& endpoints);
  // The cluster with this number in `of`; null when it has gone since.
  upstream::Cluster* cluster(const routing::Snapshot& of, uint32_t number) noexcept;

  void begin_drain() noexcept;               // inbound and gateway connections announce their end with their next answer
  void close_idle() noexcept;                // of those, the ones between two requests and those that never spoke
  void cancel_all() noexcept;                // what is left at the end of the drain time
  bool draining() const noexcept { return draining_; }
  // Memory runs out: requests are refused and idle connections of every kind close, at each call again.
  void shed(bool on) noexcept;
  bool shedding() const noexcept { return shedding_; }
  // False when this worker serves too many already: the connection is to be closed. Counted and said.
  bool admits(const Connection& connection) noexcept;

  std::string_view date() noexcept;          // IMF-fixdate (RFC 9110 §5.6.7) of this second
  std::string_view uuid(std::span<char, 36> out) noexcept;
  uint64_t next_id() noexcept { return (static_cast<uint64_t>(worker.index()) << 48) | ++last_id_; }

  net::Worker& worker;
  Shared& shared;
  stats::Shard& shard;
  Counters counters;
  LimitCounters limits;
  uint32_t pending = 0;                      // requests that wait for an upstream connection; see PendingPlace
  Xoshiro random;
  upstream::Clusters clusters;
  config::SnapshotHandle snapshot;
  std::unique_ptr<telemetry::IstioMetrics> metrics;
  std::shared_ptr<const telemetry::AccessLogFormat> log_format;
  logs::Sink* log = nullptr;                 // null: the access log is off
  http::H1Options h1_options;                // of downstream connections, from the live configuration
  std::string log_line;                      // reused, so that a line costs no allocation
  base::IntrusiveList<Connection> connections;

 private:
  std::vector<upstream::Cluster*> by_number_;
  bool draining_ = false, shedding_ = false;
  uint64_t last_id_ = 0;
  int64_t date_second_ = -1;
  std::array<char, 32> date_{};
};

// A request's place among those that wait for an upstream connection; false when --max-pending-requests wait already.
class PendingPlace {
 public:
  PendingPlace(WorkerState& state, const base::SocketAddress& peer) noexcept;
  ~PendingPlace() { leave(); }
  PendingPlace(const PendingPlace&) = delete;
  explicit operator bool() const noexcept { return state_; }
  void leave() noexcept {
    if (state_) --state_->pending;
    state_ = nullptr;
  }

 private:
  WorkerState* state_ = nullptr;
};

inline WorkerState& state_of(net::Worker& worker) noexcept { return worker.context<WorkerState>(); }

}  // namespace proxy
