#pragma once

#include <chrono>
#include <string_view>
#include <vector>

#include "base/ip.h"

namespace init {

// The addresses of a family that somebody else could talk to: neither loopback nor link-local nor our ::6. A new IPv6 address is
// tentative for a second or two: the kernel asks its neighbours for somebody who has it already (RFC 4862 §5.4), and until
// then, or for ever when there is one, nobody can dial it. The pod has it all the same, so rules are made for it.
struct Addresses {
  std::vector<base::Ip> usable, tentative, duplicate;
};

// Sorts `own` by what the text of /proc/net/if_inet6 says about them; what is not in it can be used.
Addresses sorted(const std::vector<base::Ip>& own, bool ipv4, std::string_view if_inet6);

// Those of this namespace. Where the only ones are tentative it waits until one can be used, for at most `patience`.
Addresses await_addresses(bool ipv4, std::chrono::milliseconds patience);

}  // namespace init
