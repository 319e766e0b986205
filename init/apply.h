#pragma once

#include <expected>
#include <string>

#include "iptables/options.h"
#include "iptables/rules.h"

namespace init {

// Makes the namespace hold exactly these rules of ours, in one backend, whatever earlier runs left; foreign rules stay.
// When a family fails, both are put back as they were. --hold-until-ready alone may be missing afterwards, with a warning.
// Refuses the namespace of the machine itself without --host. The error is one line that says what to do, and what stands when
// only something of an earlier run could not be removed.
std::expected<void, std::string> apply_rules(const iptables::Options& options, const iptables::RuleSet& wanted);

// Removes what any earlier run made, in both families and all backends: rules, chains, routes, the address ::6. `hint` is the
// rule set of the present options. What cannot be read is an error, after the rest is removed; a backend other than the forced one
// counts as empty then. With dry_run it prints what it would feed.
std::expected<void, std::string> clean_up(const iptables::Options& options, const iptables::RuleSet& hint);

}  // namespace init
