#pragma once

#include "proxy/options.h"
#include "routing/engine.h"

namespace proxy {

// Who this proxy is: from its Pod in the configuration (and again whenever that changes), else from the downward API files
// and the interfaces.
routing::Proxy self_of(const api::Mesh& mesh, const Options& options);

// Worker threads when nobody says: the CPU limit of the cgroup rounded up, else 2.
unsigned default_concurrency();

// Addresses of the interfaces that are up, without loopback and link-local ones and those that IPv6 still checks or found taken.
std::vector<base::Ip> interface_addresses();

}  // namespace proxy
