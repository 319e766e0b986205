#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "base/ip.h"
#include "iptables/clauses.h"
#include "iptables/trace.h"

namespace iptables {

// The first packet of a flow as it stands in one chain.
struct Packet {
  bool sends = false;  // in an OUTPUT chain: -o and owners count, else -i does
  bool udp = false, redirected = false;
  base::SocketAddress to;
  base::Ip from;
  bool from_anybody = false;  // `from` is but an example
  std::string_view interface, uid, gid, group;
  uint32_t mark = 0;
};

// The packet as the flow begins; its texts are the flow's.
inline Packet packet_of(const Flow& flow) {
  return {.sends = flow.outbound,
          .udp = flow.udp,
          .to = flow.to,
          .from = flow.from,
          .from_anybody = flow.from_anybody,
          .interface = flow.interface,
          .uid = flow.uid,
          .gid = flow.gid,
          .group = flow.group};
}

// Whether the clause says yes to the packet, its exclamation mark included. Nothing for an option that is not understood, and
// for the port that it comes from, which nobody knows beforehand.
// Assumes that a socket waits for the packet.
std::optional<bool> matches(const Clause& clause, const Packet& packet);

}  // namespace iptables
