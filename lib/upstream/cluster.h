#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <memory_resource>
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

class Connection;                                      // pool.h
struct Host;
class Dialer;                                          // dialer.h
class Pool;
struct Random;                                         // load_balancer.h

struct PickContext {
  uint64_t hash = 0;                                   // consistent hashing, later
  std::span<const base::SocketAddress> already_tried{}; // endpoints to avoid while others are left
  std::optional<base::SocketAddress> original_dst{};   // for clusters with original_dst
  // TPROXY: connect from this address (net::ConnectTo::source); its connections serve no other source.
  std::optional<base::Ip> source{};
  // Out, may be null: the endpoint that was chosen, also when connecting to it failed (log line, and the next try avoids it).
  std::optional<base::SocketAddress>* picked = nullptr;
  // The listed endpoint that acquire_idle() chose and could not serve; acquire() in the same turn begins with it.
  Host* chosen = nullptr;
};

// The owner of an acquire() or connect_tcp() in flight. Cancelling it ends the wait with its reason, in a turn of its own; a
// CloseWatch or a Deadline may target it. Lives in the caller's frame, beyond the await, for one wait after the other; once
// cancelled every later acquire() with it fails at once.
class AcquireCancel final : public net::Cancellable {
 public:
  AcquireCancel() = default;

 private:
  friend class Waiting;
  void on_cancel() noexcept override {
    if (waiting_) waiting_->cancel(why());
  }
  net::Cancellable* waiting_ = nullptr;                // what the pool waits for just now
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
  friend class Pool;
  explicit Lease(Connection& connection) noexcept : connection_(&connection) {}
  Connection* connection_;                             // ours until we end; the pool recycles it, so a lease allocates nothing
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
  friend class Pool;
  struct State;
  explicit TcpLease(std::unique_ptr<State> state) noexcept;
  std::unique_ptr<State> state_;
};

// What tests put in the place of sockets and chance; both outlive every lease.
struct ClusterSeams {
  Dialer* dialer = nullptr;
  Random* random = nullptr;
};

// One cluster on one worker: endpoints, load balancer, connection pool. Survives configuration changes with its pool as long
// as a cluster of that name exists. Pools are LIFO per endpoint, so few connections stay hot.
class Cluster {
 public:
  // `limits` is the proxy-wide one of this name; settings, limits and worker outlive the cluster or are shared.
  Cluster(net::Worker& worker, std::shared_ptr<const base::ClusterSettings> settings, std::shared_ptr<SharedLimits> limits,
          const ClusterSeams& seams = {});
  ~Cluster();                                          // retires: leases and waiting acquires go on without it

  const base::ClusterSettings& settings() const noexcept;
  SharedLimits& limits() const noexcept;               // requests, connections and pending are counted here; retries by RetryPlace
  void update_settings(std::shared_ptr<const base::ClusterSettings> settings);
  // Idle connections to endpoints that are gone close at once, busy ones when their exchange ends.
  void update_endpoints(std::shared_ptr<const base::EndpointSet> endpoints);
  const std::shared_ptr<const base::EndpointSet>& endpoints() const noexcept;

  // A pool hit, without waiting and without a frame: by far the most frequent case. Empty: nothing was taken, acquire() tells why.
  std::optional<Lease> acquire_idle(PickContext& pick, std::pmr::memory_resource* arena);
  // An exchange on a pooled or new connection; a pool hit does not suspend. Ends early when `owner` is cancelled. `arena`
  // holds the answer's head and outlives the lease. The cluster object may die while it waits.
  // Errors: kNoHealthyUpstream (UH), kConnect and kTimeout (UF, retry kAlways), kOverflow (UO), owner's reason.
  // kOverflow says that max_pending acquires wait for a connection already, or that max_requests are active; Istio:
  // DestinationRule.trafficPolicy.connectionPool, per proxy. At max_connections it waits for a connection of the chosen
  // endpoint; a worker without any connection to it may always open one (as Envoy), so nobody waits for ever.
  // `fresh`: do not use an idle connection (the safe replay after one died).
  net::Task<Result<Lease>> acquire(const PickContext& pick, AcquireCancel& owner, std::pmr::memory_resource* arena, bool fresh = false);
  // A connection for a tunnel. Never waits for another one: at max_connections kOverflow. Other errors as above.
  net::Task<Result<TcpLease>> connect_tcp(const PickContext& pick, AcquireCancel& owner);

  // Removed from the configuration: idle connections close, leases in use end normally.
  void retire() noexcept;

  struct EndpointView {
    base::Endpoint endpoint;
    uint32_t connections_active = 0, connections_idle = 0, requests_active = 0;
    uint64_t connections_total = 0, connect_failures = 0, requests_total = 0;
  };
  struct View {
    std::string name;
    std::shared_ptr<const base::ClusterSettings> settings;
    std::vector<EndpointView> endpoints;
    uint64_t connections_total = 0, connect_failures = 0, requests_total = 0, pending_overflow = 0, retry_overflow = 0;
    uint32_t connections_active = 0, requests_active = 0, pending = 0;
  };
  View view() const;                                   // for /clusters; this worker's share

 private:
  friend class RetryPlace;
  std::shared_ptr<Pool> pool_;                         // leases in flight keep it
};

// A place among the retries that run at the same time (Istio: connectionPool.http.maxRetries), from the decision to try again
// until that try has its answer or has failed. False when max_retries run already; that is counted. May outlive the cluster.
class RetryPlace {
 public:
  explicit RetryPlace(Cluster& cluster);
  RetryPlace(const RetryPlace&) = delete;
  ~RetryPlace();
  explicit operator bool() const noexcept { return limits_ != nullptr; }

 private:
  std::shared_ptr<SharedLimits> limits_;
};

// All clusters of one worker, by name.
class Clusters {
 public:
  // Gives the one SharedLimits of a cluster name; called on the worker, must be thread-safe.
  using LimitsOf = std::function<std::shared_ptr<SharedLimits>(const std::string&)>;
  Clusters(net::Worker& worker, LimitsOf limits_of, const ClusterSeams& seams = {});
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
