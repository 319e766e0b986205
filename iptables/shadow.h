#pragma once

#include <optional>
#include <string>

#include "iptables/plan.h"
#include "iptables/trace.h"

namespace iptables {

// A rule of somebody else that settles what happens to a flow before ours do, or that keeps it from the proxy's port.
struct Shadow {
  Table table = Table::kNat;
  Rule rule;             // spec in the save's spelling; "-P INPUT DROP" stands for a policy
  bool certain = false;  // every condition of it was understood; else it may apply
};

// The first such rule that certainly applies, else the first that may. `own` is own_rules() of the same save; where it has
// nothing in a chain, only what drops or turns away counts, because ours are in another backend. `redirect_port`: where ours
// turn the flow to, 0 when they do not. Pure; knows no routes.
std::optional<Shadow> find_shadow(const Saved& saved, const FamilyRules& own, const Flow& flow, uint16_t redirect_port);

// "table nat, chain OUTPUT, rule -p tcp -j RETURN"
std::string text(const Shadow& shadow);

}  // namespace iptables
