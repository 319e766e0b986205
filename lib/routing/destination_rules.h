#pragma once

#include <optional>
#include <string>
#include <vector>

#include "routing/services.h"
#include "routing/visibility.h"

namespace routing {

// The policy that holds for one service as this proxy sees it: DestinationRules of one namespace and one host put together.
struct EffectiveRule {
  std::optional<base::LoadBalancer> load_balancer;
  std::vector<api::Subset> subsets;
};

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
