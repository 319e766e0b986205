#pragma once

#include <optional>
#include <string>

#include "iptables/options.h"
#include "iptables/rules.h"
#include "iptables/shadow.h"

namespace init {

// Why a flow that the rules should capture is not, out of what all backends hold: a rule of somebody else before ours, named by
// table, chain and text; ours missing or made for other options. One line; empty when nothing is found. Needs NET_ADMIN.
std::string diagnose(const iptables::Options& options, const iptables::FamilyRules& wanted, const iptables::Flow& flow,
                     uint16_t redirect_port);

// What is missing of ours for a connection from outside, which the wanted rules capture: rules of the tables that would turn it
// to the proxy, and for TPROXY the way to lo. One line; empty when nothing is, also when rules of other options do it, and, with
// a warning, where they may stand in a backend that cannot be read. Of native tables only the beginning of the way is looked at.
std::string gap_for(const iptables::Options& options, const iptables::FamilyRules& wanted, const iptables::Flow& inbound);

// Whether any backend that can be read holds rules of ours for the family.
bool has_own_rules(const iptables::Options& options, bool ipv4);

// A rule of somebody else that comes first, as far as that can be told without a connection.
std::optional<std::string> certain_shadow(const iptables::Options& options, const iptables::FamilyRules& wanted, const iptables::Flow& flow,
                                          uint16_t redirect_port);

}  // namespace init
