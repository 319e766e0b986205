#pragma once

#include <cstdint>
#include <expected>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "init/wire.h"

namespace init {

// What the rules need besides tables: a way to lo for marked packets (TPROXY) and the address ::6. Talks rtnetlink to the
// network namespace it was opened in; every call is one exchange that waits for the kernel's answer. Errors are one line.
class Netlink {
 public:
  static std::expected<Netlink, std::string> open();

  // ip route add local default dev lo table TABLE, ip rule add fwmark MARK lookup TABLE. False when both were there already, with
  // whatever number the rule has. A table with another default route is somebody else's, which is an error.
  std::expected<bool, std::string> add_local_route(bool ipv4, uint32_t mark, uint32_t table);
  // What of these two is missing, in words; empty when both are there. A rule for the mark may lead to another table that has
  // the route: rules of other options are as good.
  std::string local_route_gap(bool ipv4, uint32_t mark, uint32_t table);
  // Removes the rules that add_local_route made, those that Istio's program made for one of `marks`, however many (it adds one
  // more at each run), and the routes they lead to, as well as the route out of `also_table`. Istio's are known by their mark
  // and table: `also_table`, Istio's own, or one that leads to lo by a rule with a number that the kernel usually chooses. Any
  // other is somebody else's, and keeps the route that it leads to. `keep` stays. A list that the kernel does not give is an error;
  // a kernel without IPv6 or without policy routing has nothing to remove.
  struct Stale {
    std::set<uint32_t> marks;
    uint32_t also_table = 0;
    std::optional<std::pair<uint32_t, uint32_t>> keep;  // mark and table that are still wanted
  };
  std::expected<void, std::string> remove_local_routes(bool ipv4, const Stale& stale);
  // ip -6 addr add ::6/128 dev lo: the proxy's source address when it hands a connection to the app. False: it was there.
  std::expected<bool, std::string> add_marker_address();
  // Waits until a new ::6 can be used: the kernel finishes an address in the background, and --run-validation dials it at once.
  void await_marker_address() const;
  std::expected<void, std::string> remove_marker_address();
  // What the interfaces are: "veth", "bridge"; those without a kind, as lo and real cards, are left out. Empty: it cannot be known.
  std::vector<std::string> link_kinds();

 private:
  explicit Netlink(Wire wire) : wire_(std::move(wire)) {}
  struct Way {  // an `ip rule` that leads to a table
    uint32_t mark, table, priority;
    bool own;         // made by us
    bool marks_only;  // asks for the mark, all of it, as ours and Istio's do
    auto operator<=>(const Way&) const = default;
  };
  int ways(bool ipv4, std::set<Way>& out);
  int remove_rule(bool ipv4, const Way& way);
  struct Defaults {  // the default routes of a table
    bool to_lo = false, elsewhere = false;
  };
  using AllDefaults = std::map<uint32_t, Defaults>;  // by table
  int defaults(bool ipv4, AllDefaults& out);

  Wire wire_;
};

}  // namespace init
