#include "init/machine.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>

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

// Runs the body in a child that has entered the network namespace of a process.
bool in_network_of(const char* folder, const std::function<bool()>& body) {
  const pid_t child = ::fork();
  if (child == 0) {
    const int fd = ::open(fmt::format("{}/ns/net", folder).c_str(), O_RDONLY | O_CLOEXEC);
    ::_exit(::setns(fd, CLONE_NEWNET) == 0 && body() ? 0 : 1);
  }
  int status = 1;
  ::waitpid(child, &status, 0);
  return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

// A thread of the kernel lives where the kernel booted, and number 2 can be seen by who has the machine's process ids.
TEST(Surroundings, WhereTheKernelBooted_IsTheMachine) {
  const bool first_pidns = read_file("/proc/2/comm") == "kthreadd\n";
  if (!first_pidns) {  // this test runs in a container
    EXPECT_FALSE(surroundings().first_pidns);
    return;
  }
  EXPECT_TRUE(in_network_of("/proc/2", [] {
    const auto at = surroundings();
    CHECK_THAT(at.first_netns && at.first_pidns && is_machine(at));
    CHECK_THAT(!may_make_rules(at, false) && may_make_rules(at, true));
    return true;
  }));
}

}  // namespace
}  // namespace init
