#pragma once

#include <coroutine>
#include <cstdint>
#include <memory>
#include <memory_resource>
#include <optional>
#include <string_view>
#include <unordered_map>

#include "base/cluster_settings.h"
#include "base/intrusive_list.h"
#include "base/result.h"
#include "http/h1.h"
#include "net/cancel.h"
#include "net/ready.h"
#include "net/stream.h"
#include "net/task.h"
#include "net/worker.h"
#include "upstream/cluster.h"
#include "upstream/dialer.h"
#include "upstream/load_balancer.h"
#include "upstream/shared.h"

// What a Cluster is made of; only this room includes it.
namespace upstream {

struct Host;

// One upstream HTTP/1 connection. Idle: on its host's list, watched. Leased: owned by the Lease, which keeps the pool alive.
// Cancelling it means that it died or waited too long while idle.
class Connection final : public net::Cancellable, public base::ListLink, private net::Op {
 public:
  Connection(Pool& pool, Host& its_host, std::unique_ptr<net::Stream> stream, uint64_t its_generation);
  void watch_idle(std::chrono::milliseconds at_most);  // 0: for ever
  void unwatch() noexcept;
  void delete_soon();                                  // in a turn of its own

  net::Worker& worker;
  Pool& pool;
  Host& host;                                          // not to be touched once the slot is given back
  http::H1Client client;
  http::UpstreamExchange* exchange = nullptr;          // while leased
  std::shared_ptr<Pool> keeps_pool;                    // while leased
  const uint64_t generation;                           // of the settings it was made by
  const std::chrono::steady_clock::time_point opened;
  uint64_t served = 0;                                 // exchanges begun
  uint64_t idle_since = 0;                             // Worker::turns()
  bool counted_request = false;                        // in SharedLimits::requests

 private:
  void on_cancel() noexcept override;
  net::Deadline too_long_;
  std::optional<net::CloseWatch> watch_;
  bool dropped_ = false;
};

// An acquire() that waits until a connection of its endpoint is free, or until it may open one. Lives in its frame.
class Turn final : public net::Cancellable, public base::ListLink, private net::Op {
 public:
  Turn(net::Worker& worker, bool fresh) noexcept : fresh(fresh), worker_(worker) {}
  bool await_ready() const noexcept { return false; }
  void await_suspend(std::coroutine_handle<> h) noexcept { waiter_ = h; }
  void await_resume() const noexcept {}

  void give(Connection& free) noexcept;
  void give_slot() noexcept;
  void choose_again() noexcept;                        // the endpoint is gone

  const bool fresh;                                    // wants no used connection
  Connection* connection = nullptr;                    // what it got …
  bool slot = false;                                   // … or the right to open one; neither: choose again, or cancelled

 private:
  void on_cancel() noexcept override { wake(); }
  void wake() noexcept;
  net::Worker& worker_;
  std::coroutine_handle<> waiter_;
};

// One endpoint with its connections. Lives while it is listed or anything of it is in use. What is connected from an address
// that somebody chose is a host of its own, so that no request travels under another client's name.
struct HostKey {
  base::SocketAddress to;
  std::optional<base::Ip> source;
  friend bool operator==(const HostKey&, const HostKey&) = default;
};
struct HostKeyHash {
  size_t operator()(const HostKey& key) const noexcept {
    return std::hash<base::SocketAddress>{}(key.to) * 31 + (key.source ? std::hash<base::Ip>{}(*key.source) : 0);
  }
};
struct Host final : Target {
  std::optional<base::Ip> source;
  base::IntrusiveList<Connection> idle;                // front: used last, taken first
  base::IntrusiveList<Turn> waiting;                   // front: waits longest
  bool listed = false;                                 // in the cluster's endpoint set
  bool on_demand = false;                              // made for an original destination
  uint32_t connections = 0;                            // HTTP: open or being opened, idle ones included
  uint32_t idle_connections = 0, tunnels = 0, leased = 0;
  uint64_t connections_total = 0, connect_failures = 0, requests_total = 0;
};

// Tells `owner` what to cancel while a frame waits for `target`.
class Waiting {
 public:
  Waiting(AcquireCancel& owner, net::Cancellable& target) noexcept : owner_(owner) { owner_.waiting_ = &target; }
  Waiting(const Waiting&) = delete;
  ~Waiting() { owner_.waiting_ = nullptr; }

 private:
  AcquireCancel& owner_;
};

// Endpoints, load balancer and connections of one cluster on one worker. Invariants: nobody waits at a host that has an idle
// connection he may use; whoever waits there has at least one connection before him, so his turn comes.
class Pool final : public std::enable_shared_from_this<Pool> {
 public:
  Pool(net::Worker& worker, std::shared_ptr<const base::ClusterSettings> settings, std::shared_ptr<SharedLimits> limits,
       const ClusterSeams& seams);
  ~Pool();
  Pool(const Pool&) = delete;

  std::optional<Lease> acquire_idle(PickContext& pick, std::pmr::memory_resource* arena);
  static net::Task<Result<Lease>> acquire(std::shared_ptr<Pool> self, const PickContext& pick, AcquireCancel& owner,
                                          std::pmr::memory_resource* arena, bool fresh);
  static net::Task<Result<TcpLease>> connect_tcp(std::shared_ptr<Pool> self, const PickContext& pick, AcquireCancel& owner);
  static void end(Connection& leased) noexcept;        // the lease's end
  void end_tunnel(Host& host) noexcept;
  void idle_ended(Connection& idle) noexcept;          // it died or waited too long
  std::shared_ptr<SharedLimits> take_retry();          // null: max_retries run already

  void update_settings(std::shared_ptr<const base::ClusterSettings> settings);
  void update_endpoints(std::shared_ptr<const base::EndpointSet> endpoints);
  void retire() noexcept;
  Cluster::View view() const;

  const base::ClusterSettings& settings() const noexcept { return *settings_; }
  SharedLimits& limits() const noexcept { return *limits_; }
  const std::shared_ptr<const base::EndpointSet>& endpoints() const noexcept { return endpoints_; }
  net::Worker& worker() const noexcept { return worker_; }

 private:
  class Claim;
  bool goes_where_asked() const noexcept;
  Host* choose(const PickContext& pick);               // the balancer's choice; null also where there is none to make
  std::optional<HostKey> key_of(const PickContext& pick, const Host* chosen) const noexcept;
  Host* find(const PickContext& pick, Host* chosen) noexcept;
  Host* find_or_make(const PickContext& pick, Host* chosen);
  Host& host_for(const HostKey& key);
  net::Task<Result<Connection*>> obtain(Host& host, AcquireCancel& owner, bool fresh);
  net::Task<Result<std::unique_ptr<net::Stream>>> dial(Host& host, AcquireCancel& owner);
  Lease lease(Connection& connection, std::pmr::memory_resource* arena);

  Error overflow(std::string_view limit);              // counts it and says so at most once a second
  bool take_slot(Host& host, bool fresh) noexcept;
  void give_slot(Host& host) noexcept;
  bool take_request(Connection& connection) noexcept;
  bool requests_full() const noexcept;
  bool keeps(const Connection& connection) const noexcept;
  std::chrono::milliseconds idle_time(const Connection& connection) const noexcept;
  void put_back(Connection& connection, bool usable) noexcept;
  Connection* take_idle(Host& host) noexcept;          // null also when what was there was of no use
  void drop(Connection& connection) noexcept;          // its slot is free at once, itself in a turn of its own
  void drop_idle(Host& host) noexcept;
  void serve(Host& host) noexcept;                     // hands what is free to those who wait
  void serve_all() noexcept;
  bool unused(const Host& host) const noexcept;
  void forget_if_unused(Host& host) noexcept;

  net::Worker& worker_;
  std::shared_ptr<const base::ClusterSettings> settings_;
  std::shared_ptr<SharedLimits> limits_;
  std::shared_ptr<const base::EndpointSet> endpoints_;
  Dialer& dialer_;
  FastRandom chance_;
  LoadBalancer balancer_;
  std::unordered_map<HostKey, std::unique_ptr<Host>, HostKeyHash> hosts_;
  base::IntrusiveList<Connection> dropped_;            // wait for their last turn
  uint64_t generation_ = 0;                            // connections of an older one are not used again
  bool retired_ = false;
  uint32_t pending_ = 0;
  uint64_t pending_overflow_ = 0, retry_overflow_ = 0, connections_total_ = 0, connect_failures_ = 0, requests_total_ = 0;
};

struct TcpLease::State {
  std::shared_ptr<Pool> pool;
  Host& host;
  std::unique_ptr<net::Stream> stream;
  ~State() {
    stream.reset();
    pool->end_tunnel(host);
  }
};

}  // namespace upstream
