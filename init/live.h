#pragma once

#include <cstdint>
#include <set>
#include <span>
#include <string>
#include <string_view>

namespace init {

// TCP connections as texts of their two ends, out of the text of /proc/net/tcp or tcp6. Of those that are over the kernel
// remembers for a minute the ones that this side closed.
enum class Ended : bool { kLeftOut, kCounted };
std::set<std::string> tcp_connections(std::string_view proc_net_tcp, Ended ended);

// Those whose own end has one of `ports`.
std::set<std::string> with_own_port(const std::set<std::string>& connections, std::span<const uint16_t> ports);

}  // namespace init
