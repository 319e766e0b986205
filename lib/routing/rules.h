#pragma once

#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "routing/tables.h"

namespace routing {

// Where rules of a VirtualService would stand: what decides about match.port, match.gateways and absent destination ports.
struct RulePlace {
  std::string_view gateway;              // "mesh" or namespace/name
  uint16_t port = 0;                     // that clients call: of the service or of the Gateway's server
};

// Turns http[] of VirtualServices into routes. Whatever is static for this proxy is decided here (traffic.md §8.1). Matches
// are shared between all tables in which a rule stands.
class Rules {
 public:
  explicit Rules(Build& build) : build_(build) {}
  // Routes of one VirtualService in order; ends after a catch-all, which hides what follows. Empty: nothing of it fits this
  // proxy and place, and it must count as absent (§0-6).
  std::vector<Route> routes_of(const api::VirtualService& vs, const RulePlace& place);

 private:
  bool static_fit(const api::HttpMatch& match, const api::VirtualService& vs, const RulePlace& place) const;
  std::shared_ptr<RoutePlan> plan_of(const api::VirtualService& vs, size_t rule, const RulePlace& place) const;
  RoutePlan::Target target_of(const api::Destination& destination, const api::VirtualService& vs, const RulePlace& place) const;
  std::shared_ptr<const Match> match_of(const api::HttpMatch& match);

  Build& build_;
  std::unordered_map<const api::HttpMatch*, std::shared_ptr<const Match>> matches_;
};

// A plan that always goes to one cluster: generated routes.
std::shared_ptr<RoutePlan> plan_to(std::string name, uint32_t cluster, std::string_view cluster_name, uint32_t retries);

}  // namespace routing
