#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "routing/destination_rules.h"
#include "routing/services.h"

namespace routing {

// Where the endpoints of one cluster come from. None: fixed clusters, and original destinations nobody lists.
struct EndpointSource {
  const KnownService* service = nullptr;   // owned by the Registry beside it
  uint16_t port = 0;                       // of the service
  api::Labels subset;                      // empty: all
};

// All clusters of one proxy, numbered in the order in which they were added.
class ClusterTable {
 public:
  static constexpr uint32_t kMissing = RoutePlan::kMissing;

  // Fixed clusters, and one per service port and subset.
  void add_outbound(const Registry& registry, const DestinationRules& rules, const api::MeshConfig& config);
  // The number of the cluster with this name, adding it when it is new.
  uint32_t add(base::ClusterSettings settings, EndpointSource source = {});
  uint32_t find(std::string_view name) const noexcept;   // kMissing when there is none

  std::vector<std::shared_ptr<const base::ClusterSettings>> settings;
  std::vector<EndpointSource> sources;                   // same order

 private:
  std::unordered_map<std::string_view, uint32_t> numbers_;
};

}  // namespace routing
