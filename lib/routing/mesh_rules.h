#pragma once

#include <map>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "routing/tables.h"

namespace routing {

// Which VirtualService holds which host for a sidecar: the oldest that names it, nothing merged; exact before wildcard,
// longer wildcard before shorter (traffic.md §2.1.1).
class MeshRules {
 public:
  explicit MeshRules(const Build& build);
  const api::VirtualService* exact(std::string_view host) const noexcept;
  // For a service of the registry: exact, else the longest wildcard that covers it.
  const api::VirtualService* for_service(std::string_view host) const noexcept;

  struct Held {
    std::string host;
    const api::VirtualService* vs;
  };
  // Hosts that no service has: they exist on port 80 alone. In the order of their VirtualServices.
  std::vector<Held> strangers(const Registry& registry) const;

 private:
  std::unordered_map<std::string, const api::VirtualService*> exact_;
  std::vector<Held> wildcards_;          // longest first
  std::vector<Held> in_order_;
};

}  // namespace routing
