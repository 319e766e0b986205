#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "base/ip.h"
#include "iptables/clauses.h"

namespace iptables {

// The first packet of a flow as it stands in one chain.
struct Packet {
  bool sends = false;  // in an OUTPUT chain: -o and owners count, else -i does
  bool udp = false, redirected = false;
  base::SocketAddress to;
  base::Ip from;
  std::string_view interface, uid, gid;
  uint32_t mark = 0;
};

// Whether the clause says yes to the packet, its exclamation mark included. Nothing for an option that is not understood.
// Assumes that a socket waits for the packet.
std::optional<bool> matches(const Clause& clause, const Packet& packet);

}  // namespace iptables
