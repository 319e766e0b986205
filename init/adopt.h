#pragma once

#include <expected>
#include <string>

namespace init {

// Connections that are open when the rules come. The kernel asks the rules about the first packet that it sees of a connection,
// and of one that it has not followed any packet may be that: an answer in its middle would be turned to the proxy, which
// knows nothing of it. So the kernel is told before what is open. What is only forwarded cannot be known, nor what is in the
// middle of a handshake that the kernel answers without a socket (SYN cookies).

// For one family, while the kernel follows connections and no rule turns any: those that are open stand in its list
// afterwards. The error is one line; what has been added until then stays.
std::expected<void, std::string> adopt_open_connections(bool ipv4);

// Takes out of the kernel's list what is over, handshakes apart. An earlier run's rules may have gone in the middle of a connection, whose
// end the kernel did not see; the next one with the same two ends would count as that one, and pass by the rules.
std::expected<void, std::string> forget_ended_connections(bool ipv4);

}  // namespace init
