#include "routing/virtual_hosts.h"

#include <algorithm>

#include <fmt/format.h>

#include "routing/names.h"

namespace routing {
namespace {
constexpr uint32_t kDefaultRetries = 2;      // Istio's default policy (traffic.md §0-1)
constexpr uint16_t kBadGateway = 502;        // what Envoy's block_all answers
constexpr uint16_t kStrangersPort = 80;      // Istio keeps hosts without a service on this port only

void add_addresses(std::vector<std::string>& domains, const KnownService& service) {
  for (const auto& ip : service.vips) domains.push_back(ip.v4 ? ip.text() : '[' + ip.text() + ']');
}
}  // namespace

VirtualHosts::VirtualHosts(Build& build) : build_(build), mesh_(build), rules_(build), strangers_(mesh_.strangers(build.registry)) {
  for (const auto& alias : build.registry.aliases())
    if (const auto* meant = build.registry.target_of(alias)) aliases_[meant->host].push_back(&alias);
}

// Rules of the VirtualService, or the generated route when there is none or nothing of it fits here.
std::vector<Route> VirtualHosts::routes_for(const KnownService& service, const api::VirtualService* vs, uint16_t port) {
  if (vs)
    if (auto routes = rules_.routes_of(*vs, {kMesh, port}); !routes.empty()) return routes;
  const std::string cluster = outbound_cluster(port, {}, service.host);
  std::vector<Route> out;
  out.push_back({nullptr, plan_to("default", build_.tables.clusters.find(cluster), cluster, kDefaultRetries)});
  return out;
}

void VirtualHosts::add_service(RouteTable& table, const KnownService& service, uint16_t port) {
  const auto& self = build_.self;
  VirtualHost host;
  host.name = fmt::format("{}:{}", service.host, port);
  host.domains = service.kubernetes ? service_domains(service.name, service.name_space, self.domain, self.name_space, service.headless)
                                    : std::vector<std::string>{service.host};
  add_addresses(host.domains, service);
  std::vector<VirtualHost> separate;
  if (const auto found = aliases_.find(service.host); found != aliases_.end()) {
    for (const Alias* alias : found->second) {
      auto domains = service_domains(alias->name, alias->name_space, self.domain, self.name_space, false);
      if (const auto* own = mesh_.exact(alias->host)) {   // the alias has rules of its own
        separate.push_back({fmt::format("{}:{}", alias->host, port), std::move(domains), routes_for(service, own, port), {}});
      } else {
        std::ranges::move(domains, std::back_inserter(host.domains));
      }
    }
  }
  host.routes = routes_for(service, mesh_.for_service(service.host), port);
  table.add(std::move(host));
  for (auto& alias : separate) table.add(std::move(alias));
}

void VirtualHosts::add_fallback(RouteTable& table) const {
  const bool allow = build_.config.outbound == api::OutboundPolicy::kAllowAny;
  VirtualHost host{allow ? "allow_any" : "block_all", {"*"}, {}, {}};
  if (allow) {
    host.routes.push_back({nullptr, plan_to(host.name, build_.tables.clusters.find(kPassthroughCluster), kPassthroughCluster, 0)});
  } else {
    auto plan = std::make_shared<RoutePlan>();
    plan->name = host.name;
    plan->retries = 0;
    host.routes.push_back({nullptr, std::move(plan), kBadGateway});
  }
  table.add(std::move(host));
}

RouteTable VirtualHosts::for_port(uint16_t port) {
  RouteTable table;
  table.name = std::to_string(port);
  if (port == kStrangersPort) {          // before the services: a rule for `reviews.prod` means to take that spelling away from one
    for (const auto& held : strangers_) {
      auto routes = rules_.routes_of(*held.vs, {kMesh, port});
      if (!routes.empty()) table.add({fmt::format("{}:{}", held.host, port), {held.host}, std::move(routes), {}});
    }
  }
  for (const auto& service : build_.registry.services()) {
    const auto* own = service.port(port);
    if (own && !is_opaque(own->protocol)) add_service(table, service, port);
  }
  add_fallback(table);
  return table;
}

RouteTable VirtualHosts::for_service(const KnownService& service, uint16_t port) {
  RouteTable table;
  table.name = fmt::format("{}:{}", service.host, port);
  table.add({table.name, {"*"}, routes_for(service, mesh_.for_service(service.host), port), {}});
  return table;
}

}  // namespace routing
