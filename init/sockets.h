#pragma once

#include <chrono>
#include <compare>
#include <cstdint>
#include <expected>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/ip.h"
#include "init/wire.h"

namespace init {

// A TCP connection as one of its ends has it; one within the namespace has two.
struct Connection {
  base::SocketAddress own, other;
  uint8_t state = 0;         // TCP_ESTABLISHED, … of <netinet/tcp.h>; never TCP_LISTEN, TCP_TIME_WAIT, TCP_CLOSE
  bool transparent = false;  // may have the address of somebody else, as with TPROXY; false on kernels before 5.10
  friend auto operator<=>(const Connection&, const Connection&) = default;
};

// The TCP sockets of the network namespace, of both families. An IPv6 socket that talks IPv4 counts as IPv4.
struct TcpSockets {
  std::set<Connection> connections;
  std::set<uint16_t> listening;  // ports
};

// Asks the kernel's sock_diag. The error is one line.
std::expected<TcpSockets, std::string> tcp_sockets();

// Tells that TCP sockets of this namespace have ended since it was made.
class SocketEnds {
 public:
  SocketEnds();
  // Until one has ended, or for `patience`. Where the kernel does not tell, it returns early, so look again.
  void wait(std::chrono::milliseconds patience);

 private:
  Wire wire_;
  bool told_ = true;
};

// Whether somebody in this namespace uses TCP, if only to listen. Where a connection has just ended, the next one may begin at
// any moment, so that counts. False in most pods when their rules are made, and where the kernel does not count sockets. Costs
// two small files; the list above costs a walk through the sockets of the whole machine.
bool somebody_uses_tcp();
// The same out of the texts of /proc/net/sockstat and sockstat6.
bool counts_tcp(std::string_view sockstat, std::string_view sockstat6);

}  // namespace init
