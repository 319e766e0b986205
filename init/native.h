#pragma once

#include <cstdint>
#include <expected>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace init {

// Tables of --native-nftables, ours or Istio's, as "FAMILY NAME"; none where the kernel's part is missing.
std::vector<std::string> native_tables();

// The packet marks of TPROXY that rules in such a table set, 1338 apart.
std::set<uint32_t> native_marks(const std::string& table);
// The same out of what `nft list table` prints.
std::set<uint32_t> marks_in(std::string_view listing);

// Text for nft that takes out of such a table, of mangle, what delivers new connections by TPROXY; those that it has delivered
// keep what they need.
std::string without_new_ones(const std::string& table);
// The rules that do so, out of what `nft --handle list table` prints: chain and handle.
std::vector<std::pair<std::string, std::string>> tproxy_rules_in(std::string_view listing);

// Where a connection passes: it leaves or comes in with one port, and arrives at another one when it is turned to the proxy.
struct NftWay {
  bool ipv4 = true, outbound = true;
  uint16_t port = 0, turned = 0;  // turned 0: it keeps its port
};
// A sentence about a table that nft made for somebody else: the first rule or policy on that way that drops or turns packets. Empty
// when there is none. Of conditions only protocol, family, port and lo are weighed; others may hold.
std::string foreign_nft_rule(const NftWay& way);
// The same for one table, out of what `nft list table` prints: "chain OUT, rule \"tcp dport 80 drop\"".
std::string deciding_rule_in(std::string_view listing, const NftWay& way);

// nft -f -: one transaction, all or nothing. The error is one line.
std::expected<void, std::string> feed_nft(const std::string& text);

}  // namespace init
