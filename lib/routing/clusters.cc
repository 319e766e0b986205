#include "routing/clusters.h"

#include "routing/names.h"

namespace routing {
namespace {
base::ClusterSettings settings_of(const KnownService& service, const KnownService::Port& port, const EffectiveRule& rule, const api::Subset* subset,
                                  const api::MeshConfig& config) {
  const api::PolicyBlocks blocks = rule.blocks(subset, port.number);
  const auto balancer = blocks.load_balancer.value_or(base::LoadBalancer::kLeastRequest);
  base::ClusterSettings out;
  out.name = outbound_cluster(port.number, subset ? std::string_view(subset->name.value) : std::string_view(), service.host);
  out.load_balancer = balancer;
  out.protocol = upstream_protocol(port.protocol);
  // PASSTHROUGH: the address the client dialled, whatever the endpoints are.
  out.original_dst = service.resolution == KnownService::Resolution::kOriginalDst || balancer == base::LoadBalancer::kPassthrough;
  out.connect_timeout = config.connect_timeout;
  out.preserve_header_case = config.defaults.preserve_header_case.value_or(false);
  out.service_host = service.host;
  out.service_name = service.name;
  out.service_namespace = service.name_space;
  if (blocks.pool) apply(*blocks.pool, out);
  return out;
}

base::ClusterSettings fixed(std::string_view name, const api::MeshConfig& config, bool original_dst) {
  base::ClusterSettings out;
  out.name = name;
  out.original_dst = original_dst;
  if (original_dst) out.load_balancer = base::LoadBalancer::kPassthrough;
  out.connect_timeout = config.connect_timeout;
  out.preserve_header_case = config.defaults.preserve_header_case.value_or(false);
  out.service_name = name;   // metrics show unknown traffic under the cluster's name (traffic.md §4.5)
  return out;
}
}  // namespace

uint32_t ClusterTable::add(base::ClusterSettings wanted, EndpointSource source) {
  if (const uint32_t known = find(wanted.name); known != kMissing) return known;
  const auto number = static_cast<uint32_t>(settings.size());
  settings.push_back(std::make_shared<const base::ClusterSettings>(std::move(wanted)));
  sources.push_back(std::move(source));
  numbers_.emplace(settings.back()->name, number);
  return number;
}

uint32_t ClusterTable::find(std::string_view name) const noexcept {
  const auto found = numbers_.find(name);
  return found == numbers_.end() ? kMissing : found->second;
}

void ClusterTable::add_outbound(const Registry& registry, const DestinationRules& rules, const api::MeshConfig& config) {
  add(fixed(kPassthroughCluster, config, true));
  add(fixed(kBlackHoleCluster, config, false));
  for (const auto& service : registry.services()) {
    const EffectiveRule rule = rules.rule_for(service);
    for (const auto& port : service.ports) {
      add(settings_of(service, port, rule, nullptr, config), {&service, port.number, {}});
      for (const auto& subset : rule.subsets) add(settings_of(service, port, rule, &subset, config), {&service, port.number, subset.labels});
    }
  }
}

}  // namespace routing
