#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "base/cluster_settings.h"
#include "stats/registry.h"

namespace telemetry {

// The client's proxy reports as source, the server's as destination.
enum class Reporter : uint8_t { kSource, kDestination };

// Our own side of every series, from the pod; empty = unknown.
struct Self {
  base::WorkloadInfo workload;           // workload, name_space, app, version, canonical_name, canonical_revision, cluster_id
  std::string principal;                 // spiffe://…; printed only where the connection was mutual TLS
};

// What tells one series from another. Only looked at during the call.
struct TrafficLabels {
  Reporter reporter = Reporter::kSource;
  // Names the destination service (service_host, service_name, service_namespace); null: no cluster was chosen.
  const base::ClusterSettings* cluster = nullptr;
  // Prints as destination_service when the cluster knows no host: the authority outbound, empty inbound (Istio does not
  // trust the client's Host there).
  std::string_view fallback_host{};
  // Prints as destination_service_name when nothing else is known: BlackHoleCluster, PassthroughCluster …
  std::string_view fallback_name{};
  const base::WorkloadInfo* peer = nullptr;   // the other side: the endpoint (source), the client (destination); null: unknown
  std::string_view peer_principal{};
  bool mutual_tls = false;
};

struct RequestLabels : TrafficLabels {
  uint16_t status = 0;                   // response_code; 0 when none was sent
  std::string_view flags{};              // "UF,URX"; empty prints "-"
  bool grpc = false;                     // content-type: application/grpc
  int grpc_status = -1;                  // of trailers or head; negative: none
};

struct RequestNumbers {
  std::chrono::duration<double, std::milli> duration{0};
  uint64_t request_bytes = 0, response_bytes = 0;
};

// Istio's standard metrics (traffic.md §4.5) of one worker. The steady state costs a few comparisons and allocates nothing.
class IstioMetrics {
 public:
  IstioMetrics(stats::Shard& shard, Self self);   // `shard` outlives it and belongs to this worker
  ~IstioMetrics();

  // istio_requests_total and the three histograms.
  void record_request(const RequestLabels& labels, const RequestNumbers& numbers);
  // Clusters and workloads of another configuration may come to lie where those of an older one did: what was remembered by
  // address goes. To be called before labels may point into a new configuration.
  void configuration_changed() noexcept;

  // The four counters of a TCP connection; good as long as the registry, so a tunnel keeps them.
  struct Tcp {
    stats::Cell* opened;
    stats::Cell* closed;
    stats::Cell* sent;                   // bytes to downstream
    stats::Cell* received;               // bytes from downstream
  };
  Tcp tcp(const TrafficLabels& labels, std::string_view flags = {});

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// The workload that a pod belongs to, by its name: `reviews-v1-7d5b8c9f4d-x2k9q` is `reviews-v1`. Names of another form are
// their own workload (StatefulSets and plain pods keep their pod's name here).
std::string workload_of_pod_name(std::string_view pod);

}  // namespace telemetry
