#pragma once

#include <string_view>
#include <vector>

#include "base/ip.h"
#include "iptables/rules.h"
#include "iptables/trace.h"

namespace init {

// Everything the rule set depends on besides the options: addresses of the interfaces, resolvers, the proxy user's id.
// Reads the network namespace and /etc; a file that is missing counts as empty.
iptables::Facts observe(const iptables::Options& options);

// The addresses of the interfaces, without loopback and our ::6.
std::vector<base::Ip> own_addresses();

// Whether the namespace has an IPv6 address that somebody else could talk to: not loopback, not link-local, not our ::6.
bool has_global_ipv6();

// The `nameserver` lines of a resolv.conf; a zone is cut off, what is no address is skipped.
std::vector<base::Ip> nameservers(std::string_view resolv_conf);

// The uid of a user in the text of a passwd file; empty when it has no such user. No name service is asked.
std::string uid_of(std::string_view passwd, std::string_view user);

// The lines of a group file that have a name and a number. No name service is asked.
std::vector<iptables::Group> groups_of(std::string_view group_file);

// A bit of the effective capabilities in the text of /proc/self/status, e.g. CAP_NET_ADMIN = 12.
bool has_capability(std::string_view proc_status, unsigned bit);

std::string read_file(const char* path);  // empty when it cannot be read

}  // namespace init
