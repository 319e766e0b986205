#pragma once

#include <span>
#include <string>
#include <string_view>

#include "iptables/rules.h"

namespace iptables {

// The tables of --native-nftables, without their family: istio-proxy-nat, istio-proxy-mangle, istio-proxy-raw, sluice-filter.
bool is_own_nft_table(std::string_view name) noexcept;

// One transaction for `nft -f -`: removes `stale` ("ip istio-proxy-nat"), then makes the rules of both families. Istio uses one
// inet table for both, which captures IPv6 even where IPv6 is off; a table per family does what the iptables rules do.
std::string nft_text(const RuleSet& rules, std::span<const std::string> stale);

}  // namespace iptables
