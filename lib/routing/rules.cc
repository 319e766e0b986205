#include "routing/rules.h"

#include <algorithm>

#include <fmt/format.h>

#include "routing/names.h"

namespace routing {
namespace {
constexpr uint32_t kDefaultRetries = 2;  // Istio's default policy (traffic.md §0-1)
}  // namespace

std::shared_ptr<RoutePlan> plan_to(std::string name, uint32_t cluster, std::string_view cluster_name, uint32_t retries) {
  auto plan = std::make_shared<RoutePlan>();
  plan->name = std::move(name);
  plan->split.push_back({cluster, 1, std::string(cluster_name)});
  plan->total_weight = 1;
  plan->retries = retries;
  return plan;
}

std::vector<Route> Rules::routes_of(const api::VirtualService& vs, const RulePlace& place) {
  std::vector<Route> out;
  for (size_t rule = 0; rule < vs.http.size(); ++rule) {
    const auto& http = vs.http[rule];
    if (http.match.empty()) {
      out.push_back({nullptr, plan_of(vs, rule, place)});
      return out;
    }
    std::shared_ptr<RoutePlan> plan;     // shared by the entries of the rule unless one has a name of its own
    for (uint32_t number = 0; number < http.match.size(); ++number) {
      const auto& entry = http.match[number];
      if (!static_fit(entry, vs, place)) continue;
      if (!plan) plan = plan_of(vs, rule, place);
      auto own = plan;
      if (!entry.name.empty()) {
        own = std::make_shared<RoutePlan>(*plan);
        own->name = http.name + '.' + entry.name;
      }
      out.push_back({match_of(entry), std::move(own), 0, number});
      if (out.back().catch_all()) return out;
    }
  }
  return out;
}

bool Rules::static_fit(const api::HttpMatch& match, const api::VirtualService& vs, const RulePlace& place) const {
  if (match.port != 0 && match.port != place.port) return false;
  if (!match.gateways.empty())           // overrides the list above, and then the source is not looked at
    return std::ranges::any_of(match.gateways, [&](const api::Text& g) { return gateway_name(g.value, vs.meta.name_space) == place.gateway; });
  if (!match.source_namespace.empty() && match.source_namespace != build_.self.name_space) return false;
  return api::selects(match.source_labels, build_.self.labels);
}

std::shared_ptr<const Match> Rules::match_of(const api::HttpMatch& match) {
  auto& known = matches_[&match];
  if (!known) known = std::make_shared<const Match>(match);
  return known;
}

std::shared_ptr<RoutePlan> Rules::plan_of(const api::VirtualService& vs, size_t rule, const RulePlace& place) const {
  const auto& http = vs.http[rule];
  auto plan = std::make_shared<RoutePlan>();
  plan->name = http.name;
  plan->virtual_service = vs.meta.name_space + '/' + vs.meta.name;
  plan->rule = static_cast<int>(rule);
  plan->at = http.at;
  for (const auto& destination : http.route) {
    const uint32_t weight = http.route.size() == 1 ? 1 : destination.weight.value_or(0);   // alone: its weight is ignored, even 0
    if (weight == 0) continue;
    auto target = target_of(destination.destination, vs, place);
    target.weight = weight;
    plan->total_weight += weight;
    plan->split.push_back(std::move(target));
  }
  plan->timeout = http.timeout.value_or(std::chrono::milliseconds{0});
  plan->retries = http.retries ? http.retries->attempts : kDefaultRetries;
  if (http.retries) plan->per_try = http.retries->per_try_timeout.value_or(std::chrono::milliseconds{0});
  return plan;
}

// Istio: VirtualService.http.route.destination. Without a port a sidecar takes the one that the client calls, whatever ports
// the service has; a gateway takes the only port of the service, else its own (traffic.md §2.1.2).
RoutePlan::Target Rules::target_of(const api::Destination& destination, const api::VirtualService& vs, const RulePlace& place) const {
  const bool gateway = build_.self.role == Proxy::Role::kGateway;
  std::string host = lower_case(complete_host(destination.host.value, vs.meta.name_space, build_.self.domain));
  if (const Alias* alias = build_.registry.alias(host)) {
    // istiod finds an alias only among services that list the client's port; at a gateway it asks by name alone.
    const KnownService* meant = build_.registry.target_of(*alias);
    if (meant && (gateway || std::ranges::find(alias->ports, place.port) != alias->ports.end())) host = meant->host;
  }
  uint16_t port = destination.port;
  if (port == 0) {
    const KnownService* service = build_.registry.find(host);
    port = gateway && service && service->ports.size() == 1 ? service->ports.front().number : place.port;
  }
  RoutePlan::Target out;
  out.cluster_name = outbound_cluster(port, destination.subset.value, host);
  out.cluster = build_.tables.clusters.find(out.cluster_name);
  return out;
}

}  // namespace routing
