#pragma once

#include <cstddef>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace init {

// A look into nf_tables without a program: an exec of one costs the start of a pod 5 to 10 ms. iptables-nft and nft keep their
// tables in the same place. nullopt: the kernel cannot or would not say, or changed something meanwhile; ask the programs.

struct NftTable {
  std::string family, name;  // "ip" and "nat", as nft prints them
  friend bool operator==(const NftTable&, const NftTable&) = default;
};
std::optional<std::vector<NftTable>> nft_tables();

// How many rules each chain of a family has: (table, chain) → number; chains without rules are left out.
using RuleCounts = std::map<std::pair<std::string, std::string>, size_t>;
std::optional<RuleCounts> nft_rule_counts(bool ipv4);

// The same, and how many rules of a table have which comment: (table, comment) → number.
struct NftRules {
  RuleCounts counts, comments;
};
std::optional<NftRules> nft_rules(bool ipv4);

}  // namespace init
