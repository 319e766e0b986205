#include "routing/mesh_rules.h"

#include <algorithm>

#include "routing/names.h"
#include "routing/order.h"
#include "routing/visibility.h"

namespace routing {
namespace {
bool for_mesh(const api::VirtualService& vs) {
  return vs.gateways.empty() || std::ranges::any_of(vs.gateways, [](const api::Text& g) { return g.value == kMesh; });
}
}  // namespace

MeshRules::MeshRules(const Build& build) {
  for (const auto* vs : visible(build.mesh.virtual_services, build.self.name_space)) {
    if (!for_mesh(*vs)) continue;
    for (const auto& written : vs->hosts) {
      const std::string host = lower_case(complete_host(written.value, vs->meta.name_space, build.self.domain));
      const bool fresh = is_wildcard(host) ? std::ranges::find(wildcards_, host, &Held::host) == wildcards_.end() : exact_.emplace(host, vs).second;
      if (!fresh) continue;
      if (is_wildcard(host)) wildcards_.push_back({host, vs});
      in_order_.push_back({host, vs});
    }
  }
  sort_keeping_order(wildcards_, [](const Held& held) { return held.host.size(); }, std::greater{});
}

const api::VirtualService* MeshRules::exact(std::string_view host) const noexcept {
  const auto found = exact_.find(std::string(host));
  return found == exact_.end() ? nullptr : found->second;
}

const api::VirtualService* MeshRules::for_service(std::string_view host) const noexcept {
  if (const auto* vs = exact(host)) return vs;
  for (const auto& held : wildcards_)
    if (covers(held.host, host)) return held.vs;
  return nullptr;
}

std::vector<MeshRules::Held> MeshRules::strangers(const Registry& registry) const {
  std::vector<Held> out;
  for (const auto& held : in_order_) {
    const bool known = is_wildcard(held.host)
                           ? std::ranges::any_of(registry.services(), [&](const KnownService& s) { return covers(held.host, s.host); })
                           : registry.find(held.host) || registry.alias(held.host);
    if (!known) out.push_back(held);
  }
  return out;
}

}  // namespace routing
