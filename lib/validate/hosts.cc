#include <algorithm>
#include <map>

#include <fmt/format.h>

#include "validate/checks.h"

namespace validate {
namespace {

using api::VirtualService;

bool for_mesh(const VirtualService& service) {
  return service.gateways.empty() || std::any_of(service.gateways.begin(), service.gateways.end(), [](const api::Text& gateway) { return gateway.value == "mesh"; });
}

// "[ns/]dnsName" of a server, as seen by a VirtualService in `name_space`: empty when the namespace part shuts it out.
std::string_view server_host(const api::Gateway& gateway, std::string_view text, std::string_view name_space) {
  const size_t slash = text.find('/');
  if (slash == std::string_view::npos) return text;
  const std::string_view part = text.substr(0, slash);
  const bool fits = part == "*" || part == name_space || (part == "." && gateway.meta.name_space == name_space);
  return fits ? text.substr(slash + 1) : std::string_view();
}

void check_on_gateways(const Index& index, const VirtualService& service, doc::Problems& out) {
  std::vector<const api::Gateway*> gateways;
  for (const api::Text& text : service.gateways) {
    const api::Gateway* gateway = index.gateway(Index::gateway_name(text.value, service.meta.name_space));
    if (!gateway) return;   // said already; its hosts are not known
    gateways.push_back(gateway);
  }
  for (size_t i = 0; i < service.hosts.size(); ++i) {
    const api::Text& host = service.hosts[i];
    const std::string field = fmt::format("spec.hosts[{}]", i);
    if (host.value.find('.') == std::string::npos && !host.value.starts_with('*'))
      out.push_back(warning("SHORT_HOST", service.meta, field, host.at,
                            fmt::format("at a gateway the short name {} means {}, which clients outside hardly send; write the host that they use", host.value,
                                        index.full_host(host.value, service.meta.name_space))));
    bool found = false;
    std::string known;
    for (const api::Gateway* gateway : gateways)
      for (const api::Server& server : gateway->servers)
        for (const api::Text& text : server.hosts) {
          const std::string_view offered = server_host(*gateway, text.value, service.meta.name_space);
          // Istio compares these with their case; a difference there is a 404.
          found |= !offered.empty() && (overlaps(offered, host.value) || overlaps(offered, index.full_host(host.value, service.meta.name_space)));
          if (known.find(text.value) == std::string::npos) known += fmt::format("{}{}", known.empty() ? "" : ", ", text.value);
        }
    if (!found) out.push_back(warning("IST0132", service.meta, field, host.at, fmt::format("host {} is on none of the gateways that the VirtualService names; they have {}", host.value, known)));
  }
}

bool exported_widely(const VirtualService& service) {
  return service.export_to.empty() || std::any_of(service.export_to.begin(), service.export_to.end(), [](const api::Text& text) { return text.value == "*"; });
}

void check_conflicts(const Index& index, doc::Problems& out) {
  std::map<std::string, std::vector<const VirtualService*>> owners;
  for (const VirtualService* service : index.mesh().virtual_services) {   // oldest first
    if (!for_mesh(*service)) continue;
    for (size_t i = 0; i < service->hosts.size(); ++i) {
      const api::Text& host = service->hosts[i];
      std::vector<const VirtualService*>& known = owners[index.full_host(host.value, service->meta.name_space)];
      for (const VirtualService* first : known) {
        const bool meet = first->meta.name_space == service->meta.name_space || (exported_widely(*first) && exported_widely(*service));
        if (first == service || !meet) continue;
        out.push_back(warning("IST0109", service->meta, fmt::format("spec.hosts[{}]", i), host.at,
                              fmt::format("host {} belongs to VirtualService {}/{} already; sidecars use that one and ignore this", host.value, first->meta.name_space, first->meta.name)));
        break;
      }
      known.push_back(service);
    }
  }
}

}  // namespace

void check_hosts(const Index& index, doc::Problems& out) {
  for (const VirtualService* service : index.mesh().virtual_services)
    if (!for_mesh(*service)) check_on_gateways(index, *service, out);
  check_conflicts(index, out);
}

}  // namespace validate
