#pragma once

#include "routing/mesh_rules.h"
#include "routing/rules.h"

namespace routing {

// The route tables of a sidecar's outbound side.
class VirtualHosts {
 public:
  explicit VirtualHosts(Build& build);
  // For 0.0.0.0_PORT: one virtual host per service that speaks HTTP there or might, then allow_any or block_all.
  RouteTable for_port(uint16_t port);
  // For VIP_PORT of an undeclared port: whatever the Host is, it means this service.
  RouteTable for_service(const KnownService& service, uint16_t port);

 private:
  std::vector<Route> routes_for(const KnownService& service, const api::VirtualService* vs, uint16_t port);
  void add_service(RouteTable& table, const KnownService& service, uint16_t port);
  void add_fallback(RouteTable& table) const;

  Build& build_;
  MeshRules mesh_;
  Rules rules_;
  std::vector<MeshRules::Held> strangers_;
  std::unordered_map<std::string_view, std::vector<const Alias*>> aliases_;   // by the host of the service they mean
};

}  // namespace routing
