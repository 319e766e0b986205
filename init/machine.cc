#include "init/machine.h"

#include <unistd.h>

#include <algorithm>
#include <string_view>

#include "init/netlink.h"

namespace init {
namespace {

// Settings of the whole kernel are shown in the first network namespace only, on every kernel since 2.6.24; the inode number
// of that namespace is fixed since 6.18 only.
bool in_first_netns() {
  return ::access("/proc/sys/net/core/dev_weight", F_OK) == 0 && ::access("/proc/sys/net/core/netdev_budget", F_OK) == 0;
}

// PROC_PID_INIT_INO of the kernel, the same since 3.8.
bool in_first_pidns() {
  char name[64];
  const auto size = ::readlink("/proc/self/ns/pid", name, sizeof name);
  return size > 0 && std::string_view(name, static_cast<size_t>(size)) == "pid:[4026531836]";
}

bool has_links_to_others() {
  auto netlink = Netlink::open();
  if (!netlink) return false;
  const auto kinds = netlink->link_kinds();
  return std::ranges::any_of(kinds, [](const std::string& kind) { return kind == "veth" || kind == "bridge"; });
}

}  // namespace

Surroundings surroundings() {
  Surroundings at;
  at.first_netns = in_first_netns();
  if (!at.first_netns) return at;  // settles it; the rest costs system calls
  at.first_pidns = in_first_pidns();
  at.serves_others = has_links_to_others();
  return at;
}

bool is_machine(const Surroundings& at) noexcept { return at.first_netns && (at.first_pidns || at.serves_others); }

std::expected<void, std::string> may_make_rules(const Surroundings& at, bool host) {
  if (host || !is_machine(at)) return {};
  return std::unexpected(
      "this is the network namespace of the machine, not of a pod (hostNetwork?): rules here would take the traffic of everything on it; "
      "leave such pods out of the mesh, or give --host when the machine itself is to be in it");
}

}  // namespace init
