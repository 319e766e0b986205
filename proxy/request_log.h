#pragma once

#include <optional>

#include "proxy/request.h"
#include "telemetry/istio_metrics.h"

namespace proxy {

// The end of a request: metrics, and its one access-log line.
void finish_request(Request& request);

// What one TCP connection reports: opened, closed, bytes, and its one access-log line when it goes out of scope.
class TcpRecord {
 public:
  TcpRecord(WorkerState& state, Connection& connection) noexcept;
  ~TcpRecord();
  TcpRecord(const TcpRecord&) = delete;
  void fail(base::Detail why) noexcept { detail_ = why; }
  void opened(upstream::TcpLease& lease);

  std::shared_ptr<const base::ClusterSettings> settings;      // null: no cluster
  std::optional<base::SocketAddress> upstream_host, upstream_local;
  uint64_t received = 0, sent = 0;                            // from and to downstream

 private:
  telemetry::TrafficLabels labels() const noexcept;
  WorkerState& state_;
  Connection& connection_;
  base::Detail detail_ = base::Detail::kNone;
  std::shared_ptr<const base::WorkloadInfo> workload_;
  std::optional<telemetry::IstioMetrics::Tcp> cells_;
};

}  // namespace proxy
