#pragma once

#include <cstdint>
#include <expected>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "iptables/rules.h"

namespace init {

// Whether tables of nft hold what was or would be fed. The kernel gives rules back in its own words, so each rule carries, as
// its comment, a digest of the text of its table: what somebody put in has none, and how many rules each chain has shows what
// somebody took.

// The text of nft_text without tables to delete, with the comments.
std::string with_digests(std::string_view text);

// The first difference between the native tables of the namespace and such a text, in words; empty when there is none. The error
// says why the kernel gave no answer.
std::expected<std::string, std::string> native_difference(std::string_view text);

// Replaces the tables `stale` by `rules` in one transaction and reads the kernel's back. When they differ, `before`, a text that
// nft reads, takes their place, and the error says so; when the kernel gives no answer they stay, with a warning.
std::expected<void, std::string> feed_native(const iptables::RuleSet& rules, const std::vector<std::string>& stale, const std::string& before);

// What `nft --stateless list table` prints of a table ("ip istio-proxy-nat"), which nft reads back; empty when it cannot.
std::string native_listing(const std::string& table);

// The ports to which rules of such a listing turn connections.
std::set<uint16_t> ports_in(std::string_view listing);

}  // namespace init
