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
// connection, and at most 3 seconds for an IPv6 address that is still tentative; one that cannot be used then is left out with a
// warning. Needs no capability when it runs as the proxy's user; with NET_ADMIN a failure names the rule that is in the way.
// The value says what was checked and what was left out. Istio: tools/istio-iptables/pkg/validation.
struct Invalid {
  // False: whether connections are captured is not known, because nothing could be checked. Ports that are taken count as Istio
  // counts them, as not captured.
  bool not_captured = true;
  std::string why;
};
std::expected<std::string, Invalid> validate(const iptables::Options& options, const iptables::Facts& facts,
                                             const iptables::RuleSet& rules);

// What there is to validate after apply_rules, which goes without rules for IPv6 where they are refused and no address needs them.
iptables::RuleSet applied(const iptables::Options& options, iptables::RuleSet rules);

}  // namespace init
