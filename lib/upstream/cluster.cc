#include "upstream/cluster.h"

#include <algorithm>
#include <unordered_map>
#include <utility>

#include "upstream/pool.h"

namespace upstream {

// ---- Lease, TcpLease

Lease::Lease(Lease&& other) noexcept : connection_(std::exchange(other.connection_, nullptr)) {}

Lease::~Lease() {
  if (connection_) Pool::end(*connection_);
}

http::UpstreamExchange& Lease::exchange() noexcept { return *connection_->exchange; }
const base::Endpoint& Lease::endpoint() const noexcept { return connection_->host.endpoint; }
base::SocketAddress Lease::local() const noexcept { return connection_->client.stream().local(); }
bool Lease::reused() const noexcept { return connection_->served > 1; }

TcpLease::TcpLease(std::unique_ptr<State> state) noexcept : state_(std::move(state)) {}
TcpLease::TcpLease(TcpLease&&) noexcept = default;
TcpLease::~TcpLease() = default;

net::Stream& TcpLease::stream() noexcept { return *state_->stream; }
const base::Endpoint& TcpLease::endpoint() const noexcept { return state_->host.endpoint; }

// ---- Cluster

Cluster::Cluster(net::Worker& worker, std::shared_ptr<const base::ClusterSettings> settings, std::shared_ptr<SharedLimits> limits,
                 const ClusterSeams& seams)
    : pool_(std::make_shared<Pool>(worker, std::move(settings), std::move(limits), seams)) {}

Cluster::~Cluster() { pool_->retire(); }

const base::ClusterSettings& Cluster::settings() const noexcept { return pool_->settings(); }
SharedLimits& Cluster::limits() const noexcept { return pool_->limits(); }
void Cluster::update_settings(std::shared_ptr<const base::ClusterSettings> settings) { pool_->update_settings(std::move(settings)); }
void Cluster::update_endpoints(std::shared_ptr<const base::EndpointSet> endpoints) { pool_->update_endpoints(std::move(endpoints)); }
const std::shared_ptr<const base::EndpointSet>& Cluster::endpoints() const noexcept { return pool_->endpoints(); }
void Cluster::retire() noexcept { pool_->retire(); }
Cluster::View Cluster::view() const { return pool_->view(); }

std::optional<Lease> Cluster::acquire_idle(PickContext& pick, std::pmr::memory_resource* arena) { return pool_->acquire_idle(pick, arena); }

// Not coroutines themselves: the frames that wait hold the pool, not this object.
net::Task<Result<Lease>> Cluster::acquire(const PickContext& pick, AcquireCancel& owner, std::pmr::memory_resource* arena, bool fresh) {
  return Pool::acquire(pool_, pick, owner, arena, fresh);
}

net::Task<Result<TcpLease>> Cluster::connect_tcp(const PickContext& pick, AcquireCancel& owner) {
  return Pool::connect_tcp(pool_, pick, owner);
}

// ---- RetryPlace

RetryPlace::RetryPlace(Cluster& cluster) : limits_(cluster.pool_->take_retry()) {}
RetryPlace::~RetryPlace() {
  if (limits_) limits_->retries.fetch_sub(1, std::memory_order_relaxed);
}

// ---- Clusters

namespace {

struct TextHash {
  using is_transparent = void;
  size_t operator()(std::string_view text) const noexcept { return std::hash<std::string_view>{}(text); }
};

}  // namespace

struct Clusters::Impl {
  net::Worker& worker;
  LimitsOf limits_of;
  ClusterSeams seams;
  std::unordered_map<std::string, std::unique_ptr<Cluster>, TextHash, std::equal_to<>> by_name;
};

Clusters::Clusters(net::Worker& worker, LimitsOf limits_of, const ClusterSeams& seams)
    : impl_(new Impl{worker, std::move(limits_of), seams, {}}) {}
Clusters::~Clusters() = default;

void Clusters::apply(std::span<const std::shared_ptr<const base::ClusterSettings>> settings) {
  auto old = std::exchange(impl_->by_name, {});
  impl_->by_name.reserve(settings.size());
  for (const auto& one : settings) {
    if (auto kept = old.extract(one->name)) {
      if (!(kept.mapped()->settings() == *one)) kept.mapped()->update_settings(one);
      impl_->by_name.insert(std::move(kept));
    } else if (!impl_->by_name.contains(one->name)) {
      impl_->by_name.emplace(one->name, std::make_unique<Cluster>(impl_->worker, one, impl_->limits_of(one->name), impl_->seams));
    }
  }
}

void Clusters::update_endpoints(const std::string& cluster, std::shared_ptr<const base::EndpointSet> endpoints) {
  if (Cluster* found = find(cluster)) found->update_endpoints(std::move(endpoints));
}

Cluster* Clusters::find(std::string_view name) noexcept {
  const auto at = impl_->by_name.find(name);
  return at == impl_->by_name.end() ? nullptr : at->second.get();
}

std::vector<Cluster::View> Clusters::view() const {
  std::vector<Cluster::View> views;
  views.reserve(impl_->by_name.size());
  for (const auto& [name, cluster] : impl_->by_name) views.push_back(cluster->view());
  std::ranges::sort(views, {}, &Cluster::View::name);
  return views;
}

}  // namespace upstream
