#include <algorithm>

#include <fmt/format.h>

#include "routing/endpoint_index.h"
#include "routing/names.h"
#include "routing/tables.h"

// What a snapshot answers while traffic flows, and for explain.
namespace routing {
namespace {
// Straight to a capture port of ours: what comes back would come back for ever. Another pod's capture port is a destination
// like any other (traffic.md §3.3).
bool is_loop(const Proxy& self, const base::OriginalDst& dst) {
  const auto& address = dst.address;
  if (address.port != self.outbound_port && address.port != self.inbound_port) return false;
  return !dst.redirected || address.ip.is_loopback() || std::ranges::find(self.addresses, address.ip) != self.addresses.end();
}

// Draws one target by weight; the only one without a draw.
const RoutePlan::Target& draw(const RoutePlan& plan, Random& random) {
  if (plan.split.size() == 1) return plan.split.front();
  uint32_t left = random.below(plan.total_weight);
  for (const auto& target : plan.split) {
    if (left < target.weight) return target;
    left -= target.weight;
  }
  return plan.split.back();
}

std::string rule_words(const Route& route) {
  const RoutePlan& plan = *route.plan;
  if (plan.virtual_service.empty()) return fmt::format("generated route {}", plan.name);
  std::string out = fmt::format("rule {} http[{}]", plan.virtual_service, plan.rule);
  if (route.match) out += fmt::format(" match[{}]", route.match_number);
  return out;
}

// The walk that explain shows: every rule up to the one that fits. It must find what the index finds.
uint32_t walk(const VirtualHost& host, const MatchInput& in, Trace& trace) {
  for (uint32_t i = 0; i < host.routes.size(); ++i) {
    const Route& route = host.routes[i];
    Trace::Step step{rule_words(route), true, {}, route.match ? route.match->source().at : route.plan->at};
    step.matched = !route.match || route.match->fits(in, &step.why);
    trace.steps.push_back(std::move(step));
    if (trace.steps.back().matched) return i;
  }
  return RuleIndex::kNone;
}

Decision decide(const Route& route, Random& random) {
  Decision out;
  out.plan = &route.plan;
  if (route.status != 0) {
    out.kind = Decision::Kind::kDirect;
    out.status = route.status;
    return out;
  }
  out.kind = Decision::Kind::kRoute;
  if (route.plan->split.empty()) return out;   // a kind of action that is not implemented: no cluster, 503
  const auto& target = draw(*route.plan, random);
  out.cluster = target.cluster;
  out.cluster_name = target.cluster_name;
  return out;
}
}  // namespace

Snapshot::Snapshot(std::unique_ptr<const Tables> tables) : tables_(std::move(tables)) {}
Snapshot::~Snapshot() = default;

std::span<const std::shared_ptr<const base::ClusterSettings>> Snapshot::clusters() const { return tables_->clusters.settings; }
std::span<const Listener> Snapshot::listeners() const { return tables_->listeners; }
std::span<const GatewayPort> Snapshot::gateway_ports() const { return tables_->gateway_ports; }
const api::MeshConfig& Snapshot::mesh_config() const { return tables_->config; }
const Proxy& Snapshot::self() const { return tables_->self; }

const Listener* Snapshot::listener_for(Direction direction, const base::OriginalDst& dst) const {
  const Tables& t = *tables_;
  const auto& address = dst.address;
  if (direction == Direction::kGateway) {
    const Tables::Bound* best = nullptr;
    for (const auto& bound : t.gateway) {
      if (bound.port != address.port) continue;
      if (bound.address && *bound.address == address.ip) return &t.listeners[bound.listener];
      if (!bound.address || bound.address->is_unspecified()) best = &bound;
    }
    return best ? &t.listeners[best->listener] : nullptr;
  }
  const bool outbound = direction == Direction::kOutbound;
  if (t.self.role == Proxy::Role::kGateway || is_loop(t.self, dst)) return outbound ? &t.outbound_guard : &t.inbound_guard;
  if (!outbound) {
    const auto found = t.inbound_by_port.find(address.port);
    if (found == t.inbound_by_port.end()) return &t.listeners[t.virtual_inbound];
    return found->second == kGuard ? &t.inbound_guard : &t.listeners[found->second];
  }
  if (const auto found = t.by_address.find(address); found != t.by_address.end()) return &t.listeners[found->second];
  for (const auto& range : t.by_range)
    if (range.port == address.port && range.addresses.contains(address.ip)) return &t.listeners[range.listener];
  if (const auto found = t.by_port.find(address.port); found != t.by_port.end()) return &t.listeners[found->second];
  return &t.listeners[t.virtual_outbound];
}

Decision Snapshot::route(const Listener& listener, const RequestView& request, Random& random, Trace* trace) const {
  if (listener.routes >= tables_->routes.size()) return {};
  const RouteTable& table = tables_->routes[listener.routes];
  const uint32_t number = table.lookup.find(request.authority);
  if (number == HostTable::kNone) {
    if (trace) trace->steps.push_back({"route table " + table.name, false, fmt::format("no virtual host for Host {}", request.authority), {}});
    return {};
  }
  const VirtualHost& host = table.hosts[number];
  const MatchInput in(request);
  if (trace) trace->steps.push_back({"virtual host " + host.name, true, {}, {}});
  const uint32_t found = trace ? walk(host, in, *trace) : host.index.find(host.routes, in);
  return found == RuleIndex::kNone ? Decision{} : decide(host.routes[found], random);
}

Endpoints endpoints_of(const api::Mesh& mesh, const Proxy&, const Snapshot& snapshot) { return endpoints_of(mesh, snapshot.tables_->clusters); }

}  // namespace routing
