#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "api/mesh.h"
#include "base/cluster_settings.h"
#include "base/fields.h"
#include "base/ip.h"
#include "doc/problem.h"

// The routing engine. Pure: no socket, clock, thread or global; randomness comes in. The proxy, `sluice explain` and
// `sluice lint` use this and nothing else, so what is explained is what happens.
namespace routing {

// For whom we compile. Whatever is static for this proxy (namespace, labels, gateways, ports) is decided at compile time,
// never per request (traffic.md §8.1).
struct Proxy {
  enum class Role : uint8_t { kSidecar, kGateway } role = Role::kSidecar;
  std::string name, name_space, service_account, domain = "cluster.local";
  api::Labels labels;
  std::vector<base::Ip> addresses;
  // Ports that are ours and never an upstream's: the capture ports (loop guard) and admin, status, metrics.
  uint16_t outbound_port = 15001, inbound_port = 15006;
  std::optional<std::chrono::seconds> termination_grace{};   // of the Pod, when there is one
};

// One rule of a VirtualService as it applies here, or a generated one; lives in the snapshot.
struct RoutePlan {
  std::string name;                    // %ROUTE_NAME%: http[].name, "default", "allow_any", "block_all"; empty prints "-"
  std::string virtual_service;         // namespace/name; empty when generated
  int rule = -1;                       // index in spec.http
  doc::Mark at;
  // Cluster number and weight; one entry: always taken. kMissing: the host or subset does not exist, 503 NC.
  static constexpr uint32_t kMissing = ~0u;
  struct Target {
    uint32_t cluster = kMissing;
    uint32_t weight = 1;
    std::string cluster_name;          // what it would be called, for logs and explain, when missing too
  };
  std::vector<Target> split;
  uint32_t total_weight = 0;
  std::chrono::milliseconds timeout{0}, per_try{0};   // 0: none
  uint32_t retries = 2;                // Istio's default policy: connect failures only, here (traffic.md §0-1)
};

struct Listener {
  enum class Kind : uint8_t {
    kHttp,           // a declared HTTP port: no guessing
    kTcp,            // opaque bytes to `tcp_cluster`
    kAuto,           // first bytes decide between routes and `tcp_cluster`
    kPassthrough,    // opaque bytes to where the client dialled
    kBlackHole,      // closed at once
  };
  Kind kind = Kind::kBlackHole;
  std::string name;                    // 0.0.0.0_9080, 10.96.1.20_8081, virtualOutbound, virtualInbound
  uint16_t port = 0;
  // kTcp and kAuto: where opaque bytes go. kHttp outbound: bytes that are no HTTP go here too when ALLOW_ANY (§3.3).
  uint32_t tcp_cluster = RoutePlan::kMissing;
  bool inbound = false;
  uint32_t routes = ~0u;               // which route table, for Snapshot
};

enum class Direction : uint8_t { kOutbound, kInbound, kGateway };

struct RequestView {                   // only what changes from request to request
  std::string_view method, scheme, authority, path;   // path with query
  const base::Fields* fields = nullptr;
  std::string_view sni;
};

struct Random {
  virtual ~Random() = default;
  virtual uint32_t below(uint32_t n) = 0;   // uniform in [0, n); n > 0
};

// What route() looked at, in order. Recorded only when somebody asks.
struct Trace {
  struct Step {
    std::string what;                  // "virtual host reviews.default.svc.cluster.local:9080", "rule default/reviews http[0]"
    bool matched = false;
    std::string why;                   // the first condition that failed: "uri prefix /v2: path is /x"
    doc::Mark at;
  };
  std::vector<Step> steps;
};

struct Decision {
  enum class Kind : uint8_t { kRoute, kDirect, kNotFound } kind = Kind::kNotFound;
  uint32_t cluster = RoutePlan::kMissing;      // kRoute
  std::string_view cluster_name;               // of the cluster, existing or not
  uint16_t status = 0;                         // kDirect: answered here (block_all: 502)
  // A tunnel copies it, a request borrows it from the snapshot that it holds.
  const std::shared_ptr<const RoutePlan>* plan = nullptr;
};

// A port to listen on, at a gateway.
struct GatewayPort {
  uint16_t port = 0;                   // of the listener: the Service's targetPort where the gateway's Service maps it
  uint16_t server_port = 0;            // as the Gateway says
  std::string bind;
};

using Endpoints = std::vector<std::pair<std::string /*cluster*/, std::shared_ptr<const base::EndpointSet>>>;

class Snapshot {
 public:
  struct Tables;
  explicit Snapshot(std::unique_ptr<const Tables> tables);
  ~Snapshot();
  // Outbound and inbound: by original destination. Gateway: address.port is the listener's port. Never null for outbound and
  // inbound; null at a gateway when nobody listens there.
  const Listener* listener_for(Direction direction, const base::OriginalDst& dst) const;
  // lint, explain and the pump: all by this one function. `inbound` listeners have exactly one route.
  Decision route(const Listener& listener, const RequestView& request, Random& random, Trace* trace = nullptr) const;

  std::span<const std::shared_ptr<const base::ClusterSettings>> clusters() const;
  std::span<const Listener> listeners() const;         // for /listeners and /config_dump
  std::span<const GatewayPort> gateway_ports() const;
  const api::MeshConfig& mesh_config() const;          // with the pod's own proxy.istio.io/config merged into `defaults`
  const Proxy& self() const;
  uint64_t version = 0;                // set by whoever publishes
  std::string digest;
  // Routes as JSON (Envoy's names: virtual_hosts, domains, routes with match and weighted clusters) for /config_dump.
  std::string routes_json() const;

 private:
  friend Endpoints endpoints_of(const api::Mesh& mesh, const Proxy& self, const Snapshot& snapshot);
  std::unique_ptr<const Tables> tables_;
};

struct Compiled {
  std::shared_ptr<Snapshot> snapshot;
  Endpoints endpoints;                 // live state beside the snapshot: one entry per cluster, in its order
  doc::Problems problems;              // what only this proxy can know (ports below 1024 …); validate finds the rest
};

// Builds everything for one proxy. Never fails: what does not fit is left out and named in `problems`. Clusters and their
// numbers belong to this snapshot alone; names identify them across snapshots.
Compiled compile(const api::Mesh& mesh, const Proxy& self);
// Only the endpoints, when nothing else changed: the fast path. Same order as compile's.
Endpoints endpoints_of(const api::Mesh& mesh, const Proxy& self, const Snapshot& snapshot);

// Who a pod, or this proxy's own, is for metrics and logs: workload, app, version and canonical names as Istio derives them.
base::WorkloadInfo workload_of(const api::Pod& pod);
base::WorkloadInfo workload_of(const Proxy& self);

// The proxy for a pod of the mesh: labels, service account, addresses; role gateway or sidecar is the caller's knowledge.
Proxy proxy_of(const api::Pod& pod, Proxy::Role role, const api::MeshConfig& config);

}  // namespace routing
