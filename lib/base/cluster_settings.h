#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/ip.h"

namespace base {

enum class LoadBalancer : uint8_t { kLeastRequest, kRoundRobin, kRandom, kPassthrough };
enum class UpstreamProtocol : uint8_t { kHttp1, kHttp2, kTcp };   // what this cluster's connections speak

// Who is behind an address, as far as metrics and logs want to know (Istio's destination_* labels). Empty = unknown.
struct WorkloadInfo {
  std::string workload, name_space, app, version, service_account, canonical_name, canonical_revision, cluster_id;
};

struct Endpoint {
  SocketAddress address;
  uint32_t weight = 1;
  bool healthy = true;                           // false: never chosen (Kubernetes says not ready)
  std::shared_ptr<const WorkloadInfo> workload;  // may be null: nothing known
  friend bool operator==(const Endpoint& a, const Endpoint& b) {
    return a.address == b.address && a.weight == b.weight && a.healthy == b.healthy;
  }
};

// The endpoints of one cluster at one moment; immutable, shared by all workers. Order is stable between versions.
struct EndpointSet {
  std::vector<Endpoint> list;
};

// Everything static about one cluster: written by routing, read by upstream. Equal settings mean the pool may stay as it is.
struct ClusterSettings {
  std::string name;                              // outbound|9080|v1|reviews.default.svc.cluster.local
  LoadBalancer load_balancer = LoadBalancer::kLeastRequest;
  UpstreamProtocol protocol = UpstreamProtocol::kHttp1;
  bool original_dst = false;                     // dial the address the client dialled; endpoints are ignored
  bool from_inbound_address = false;             // bind 127.0.0.6 / ::6, so that our own rules let the connection pass (init.md §2)
  bool preserve_header_case = false;             // names go out as they came in (Istio: proxyHeaders.preserveHttp1HeaderCase)
  std::chrono::milliseconds connect_timeout{10'000};
  std::chrono::milliseconds idle_timeout{3'600'000};       // of a pooled connection; 0: for ever
  std::chrono::milliseconds tcp_idle_timeout{3'600'000};   // of a tunnel, without a byte in either direction; 0: for ever
  std::chrono::milliseconds max_connection_duration{0};    // 0: as long as it likes
  uint32_t max_connections = ~0u, max_pending = ~0u, max_requests = ~0u, max_retries = ~0u;
  uint32_t max_requests_per_connection = 0;      // 0 = unlimited
  // Labels of the destination service for metrics; empty = unknown.
  std::string service_host, service_name, service_namespace;
  friend bool operator==(const ClusterSettings&, const ClusterSettings&) = default;
};

}  // namespace base
