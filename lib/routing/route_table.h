#pragma once

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "routing/engine.h"
#include "routing/host_table.h"
#include "routing/match.h"
#include "routing/rule_index.h"

namespace routing {

// One entry of http[].match with what its rule does; a rule without match is one Route that takes everything.
struct Route {
  std::shared_ptr<const Match> match;    // null: every request
  std::shared_ptr<const RoutePlan> plan;
  uint16_t status = 0;                   // answered here with this status (block_all); 0: routed
  uint32_t match_number = 0;             // which entry of match[]
  bool catch_all() const noexcept { return !match || match->catch_all(); }
};

struct VirtualHost {
  std::string name;                      // reviews.default.svc.cluster.local:9080
  std::vector<std::string> domains;
  std::vector<Route> routes;             // first that fits
  RuleIndex index;                       // over `routes`, built last
};

// What an Envoy route configuration is: virtual hosts under one name.
struct RouteTable {
  std::string name;                      // 9080, echo.default.svc.cluster.local:81, http.8080 …
  std::vector<VirtualHost> hosts;
  HostTable lookup;

  // Adds a virtual host with those of its domains that nobody holds yet; nothing when none is left.
  void add(VirtualHost host);
};

}  // namespace routing
