#include "upstream/pool.h"

#include <algorithm>
#include <utility>

#include "log/log.h"

namespace upstream {
namespace {

using base::Code;
using base::Detail;
using base::Origin;
using base::Retry;

constexpr Error kNoHost{.code = Code::kNoHealthyUpstream, .origin = Origin::kUpstream, .detail = Detail::kNoHealthyUpstream};
constexpr Error kFull{.code = Code::kOverflow, .origin = Origin::kLocal, .detail = Detail::kUpstreamOverflow};
constexpr Error kIdleEnded{.code = Code::kEof, .origin = Origin::kUpstream, .retry = Retry::kIfReused, .detail = Detail::kUpstreamTermination};

// Endpoints that nobody lists exist only through their connections; those of a client's one-time destination must not stay
// for the hour that a Service's may.
constexpr std::chrono::milliseconds kOnDemandIdle{60'000};

// A place in a counter that all workers share, for as long as it lives: take first, then compare, give back when over.
class Taken {
 public:
  Taken(std::atomic<uint32_t>& counter, uint32_t limit) noexcept : counter_(counter) {
    ok_ = counter_.fetch_add(1, std::memory_order_relaxed) < limit;
    if (!ok_) counter_.fetch_sub(1, std::memory_order_relaxed);
  }
  Taken(const Taken&) = delete;
  ~Taken() {
    if (ok_) counter_.fetch_sub(1, std::memory_order_relaxed);
  }
  explicit operator bool() const noexcept { return ok_; }

 private:
  std::atomic<uint32_t>& counter_;
  bool ok_;
};

class Counted {
 public:
  explicit Counted(uint32_t& counter) noexcept : counter_(counter) { ++counter_; }
  Counted(const Counted&) = delete;
  ~Counted() { --counter_; }

 private:
  uint32_t& counter_;
};

bool needs_other_connections(const base::ClusterSettings& a, const base::ClusterSettings& b) noexcept {
  return a.protocol != b.protocol || a.from_inbound_address != b.from_inbound_address || a.original_dst != b.original_dst;
}

void warn_of_http2(const base::ClusterSettings& settings) {
  if (settings.protocol != base::UpstreamProtocol::kHttp2) return;
  logs::warn(logs::Component::kUpstream, "cluster {}: HTTP/2 to upstreams is not built yet; HTTP/1.1 is spoken instead", settings.name);
}

}  // namespace

// ---- Connection, Turn

Connection::Connection(Pool& its_pool, Host& its_host, std::unique_ptr<net::Stream> stream, uint64_t its_generation)
    : worker(its_pool.worker()), pool(its_pool), host(its_host), client(worker, std::move(stream), http::H1ClientOptions{.limits = {}, .preserve_case = its_pool.settings().preserve_header_case}),
      generation(its_generation), opened(worker.now()), too_long_(worker, *this) {}

void Connection::watch_idle(std::chrono::milliseconds at_most) {
  // Bytes on an idle connection answer nothing that we asked: whatever they are, the next request must not get them.
  watch_.emplace(client.stream(), *this, kIdleEnded, std::chrono::milliseconds(0), true);
  if (at_most.count() > 0) too_long_.arm(at_most, kIdleEnded);
}

void Connection::unwatch() noexcept {
  watch_.reset();
  too_long_.disarm();
}

void Connection::delete_soon() {
  dropped_ = true;
  step = [](net::Op& op) noexcept { delete static_cast<Connection*>(&op); };
  worker.ready(*this);
}

// Runs inside the watch or the timer, so both stay until the connection is deleted.
void Connection::on_cancel() noexcept {
  if (!dropped_) pool.idle_ended(*this);
}

void Turn::wake() noexcept {
  if (!linked()) return;   // it has got something already, and will see the cancellation when it looks at that
  unlink();
  step = [](net::Op& op) noexcept { static_cast<Turn&>(op).waiter_.resume(); };
  worker_.ready(*this);
}

void Turn::give(Connection& free) noexcept {
  connection = &free;
  wake();
}

void Turn::give_slot() noexcept {
  slot = true;
  wake();
}

void Turn::choose_again() noexcept { wake(); }

// ---- Acquiring

// Keeps a host while a frame needs it, and counts as one of its active requests until a lease takes that over.
class Pool::Claim {
 public:
  Claim(Pool& pool, Host& host) noexcept : pool_(pool), host_(&host) { ++host.active; }
  Claim(const Claim&) = delete;
  ~Claim() {
    if (!host_) return;
    --host_->active;
    pool_.forget_if_unused(*host_);
  }
  void hand_over() noexcept { host_ = nullptr; }

 private:
  Pool& pool_;
  Host* host_;
};

Pool::Pool(net::Worker& worker, std::shared_ptr<const base::ClusterSettings> settings, std::shared_ptr<SharedLimits> limits,
           const ClusterSeams& seams)
    : worker_(worker), settings_(std::move(settings)), limits_(std::move(limits)), endpoints_(std::make_shared<base::EndpointSet>()),
      dialer_(seams.dialer ? *seams.dialer : socket_dialer()),
      balancer_(settings_->load_balancer, seams.random ? *seams.random : chance_) {
  warn_of_http2(*settings_);
}

Pool::~Pool() {
  while (Connection* connection = dropped_.pop_front()) delete connection;
}

std::optional<Lease> Pool::acquire_idle(PickContext& pick, std::pmr::memory_resource* arena) {
  pick.chosen = choose(pick);
  Host* const host = find(pick, pick.chosen);
  if (!host || host->idle.empty() || requests_full()) return std::nullopt;
  ++host->active;                                        // first: it keeps the host, whatever becomes of the connection
  Connection* const connection = take_idle(*host);
  if (!connection || !take_request(*connection)) {       // another worker took the last place in between
    if (connection) put_back(*connection, true);
    --host->active;
    return std::nullopt;
  }
  if (pick.picked) *pick.picked = host->endpoint.address;
  return lease(*connection, arena);
}

net::Task<Result<Lease>> Pool::acquire(std::shared_ptr<Pool> self, const PickContext& pick, AcquireCancel& owner,
                                       std::pmr::memory_resource* arena, bool fresh) {
  if (owner.cancelled()) co_return std::unexpected(owner.why());
  for (Host* chosen = pick.chosen;;) {
    if (!chosen) chosen = self->choose(pick);
    Host* host = self->find_or_make(pick, std::exchange(chosen, nullptr));
    if (!host) co_return std::unexpected(kNoHost);
    if (pick.picked) *pick.picked = host->endpoint.address;
    Claim claim(*self, *host);
    Connection* connection = fresh ? nullptr : self->take_idle(*host);
    if (!connection) {
      const auto obtained = co_await self->obtain(*host, owner, fresh);
      if (!obtained) co_return std::unexpected(obtained.error());
      connection = *obtained;
      if (!connection) continue;
    }
    if (!self->take_request(*connection)) {
      self->put_back(*connection, true);
      co_return std::unexpected(self->overflow("maximum of active requests"));
    }
    claim.hand_over();
    co_return self->lease(*connection, arena);
  }
}

// A connection for `host`, by waiting or opening one; null: choose again. Keeps nothing when it fails.
net::Task<Result<Connection*>> Pool::obtain(Host& host, AcquireCancel& owner, bool fresh) {
  const Taken place(limits_->pending, settings_->max_pending);
  if (!place) co_return std::unexpected(overflow("maximum of pending requests"));
  const Counted waits(pending_);
  if (!take_slot(host, fresh)) {
    Turn turn(worker_, fresh);
    host.waiting.push_back(turn);
    {
      const Waiting cancels(owner, turn);
      co_await turn;
    }
    if (owner.cancelled()) {
      if (turn.connection) put_back(*turn.connection, true);
      if (turn.slot) give_slot(host);
      co_return std::unexpected(owner.why());
    }
    if (!turn.slot) co_return turn.connection;
  }
  // Looked at before the connection exists, so that overload does not open connections for nothing.
  if (requests_full()) {
    give_slot(host);
    co_return std::unexpected(overflow("maximum of active requests"));
  }
  auto stream = co_await dial(host, owner);
  if (!stream) {
    give_slot(host);
    co_return std::unexpected(stream.error());
  }
  auto* connection = new Connection(*this, host, std::move(*stream), generation_);
  if (owner.cancelled()) {
    put_back(*connection, true);   // it came in the very turn in which the owner left
    co_return std::unexpected(owner.why());
  }
  co_return connection;
}

net::Task<Result<std::unique_ptr<net::Stream>>> Pool::dial(Host& host, AcquireCancel& owner) {
  const net::ConnectTo to{.to = host.endpoint.address, .within = settings_->connect_timeout, .from_inbound_address = settings_->from_inbound_address,
                          .source = host.source};
  const std::unique_ptr<Dial> attempt = dialer_.dial(worker_, to);
  const Waiting cancels(owner, *attempt);
  auto stream = co_await *attempt;
  if (stream) {
    ++host.connections_total;
    ++connections_total_;
  } else if (!owner.cancelled()) {
    ++host.connect_failures;
    ++connect_failures_;
  }
  co_return stream;
}

Lease Pool::lease(Connection& connection, std::pmr::memory_resource* arena) {
  connection.keeps_pool = shared_from_this();
  connection.exchange = &connection.client.begin(arena);
  ++connection.served;
  ++connection.host.leased;
  ++connection.host.requests_total;
  ++requests_total_;
  return Lease(connection);
}

void Pool::end(Connection& connection) noexcept {
  const std::shared_ptr<Pool> self = std::move(connection.keeps_pool);
  Host& host = connection.host;
  connection.exchange = nullptr;
  if (std::exchange(connection.counted_request, false)) self->limits_->requests.fetch_sub(1, std::memory_order_relaxed);
  --host.leased;
  const bool usable = connection.client.finish();
  self->put_back(connection, usable);
  --host.active;
  self->forget_if_unused(host);
}

net::Task<Result<TcpLease>> Pool::connect_tcp(std::shared_ptr<Pool> self, const PickContext& pick, AcquireCancel& owner) {
  if (owner.cancelled()) co_return std::unexpected(owner.why());
  Host* host = self->find_or_make(pick, self->choose(pick));
  if (!host) co_return std::unexpected(kNoHost);
  if (pick.picked) *pick.picked = host->endpoint.address;
  auto& connections = self->limits_->connections;
  if (connections.fetch_add(1, std::memory_order_relaxed) >= self->settings_->max_connections) {
    connections.fetch_sub(1, std::memory_order_relaxed);
    self->forget_if_unused(*host);
    co_return std::unexpected(self->overflow("maximum of connections"));
  }
  ++host->active;
  ++host->tunnels;
  // From here the state gives everything back.
  std::unique_ptr<TcpLease::State> state(new TcpLease::State{self, *host, nullptr});
  auto stream = co_await self->dial(*host, owner);
  if (!stream) co_return std::unexpected(stream.error());
  if (owner.cancelled()) co_return std::unexpected(owner.why());
  state->stream = std::move(*stream);
  co_return TcpLease(std::move(state));
}

void Pool::end_tunnel(Host& host) noexcept {
  limits_->connections.fetch_sub(1, std::memory_order_relaxed);
  --host.tunnels;
  --host.active;
  serve_all();
  forget_if_unused(host);
}

// ---- Limits

// Envoy counts all of them as upstream_rq_pending_overflow.
Error Pool::overflow(std::string_view limit) {
  ++pending_overflow_;
  static logs::OncePerSecond once;
  if (once.pass()) logs::warn(logs::Component::kUpstream, "cluster {}: {} reached, answering with overflow (UO)", settings_->name, limit);
  return kFull;
}

bool Pool::take_slot(Host& host, bool fresh) noexcept {
  for (;;) {
    const bool room = limits_->connections.fetch_add(1, std::memory_order_relaxed) < settings_->max_connections;
    if (room || host.connections == 0) {   // Envoy: a worker's first connection to a host is always allowed
      ++host.connections;
      return true;
    }
    limits_->connections.fetch_sub(1, std::memory_order_relaxed);
    if (!fresh || host.idle.empty()) return false;
    drop(*host.idle.back());               // one that it must not use makes room for one that it may
  }
}

void Pool::give_slot(Host& host) noexcept {
  --host.connections;
  limits_->connections.fetch_sub(1, std::memory_order_relaxed);
  serve(host);
  serve_all();
}

bool Pool::take_request(Connection& connection) noexcept {
  if (settings_->max_requests == ~0u) return true;
  if (limits_->requests.fetch_add(1, std::memory_order_relaxed) >= settings_->max_requests) {
    limits_->requests.fetch_sub(1, std::memory_order_relaxed);
    return false;
  }
  connection.counted_request = true;
  return true;
}

std::shared_ptr<SharedLimits> Pool::take_retry() {
  if (limits_->retries.fetch_add(1, std::memory_order_relaxed) < settings_->max_retries) return limits_;
  limits_->retries.fetch_sub(1, std::memory_order_relaxed);
  ++retry_overflow_;
  static logs::OncePerSecond once;
  if (once.pass()) logs::warn(logs::Component::kUpstream, "cluster {}: maximum of retries reached, not trying again (UO)", settings_->name);
  return nullptr;
}

bool Pool::requests_full() const noexcept {
  return settings_->max_requests != ~0u && limits_->requests.load(std::memory_order_relaxed) >= settings_->max_requests;
}

// ---- Connections

bool Pool::keeps(const Connection& connection) const noexcept {
  const Host& host = connection.host;
  if (retired_ || (!host.listed && !host.on_demand) || connection.generation != generation_) return false;
  const uint32_t most = settings_->max_requests_per_connection;
  if (most != 0 && connection.served >= most) return false;
  const auto duration = settings_->max_connection_duration;
  return duration.count() == 0 || worker_.now() - connection.opened < duration;
}

// How long it may wait for its next request; 0: for ever. A bound of its whole life ends it while idle too.
std::chrono::milliseconds Pool::idle_time(const Connection& connection) const noexcept {
  const auto shorter = [](std::chrono::milliseconds a, std::chrono::milliseconds b) { return a.count() == 0 || (b.count() != 0 && b < a) ? b : a; };
  auto time = settings_->idle_timeout;
  if (!connection.host.listed) time = shorter(time, kOnDemandIdle);
  const auto duration = settings_->max_connection_duration;
  if (duration.count() == 0) return time;
  const auto left = std::chrono::ceil<std::chrono::milliseconds>(connection.opened + duration - worker_.now());
  return shorter(time, std::max(left, std::chrono::milliseconds(1)));
}

void Pool::put_back(Connection& connection, bool usable) noexcept {
  Host& host = connection.host;
  if (usable && keeps(connection)) {
    host.idle.push_front(connection);
    ++host.idle_connections;
    connection.idle_since = worker_.turns();
    connection.watch_idle(idle_time(connection));
  } else {
    drop(connection);
  }
  serve(host);
  serve_all();
}

Connection* Pool::take_idle(Host& host) noexcept {
  while (Connection* connection = host.idle.pop_front()) {
    --host.idle_connections;
    connection->unwatch();
    // The loop tells of bytes that nobody asked for. In the turn of the last answer it cannot have: a client that pipelines, or
    // one that waits, would get them for its own answer, so here the kernel is asked. What comes later no check can see.
    if (connection->idle_since != worker_.turns() || !connection->client.stream().readable()) return connection;
    drop(*connection);
  }
  return nullptr;
}

void Pool::drop(Connection& connection) noexcept {
  Host& host = connection.host;
  if (connection.linked()) {
    connection.unlink();
    --host.idle_connections;
  }
  --host.connections;
  limits_->connections.fetch_sub(1, std::memory_order_relaxed);
  dropped_.push_back(connection);
  connection.delete_soon();
}

void Pool::drop_idle(Host& host) noexcept {
  while (Connection* connection = host.idle.front()) drop(*connection);
}

void Pool::idle_ended(Connection& connection) noexcept {
  Host& host = connection.host;
  drop(connection);
  serve_all();
  forget_if_unused(host);
}

void Pool::serve(Host& host) noexcept {
  while (Turn* turn = host.waiting.front()) {
    if (Connection* connection = turn->fresh ? nullptr : take_idle(host)) {
      turn->give(*connection);
    } else if (take_slot(host, turn->fresh)) {
      turn->give_slot();
    } else {
      return;
    }
  }
}

// A place that became free is the whole cluster's.
void Pool::serve_all() noexcept {
  if (pending_ == 0 || settings_->max_connections == ~0u) return;
  for (auto& [key, host] : hosts_) serve(*host);
}

// ---- Endpoints and settings

bool Pool::goes_where_asked() const noexcept {
  return settings_->original_dst || settings_->load_balancer == base::LoadBalancer::kPassthrough;
}

Host* Pool::choose(const PickContext& pick) {
  return goes_where_asked() ? nullptr : static_cast<Host*>(balancer_.pick(pick.already_tried));
}

// The host of a choice of this turn.
std::optional<HostKey> Pool::key_of(const PickContext& pick, const Host* chosen) const noexcept {
  if (chosen) return HostKey{chosen->endpoint.address, pick.source};
  if (goes_where_asked() && pick.original_dst) return HostKey{*pick.original_dst, pick.source};
  return std::nullopt;
}

// Makes none: what nobody then uses would stay for ever, and clients name as many addresses as they like.
Host* Pool::find(const PickContext& pick, Host* chosen) noexcept {
  if (chosen && !pick.source) return chosen;
  const auto key = key_of(pick, chosen);
  const auto found = key ? hosts_.find(*key) : hosts_.end();
  return found == hosts_.end() ? nullptr : found->second.get();
}

// Its caller uses it in the same turn.
Host* Pool::find_or_make(const PickContext& pick, Host* chosen) {
  if (chosen && !pick.source) return chosen;
  const auto key = key_of(pick, chosen);
  if (!key) return nullptr;
  Host& host = host_for(*key);
  if (chosen) host.endpoint = chosen->endpoint;
  return &host;
}

Host& Pool::host_for(const HostKey& key) {
  auto& host = hosts_[key];
  if (!host) {
    host = std::make_unique<Host>();
    host->endpoint.address = key.to;
    host->source = key.source;
  }
  if (!host->listed) host->on_demand = true;
  return *host;
}

void Pool::update_endpoints(std::shared_ptr<const base::EndpointSet> endpoints) {
  endpoints_ = endpoints ? std::move(endpoints) : std::make_shared<base::EndpointSet>();
  for (auto& [key, host] : hosts_) host->listed = false;
  std::vector<Target*> targets;
  targets.reserve(endpoints_->list.size());
  for (const base::Endpoint& endpoint : endpoints_->list) {
    Host& host = host_for({endpoint.address, {}});
    if (host.listed) continue;   // the same address twice is one endpoint
    host.listed = true;
    host.on_demand = false;
    host.endpoint = endpoint;
    targets.push_back(&host);
  }
  balancer_.set_targets(std::move(targets));
  for (auto& [key, host] : hosts_) {
    if (host->listed || host->on_demand) continue;
    drop_idle(*host);
    while (Turn* turn = host->waiting.front()) turn->choose_again();
  }
  std::erase_if(hosts_, [this](const auto& entry) { return unused(*entry.second); });
}

void Pool::update_settings(std::shared_ptr<const base::ClusterSettings> settings) {
  const auto old = std::exchange(settings_, std::move(settings));
  balancer_.set_kind(settings_->load_balancer);
  if (needs_other_connections(*old, *settings_)) {
    ++generation_;
    for (auto& [key, host] : hosts_) drop_idle(*host);
    if (old->protocol != settings_->protocol) warn_of_http2(*settings_);
  }
  for (auto& [key, host] : hosts_) serve(*host);   // limits may have grown, or ended
  std::erase_if(hosts_, [this](const auto& entry) { return unused(*entry.second); });
}

void Pool::retire() noexcept {
  retired_ = true;
  for (auto& [key, host] : hosts_) {
    drop_idle(*host);
    serve(*host);
  }
  std::erase_if(hosts_, [this](const auto& entry) { return unused(*entry.second); });
}

bool Pool::unused(const Host& host) const noexcept {
  return !host.listed && host.active == 0 && host.connections == 0;   // whoever waits is active
}

void Pool::forget_if_unused(Host& host) noexcept {
  if (unused(host)) hosts_.erase(HostKey{host.endpoint.address, host.source});
}

Cluster::View Pool::view() const {
  Cluster::View view;
  view.name = settings_->name;
  view.settings = settings_;
  view.connections_total = connections_total_;
  view.connect_failures = connect_failures_;
  view.requests_total = requests_total_;
  view.pending_overflow = pending_overflow_;
  view.retry_overflow = retry_overflow_;
  view.pending = pending_;
  const auto add = [&view](const Host& host, bool show) {
    const uint32_t active = host.connections - host.idle_connections + host.tunnels;
    view.connections_active += active;
    view.requests_active += host.leased;
    if (!show) return;
    if (host.source) {   // one line per endpoint, however many clients it is dialled for
      const auto same = [&](const Cluster::EndpointView& shown) { return shown.endpoint.address == host.endpoint.address; };
      const auto found = std::ranges::find_if(view.endpoints, same);
      if (found != view.endpoints.end()) {
        found->connections_active += active;
        found->connections_idle += host.idle_connections;
        found->requests_active += host.leased;
        found->connections_total += host.connections_total;
        found->connect_failures += host.connect_failures;
        found->requests_total += host.requests_total;
        return;
      }
    }
    view.endpoints.push_back({.endpoint = host.endpoint, .connections_active = active, .connections_idle = host.idle_connections,
                              .requests_active = host.leased, .connections_total = host.connections_total,
                              .connect_failures = host.connect_failures, .requests_total = host.requests_total});
  };
  for (const Target* target : balancer_.targets()) add(*static_cast<const Host*>(target), true);
  for (const auto& [key, host] : hosts_) {
    if (!host->listed) add(*host, host->on_demand);
  }
  return view;
}

}  // namespace upstream
