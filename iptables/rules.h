#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/ip.h"
#include "iptables/options.h"

namespace iptables {

// In the order in which they are switched on: nat is what captures, so everything it relies on is there before it.
enum class Table : uint8_t { kRaw, kMangle, kFilter, kNat };
inline constexpr std::array kTables{Table::kRaw, Table::kMangle, Table::kFilter, Table::kNat};
std::string_view name_of(Table table) noexcept;

struct Rule {
  std::string chain;
  int position = 0;  // 0 appends, N inserts before the Nth
  std::string spec;  // "-p tcp --dport 80 -j RETURN"
  std::string_view why{};  // for people, a constant; empty for what was read from the kernel
};

// The rules of one address family, per table in the order in which they are made.
struct FamilyRules {
  std::array<std::vector<Rule>, kTables.size()> tables;
  std::vector<Rule>& operator[](Table table) noexcept { return tables[static_cast<size_t>(table)]; }
  const std::vector<Rule>& operator[](Table table) const noexcept { return tables[static_cast<size_t>(table)]; }
  bool empty() const noexcept;
};

// What the namespace adds to the options.
struct Facts {
  bool ipv6 = false;                  // make IPv6 rules
  std::vector<base::Ip> dns_servers;  // of both families
  std::string proxy_id = "1337";      // uid of $ENVOY_USER, used when no --proxy-uid is given
};

struct RuleSet {
  FamilyRules v4, v6;  // v6 is empty without Facts::ipv6
  const FamilyRules& family(bool ipv4) const noexcept { return ipv4 ? v4 : v6; }
  FamilyRules& family(bool ipv4) noexcept { return ipv4 ? v4 : v6; }
};

// The chain of --hold-until-ready. Istio's programs take any other chain named ISTIO… for a difference to their own rules.
inline constexpr std::string_view kHoldChain = "SLUICE_HOLD";

// A chain without rules. The jump to it in OUTPUT divides rules of somebody else from ours where nothing else would tell them apart.
inline constexpr std::string_view kOthersChain = "SLUICE_OTHERS";

// The chains that Istio's programs and ours own; any other chain is somebody else's.
bool is_own_chain(std::string_view chain) noexcept;
bool is_builtin_chain(std::string_view chain) noexcept;

// Istio's rule set for these options, rule for rule; our own options add to it. Pure; cannot fail.
RuleSet build_rules(const Options& options, const Facts& facts);

// Whether the options need `ip rule` and a local route, as TPROXY does when it captures anything.
bool needs_tproxy_routes(const Options& options) noexcept;

// The chains to declare for one table: owners of rules in order of appearance, then targets nobody owns.
std::vector<std::string> own_chains(const std::vector<Rule>& rules);

// Text for iptables-restore --noflush in a family without earlier rules, in Istio's spelling; empty for no rules.
std::string restore_text(const FamilyRules& rules);

}  // namespace iptables
