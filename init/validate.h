#pragma once

#include <expected>
#include <string>

#include "iptables/options.h"
#include "iptables/rules.h"

namespace init {

// Checks with a real connection per family that the rules work: a socket of the proxy's user dials the marker address at
// --iptables-probe-port and must arrive at the inbound port with that destination on record. Listens on loopback at the
// proxy's two ports meanwhile, so the proxy must not run yet. Waits at most --probe-timeout per family. Needs no capability
// when it runs as the proxy's user. Istio: tools/istio-iptables/pkg/validation.
std::expected<void, std::string> validate(const iptables::Options& options, const iptables::Facts& facts);

}  // namespace init
