#pragma once

#include <cstdint>
#include <expected>
#include <string>
#include <vector>

#include "base/ip.h"
#include "init/wire.h"

namespace init {

// What the kernel keeps about TCP connections that it follows, by ctnetlink. It asks the rules of nat about the first packet of
// a connection, and never again: one that stands here already passes as it is.
class Conntrack {
 public:
  // Who sent the first packet, and where to.
  struct Tuple {
    base::SocketAddress from, to;
    friend auto operator<=>(const Tuple&, const Tuple&) = default;
  };

  // How far a connection has come. The kernel drops it earlier or later accordingly.
  enum class Stage : uint8_t { kSynSent = 1, kSynReceived = 2, kEstablished = 3, kFinWait = 4, kCloseWait = 5, kLastAck = 6 };

  Conntrack();
  // From here on the connection is one that the kernel knows, with both directions seen and sequence numbers that it does not
  // check. False: it knew it already, and only learns that both directions were seen.
  std::expected<bool, std::string> add(const Tuple& tuple, Stage stage);
  std::expected<void, std::string> remove(const Tuple& tuple);
  // Those of a family that nobody translates and that are in no zone. Handshakes are left out: with SYN cookies they have no
  // socket, and the kernel drops them after two minutes.
  std::expected<std::vector<Tuple>, std::string> untranslated(bool ipv4);

  // Whether the kernel knows any connection of this namespace; costs no netlink. False also when it cannot be known.
  static bool any();

 private:
  Wire wire_;
  uint32_t established_;  // seconds
};

}  // namespace init
