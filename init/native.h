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

// A sentence about a table that nft made for somebody else and that hooks where connections leave (`outbound`) or come in: its
// first rule that drops or turns packets. Empty when there is none. Conditions are not weighed.
std::string foreign_nft_rule(bool ipv4, bool outbound);
// The same for one table, out of what `nft list table` prints: "chain OUT, rule \"tcp dport 80 drop\"".
std::string deciding_rule_in(std::string_view listing, bool outbound);

// nft -f -: one transaction, all or nothing. The error is one line.
std::expected<void, std::string> feed_nft(const std::string& text);

}  // namespace init
