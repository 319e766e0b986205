#pragma once

#include <optional>
#include <string>
#include <vector>

#include "routing/services.h"
#include "routing/visibility.h"

namespace routing {

// The policy that holds for one service as this proxy sees it: DestinationRules of one namespace and one host put together.
struct EffectiveRule {
  std::optional<api::TrafficPolicy> policy;
  std::vector<api::Subset> subsets;

  // What holds for this port of the service and this subset (null: the service as a whole), block by block: the subset's port
  // entry, its own block, the rule's port entry, its own block. A port entry stands for all blocks, also for those it does
  // not have (traffic.md §2.2.2).
  api::PolicyBlocks blocks(const api::Subset* subset, uint16_t port) const;
};

// Writes a connectionPool into the settings of a cluster; what it does not say keeps what it has.
void apply(const api::ConnectionPool& pool, base::ClusterSettings& settings);

// Chooses by traffic.md §2.2.1: the client's namespace, then the service's, then the root; inside a namespace the most specific
// host. Rules are never mixed over namespaces, so a rule of the client's namespace hides the service's subsets.
class DestinationRules {
 public:
  DestinationRules(const api::Mesh& mesh, const Proxy& self);
  EffectiveRule rule_for(const KnownService& service) const;

 private:
  struct Entry {
    const api::DestinationRule* rule;
    std::string host;                    // completed, lower-case
    Reach reach;                         // towards the client
  };
  std::vector<const Entry*> matching(std::string_view name_space, const KnownService& service, bool root_as_own) const;
  const Proxy& self_;
  std::string root_;
  std::unordered_map<std::string_view, std::vector<Entry>> by_namespace_;
};

}  // namespace routing
