#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "net/worker.h"
#include "proxy/connection.h"
#include "proxy/options.h"
#include "upstream/cluster.h"

namespace proxy {

// Whether inbound connections come by TPROXY: what the command line said, else the Pod's annotation
// sidecar.istio.io/interceptionMode. Never at a gateway, which nothing intercepts for.
bool wants_transparent(const api::Mesh& mesh, const Options& options);

// Whether rules for TPROXY take connections to `port` of this pod, as far as its annotations tell (includeInboundPorts, default *;
// excludeInboundPorts counts with * only). True when the Pod is not known.
bool lists_inbound(const api::Mesh& mesh, const Options& options, uint16_t port);

// Makes the inbound listener transparent, before it starts. A line that says why TPROXY cannot work here, nullopt when it can.
std::optional<std::string> transparent_problem(net::Listener& inbound);

// Where an upstream connection for `connection` goes to, and from where: the original destination for clusters that ask for it,
// and with TPROXY the client's own address in the place of 127.0.0.6.
void aim(upstream::PickContext& pick, const Connection& connection, const base::ClusterSettings& settings) noexcept;

}  // namespace proxy
