#pragma once

#include <expected>
#include <string>

#include "iptables/options.h"
#include "iptables/rules.h"

namespace init {

// Checks with real connections, per family, that what the rules should capture is captured: a connection of the app to the
// outside, one of the proxy's user to the address that stands for inbound (127.0.0.6, ::6, as Istio's validation does), and one
// of the proxy's user to the pod's own address. What the rules leave alone, or what this user or this namespace cannot dial,
// is left out and said. New connections from outside cannot be made from inside, so for them the rules are read instead.
// Listens on loopback at the proxy's two ports meanwhile, so the proxy must not run yet. Waits at most --probe-timeout per
// connection. Needs no capability when it runs as the proxy's user; with NET_ADMIN a failure names the rule that is in the way.
// The value says what was checked and what was left out. Istio: tools/istio-iptables/pkg/validation.
std::expected<std::string, std::string> validate(const iptables::Options& options, const iptables::Facts& facts,
                                                 const iptables::RuleSet& rules);

}  // namespace init
