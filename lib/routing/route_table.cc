#include "routing/route_table.h"

namespace routing {

void RouteTable::add(VirtualHost host) {
  const auto number = static_cast<uint32_t>(hosts.size());
  std::erase_if(host.domains, [&](const std::string& domain) { return !lookup.add(domain, number); });
  if (host.domains.empty()) return;
  host.index.build(host.routes);
  hosts.push_back(std::move(host));
}

}  // namespace routing
