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

// The part of it that holds without a failed connection: a rule of somebody else that certainly comes first.
std::optional<std::string> certain_shadow(const iptables::Options& options, const iptables::FamilyRules& wanted, const iptables::Flow& flow,
                                          uint16_t redirect_port);

}  // namespace init
