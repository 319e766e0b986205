#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/cluster_settings.h"
#include "base/result.h"
#include "http/exchange.h"
#include "net/cancel.h"
#include "net/stream.h"
#include "net/task.h"
#include "net/worker.h"
#include "stats/registry.h"
#include "upstream/shared.h"

namespace upstream {

struct PickContext {
  uint64_t hash = 0;                                   // consistent hashing, later
  std::span<const base::SocketAddress> already_tried{}; // endpoints to avoid while others are left
  std::optional<base::SocketAddress> original_dst{};   // for clusters with original_dst
  // Out, may be null: the endpoint that was chosen, also when connecting to it failed (log line, and the next try avoids it).
  std::optional<base::SocketAddress>* picked = nullptr;
};

// A borrowed exchange on a pooled connection. Its end decides whether the connection goes back to the pool (the exchange was
// complete) or is closed. Never outlives its worker.
class Lease {
 public:
  Lease(Lease&&) noexcept;
  Lease& operator=(Lease&&) = delete;
  ~Lease();
  http::UpstreamExchange& exchange() noexcept;
  const base::Endpoint& endpoint() const noexcept;
  base::SocketAddress local() const noexcept;          // our end: %UPSTREAM_LOCAL_ADDRESS%
  bool reused() const noexcept;                        // the connection has served before: it may have died while idle

 private:
  friend class Cluster;
  struct State;
  explicit Lease(std::unique_ptr<State> state) noexcept;
  std::unique_ptr<State> state_;
};

// A connection of its own for a TCP tunnel; counted in the cluster's connections until it is destroyed.
class TcpLease {
 public:
  TcpLease(TcpLease&&) noexcept;
  TcpLease& operator=(TcpLease&&) = delete;
  ~TcpLease();
  net::Stream& stream() noexcept;
  const base::Endpoint& endpoint() const noexcept;

 private:
  friend class Cluster;
  struct State;
  explicit TcpLease(std::unique_ptr<State> state) noexcept;
  std::unique_ptr<State> state_;
};

// One cluster on one worker: endpoints, load balancer, connection pool. Survives configuration changes with its pool as long
// as a cluster of that name exists. Pools are LIFO per endpoint, so few connections stay hot.
class Cluster {
 public:
  // `limits` is the proxy-wide one of this name; settings, limits and worker outlive the cluster or are shared.
  Cluster(net::Worker& worker, std::shared_ptr<const base::ClusterSettings> settings, std::shared_ptr<SharedLimits> limits);
  ~Cluster();

  const base::ClusterSettings& settings() const noexcept;
  void update_settings(std::shared_ptr<const base::ClusterSettings> settings);
  // Idle connections to endpoints that are gone close at once, busy ones when their exchange ends.
  void update_endpoints(std::shared_ptr<const base::EndpointSet> endpoints);
  const std::shared_ptr<const base::EndpointSet>& endpoints() const noexcept;

  // An exchange on a pooled or new connection; a pool hit does not suspend. Ends early when `owner` is cancelled. `arena`
  // holds the answer's head and outlives the lease.
  // Errors: kNoHealthyUpstream (UH), kConnect and kTimeout (UF, retry kAlways), kOverflow (UO), owner's reason.
  // `fresh`: do not use an idle connection (the safe replay after one died).
  net::Task<Result<Lease>> acquire(const PickContext& pick, net::Cancellable& owner, std::pmr::memory_resource* arena, bool fresh = false);
  net::Task<Result<TcpLease>> connect_tcp(const PickContext& pick, net::Cancellable& owner);

  // Removed from the configuration: idle connections close, leases in use end normally.
  void retire() noexcept;

  struct EndpointView {
    base::Endpoint endpoint;
    uint32_t connections_active = 0, connections_idle = 0, requests_active = 0;
    uint64_t connections_total = 0, connect_failures = 0, requests_total = 0;
  };
  struct View {
    std::string name;
    std::vector<EndpointView> endpoints;
    uint64_t connections_total = 0, connect_failures = 0, requests_total = 0, pending_overflow = 0;
    uint32_t connections_active = 0, requests_active = 0, pending = 0;
  };
  View view() const;                                   // for /clusters; this worker's share

 private:
  class Impl;
  std::shared_ptr<Impl> impl_;                         // leases in flight keep it
};

// All clusters of one worker, by name.
class Clusters {
 public:
  // Gives the one SharedLimits of a cluster name; called on the worker, must be thread-safe.
  using LimitsOf = std::function<std::shared_ptr<SharedLimits>(const std::string&)>;
  Clusters(net::Worker& worker, LimitsOf limits_of);
  ~Clusters();
  // Makes the set of clusters exactly this: keeps those of the same name, retires the others.
  void apply(std::span<const std::shared_ptr<const base::ClusterSettings>> settings);
  void update_endpoints(const std::string& cluster, std::shared_ptr<const base::EndpointSet> endpoints);
  Cluster* find(std::string_view name) noexcept;       // null when there is none
  std::vector<Cluster::View> view() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace upstream
