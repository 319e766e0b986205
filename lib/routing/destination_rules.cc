#include "routing/destination_rules.h"

#include <algorithm>
#include <set>

#include "routing/names.h"
#include "routing/order.h"

namespace routing {
namespace {
std::set<std::string_view> audience(const api::DestinationRule& rule) {
  std::set<std::string_view> out;
  for (const auto& word : rule.export_to) out.insert(word.value);
  if (out.empty()) out.insert("*");
  return out;
}
// Exact names are more specific than any wildcard; of wildcards the longer one.
size_t weight_of(std::string_view host) noexcept { return is_wildcard(host) ? host.size() : host.size() + (size_t{1} << 32); }

template <class Block>
using Member = std::optional<Block> api::PolicyBlocks::*;

// False: this policy says nothing about the block, and the level above decides.
template <class Block>
bool take(const api::TrafficPolicy& policy, uint16_t port, Member<Block> block, std::optional<Block>& out) {
  const auto entry = std::ranges::find(policy.ports, port, &std::pair<uint16_t, api::PolicyBlocks>::first);
  out = entry != policy.ports.end() ? entry->second.*block : policy.*block;
  return entry != policy.ports.end() || out;
}

template <class Block>
std::optional<Block> block_of(const EffectiveRule& rule, const api::Subset* subset, uint16_t port, Member<Block> block) {
  std::optional<Block> out;
  if (subset && take(subset->policy, port, block, out)) return out;
  if (rule.policy) take(*rule.policy, port, block, out);
  return out;
}
}  // namespace

api::PolicyBlocks EffectiveRule::blocks(const api::Subset* subset, uint16_t port) const {
  return {block_of(*this, subset, port, &api::PolicyBlocks::load_balancer), block_of(*this, subset, port, &api::PolicyBlocks::pool)};
}

void apply(const api::ConnectionPool& pool, base::ClusterSettings& settings) {
  const auto threshold = [](uint32_t value) { return value == 0 ? ~0u : value; };
  settings.max_connections = threshold(pool.max_connections);
  settings.max_pending = threshold(pool.max_pending);
  settings.max_requests = threshold(pool.max_requests);
  settings.max_retries = threshold(pool.max_retries);
  settings.max_requests_per_connection = pool.max_requests_per_connection;
  settings.connect_timeout = pool.connect_timeout.value_or(settings.connect_timeout);
  settings.idle_timeout = pool.idle_timeout.value_or(settings.idle_timeout);
  settings.tcp_idle_timeout = pool.tcp_idle_timeout.value_or(settings.tcp_idle_timeout);
  settings.max_connection_duration = pool.max_connection_duration.value_or(settings.max_connection_duration);
}

DestinationRules::DestinationRules(const api::Mesh& mesh, const Proxy& self) : self_(self), root_(mesh.config.root_namespace) {
  for (const auto* rule : mesh.destination_rules) {
    const auto& own = rule->meta.name_space;
    by_namespace_[own].push_back({rule, lower_case(complete_host(rule->host.value, own, self.domain)), reach(rule->export_to, own, self.name_space)});
  }
}

// Rules of one namespace for this service: those with the most specific host, most visible first, then oldest first.
std::vector<const DestinationRules::Entry*> DestinationRules::matching(std::string_view name_space, const KnownService& service, bool own) const {
  const auto found = by_namespace_.find(name_space);
  if (found == by_namespace_.end()) return {};
  std::vector<const Entry*> best;
  for (const auto& entry : found->second) {
    // exportTo says nothing about the own namespace, except in the root one: its public rules are everybody's defaults and come
    // last, after the service's own.
    if (own ? name_space == root_ && entry.reach != Reach::kPrivate : entry.reach == Reach::kNone) continue;
    if (!covers(entry.host, service.host)) continue;
    if (!best.empty() && weight_of(entry.host) < weight_of(best.front()->host)) continue;
    if (!best.empty() && weight_of(entry.host) > weight_of(best.front()->host)) best.clear();
    best.push_back(&entry);
  }
  sort_keeping_order(best, [](const Entry* e) { return e->reach; }, std::greater{});
  return best;
}

EffectiveRule DestinationRules::rule_for(const KnownService& service) const {
  auto rules = matching(self_.name_space, service, true);
  if (rules.empty() && service.name_space != self_.name_space) rules = matching(service.name_space, service, false);
  if (rules.empty()) rules = matching(root_, service, false);
  EffectiveRule out;
  std::set<std::string_view> names;
  for (const auto* entry : rules) {
    if (audience(*entry->rule) != audience(*rules.front()->rule)) continue;
    if (!out.policy) out.policy = entry->rule->policy;
    for (const auto& subset : entry->rule->subsets)
      if (names.insert(subset.name.value).second) out.subsets.push_back(subset);
  }
  return out;
}

}  // namespace routing
