#pragma once

#include <memory>
#include <optional>
#include <unordered_map>
#include <vector>

#include "routing/clusters.h"
#include "routing/engine.h"
#include "routing/route_table.h"

namespace routing {

inline constexpr uint32_t kNoTable = ~0u;
inline constexpr uint32_t kGuard = ~0u;    // instead of a listener's number: the inbound guard

// Everything that a snapshot answers from. Made by compile(), never changed afterwards.
struct Snapshot::Tables {
  Proxy self;
  api::MeshConfig config;
  std::shared_ptr<const Registry> registry;      // endpoint sources point into it
  ClusterTable clusters;
  std::vector<RouteTable> routes;
  std::vector<Listener> listeners;
  std::vector<GatewayPort> gateway_ports;

  // Outbound, in this order: exact address, address range, port, everything else.
  struct Range {
    base::Cidr addresses;
    uint16_t port;
    uint32_t listener;
  };
  std::unordered_map<base::SocketAddress, uint32_t> by_address;
  std::vector<Range> by_range;                   // longest prefix first
  std::unordered_map<uint16_t, uint32_t> by_port;
  uint32_t virtual_outbound = 0;                 // numbers in `listeners`; only sidecars have these two
  uint32_t virtual_inbound = 0;
  std::unordered_map<uint16_t, uint32_t> inbound_by_port;
  // A gateway's: several on one port when they bind different addresses; no address: any.
  struct Bound {
    uint16_t port;
    std::optional<base::Ip> address;
    uint32_t listener;
  };
  std::vector<Bound> gateway;
  // Loop guards: connections straight to a capture port end at once.
  Listener outbound_guard, inbound_guard;
};

// What every step of one compilation reads, and where it adds its part.
struct Build {
  const api::Mesh& mesh;
  const Proxy& self;
  const api::MeshConfig& config;
  const Registry& registry;
  Snapshot::Tables& tables;
  doc::Problems& problems;
  const DestinationRules& rules;

  uint32_t add_listener(Listener listener) {
    tables.listeners.push_back(std::move(listener));
    return static_cast<uint32_t>(tables.listeners.size() - 1);
  }
  uint32_t add_table(RouteTable table) {
    tables.routes.push_back(std::move(table));
    return static_cast<uint32_t>(tables.routes.size() - 1);
  }
};

// The two sides of a sidecar, and a gateway. Each adds its listeners, route tables and clusters.
void build_outbound(Build& build);
void build_inbound(Build& build);
void build_gateway(Build& build);

}  // namespace routing
