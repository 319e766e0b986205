#include "init/machine.h"

#include <algorithm>

#include <gtest/gtest.h>

#include "init/namespace_testing.h"
#include "init/netlink.h"

namespace init {
namespace {

TEST(IsMachine, PodsAndSmallVirtualMachines_AreNone) {
  EXPECT_FALSE(is_machine({.first_netns = false, .first_pidns = false, .serves_others = false}));
  EXPECT_FALSE(is_machine({.first_netns = false, .first_pidns = true, .serves_others = true}));  // ip netns exec on a node
  EXPECT_FALSE(is_machine({.first_netns = true, .first_pidns = false, .serves_others = false}));
}

TEST(IsMachine, NodesAndPlainMachines_Are) {
  EXPECT_TRUE(is_machine({.first_netns = true, .first_pidns = false, .serves_others = true}));  // hostNetwork on a node
  EXPECT_TRUE(is_machine({.first_netns = true, .first_pidns = true, .serves_others = false}));
}

TEST(MayMakeRules, Machine_OnlyWithHost) {
  const Surroundings node{.first_netns = true, .first_pidns = false, .serves_others = true};
  const auto refused = may_make_rules(node, false);
  ASSERT_FALSE(refused);
  EXPECT_NE(refused.error().find("give --host"), std::string::npos);
  EXPECT_EQ(refused.error().find('\n'), std::string::npos);
  EXPECT_TRUE(may_make_rules(node, true));
  EXPECT_TRUE(may_make_rules({}, false));
}

TEST(Surroundings, NamespaceOfItsOwn_IsNoMachineWhateverItsLinks) {
  EXPECT_TRUE(in_namespace([] {
    CHECK_THAT(tool("ip", {"link", "add", "eth0", "type", "veth", "peer", "name", "other"}));
    CHECK_THAT(tool("ip", {"link", "add", "cni0", "type", "bridge"}));
    CHECK_THAT(!surroundings().first_netns && !is_machine(surroundings()));
    auto netlink = Netlink::open();
    CHECK_THAT(netlink);
    const auto kinds = netlink->link_kinds();
    CHECK_THAT(std::ranges::count(kinds, "bridge") == 1 && std::ranges::count(kinds, "veth") == 2);
    return true;
  }));
}

}  // namespace
}  // namespace init
