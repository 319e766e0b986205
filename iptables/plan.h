#pragma once

#include <array>
#include <cstdint>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "iptables/rules.h"

namespace iptables {

// What iptables-save printed for one family, as far as it matters here: four tables, rules in the save's own spelling,
// which iptables-restore reads back.
struct Saved {
  struct Contents {
    std::vector<std::string> chains;    // made by somebody, not built in
    std::vector<Rule> rules;            // all appended, in order
    std::vector<std::string> dropping;  // built-in chains with the policy DROP
  };
  std::array<Contents, kTables.size()> tables;
  bool others = false;  // rules or chains in a table that is not among ours (security)
  const Contents& operator[](Table table) const noexcept { return tables[static_cast<size_t>(table)]; }
  Contents& operator[](Table table) noexcept { return tables[static_cast<size_t>(table)]; }
  bool has_rules() const noexcept;  // anybody's: an empty registered table does not count as a backend in use
  bool has_own_chains() const noexcept;
};

// Reads the output of iptables-save; lines it does not know are skipped.
Saved parse_saved(std::string_view text);

// A rule in one spelling: `--set-mark 1337` and `--set-xmark 0x539/0xffffffff` give the same text, whatever the order of matches.
std::string canonical(std::string_view spec);

// What an earlier run of ours, or of Istio, left in the family: everything in ISTIO_ chains, jumps to them, and the few rules
// of built-in chains that jump elsewhere, found by the marks that our chains name, and those of excluded interfaces where both
// stand right before our jumps, in and out; make_plan sees to it that no such pair of somebody else comes to stand there. `hint`
// holds the rules of the present options: what equals one of them counts as ours too. Foreign rules never do, nor does a jump to
// us from a chain of somebody else; `foreign` are those that are known to be somebody else's, because they stood there before
// the present run and were not ours.
FamilyRules own_rules(const Saved& saved, const FamilyRules& hint, const FamilyRules& foreign = {});

// The rules of built-in chains that are not among `own`, which own_rules found in the same `saved`.
FamilyRules foreign_rules(const Saved& saved, const FamilyRules& own);

// The ports to which rules, of own_rules, turn TCP connections: of REDIRECT and TPROXY.
std::set<uint16_t> proxy_ports(const FamilyRules& own);

// Of what own_rules found in mangle, what the connections need that TPROXY has delivered already; it delivers no new one.
std::vector<Rule> without_new_ones(const std::vector<Rule>& own);

// The packet marks that TPROXY rules in our chains set or ask for; 1338, which Istio fixes, is not among them.
std::set<uint32_t> marks_of(const Saved& saved);

enum class Change : uint8_t { kNothing, kCreate, kReplace, kRemove };

struct Plan {
  Change change = Change::kNothing;
  std::string text;  // for iptables-restore --noflush; empty when nothing is to be done
};

// How to get from `own` (out of own_rules of what is there now) to `wanted`. A table that is right already is left out; one
// without anything of ours gets Istio's text; any other is swapped or emptied in one commit, so no packet ever meets half a
// rule set. A jump from a chain of somebody else goes with the chain of ours that it leads to. nat comes last when rules are made and first
// when they go. `force` swaps even what is equal. Where somebody else leaves an interface alone in both directions as
// Istio does, a jump to kOthersChain comes before our rules, so that a later run knows what is not ours.
Plan make_plan(const Saved& saved, const FamilyRules& own, const FamilyRules& wanted, bool force);

// After feeding the plan: the first difference between what is there and what was wanted, in words; empty when there is none.
// Compares how many rules each chain has, because the kernel's spelling of a group's name is a number.
std::string missing(const Saved& saved, const FamilyRules& own, const FamilyRules& wanted);

}  // namespace iptables
