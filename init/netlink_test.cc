// Whose an `ip rule` and a route are, in namespaces that end with the test. Needs root.
#include "init/netlink.h"

#include <fcntl.h>
#include <gtest/gtest.h>

#include "init/namespace_testing.h"

namespace init {
namespace {

struct Lists {  // of both families
  std::string rules, routes;
  friend bool operator==(const Lists&, const Lists&) = default;
};
Lists lists() {
  Lists out;
  for (const char* family : {"-4", "-6"}) {
    out.rules += output("ip", {family, "rule"});
    out.routes += output("ip", {family, "route", "show", "table", "133"});
  }
  return out;
}

bool both(const std::vector<std::string>& arguments) {
  for (const char* family : {"-4", "-6"}) {
    std::vector<std::string> all{family};
    all.insert(all.end(), arguments.begin(), arguments.end());
    if (!tool("ip", all)) return false;
  }
  return true;
}

bool remove(const Netlink::Stale& stale) {
  auto netlink = Netlink::open();
  return good(netlink) && good(netlink->remove_local_routes(true, stale)) && good(netlink->remove_local_routes(false, stale));
}

// `ip rule add` takes the number before the first one that is there.
TEST(LocalRoutes, IstiosRuleWithAnyNumber_IsKnownByMarkAndTable) {
  EXPECT_TRUE(in_namespace([] {
    CHECK_THAT(both({"rule", "add", "fwmark", "7", "lookup", "700", "pref", "100"}));
    const auto before = lists();
    CHECK_THAT(both({"rule", "add", "fwmark", "1337", "lookup", "133"}) &&
               both({"route", "add", "local", "default", "dev", "lo", "table", "133"}));
    CHECK_THAT(output("ip", {"rule"}).find("99:\tfrom all fwmark 0x539 lookup 133") != std::string::npos);
    const auto theirs = lists();
    // It does what ours would do, so nothing is added, and nothing is ours to take back.
    auto netlink = Netlink::open();
    CHECK_THAT(good(netlink));
    for (const bool ipv4 : {true, false}) {
      const auto added = netlink->add_local_route(ipv4, 1337, 133);
      CHECK_THAT(good(added) && !*added);
    }
    CHECK_THAT(lists() == theirs);
    const auto none = config({});
    CHECK_THAT(good(clean_up(none.options, none.rules)));
    CHECK_THAT(lists() == before);
    return true;
  }));
}

TEST(LocalRoutes, TableThatARuleOfSomebodyElseLeadsTo_KeepsItsRoute) {
  for (const std::vector<std::string>& rule : {std::vector<std::string>{"fwmark", "7"}, {"from", "10.8.0.2"}, {"fwmark", "1337/0xfff"}})
    EXPECT_TRUE(in_namespace([&] {
      std::vector<std::string> add{"-4", "rule", "add"};
      add.insert(add.end(), rule.begin(), rule.end());
      add.insert(add.end(), {"lookup", "133", "pref", "100"});
      CHECK_THAT(tool("ip", add) && tool("ip", {"route", "add", "local", "default", "dev", "lo", "table", "133"}));
      const auto before = lists();
      const auto tproxy = config({"-i", "*", "-b", "*", "-m", "TPROXY", "--enable-ipv6=true"}), none = config({});
      CHECK_THAT(good(apply_rules(tproxy.options, tproxy.rules)));
      CHECK_THAT(lists() != before);
      CHECK_THAT(good(clean_up(none.options, none.rules)));
      CHECK_THAT(lists() == before);
      return true;
    })) << rule.front();
}

TEST(LocalRoutes, RuleThatIsKept_KeepsItsRoute) {
  EXPECT_TRUE(in_namespace([] {
    CHECK_THAT(both({"rule", "add", "fwmark", "1337", "lookup", "133", "pref", "100"}) &&
               both({"route", "add", "local", "default", "dev", "lo", "table", "133"}));
    const auto before = lists();
    CHECK_THAT(remove({{1337}, 133, std::pair(1337u, 133u)}) && lists() == before);
    CHECK_THAT(remove({{1338}, 133, {}}) && lists() == before);  // a mark that nothing of ours has
    CHECK_THAT(remove({{1337}, 133, {}}) && lists() != before && lists().routes.empty());
    return true;
  }));
}

// What cannot be looked at is not clean.
TEST(LocalRoutes, ListThatTheKernelDoesNotGive_IsAnError) {
  EXPECT_TRUE(in_namespace([] {
    const int next = ::open("/dev/null", O_RDONLY | O_CLOEXEC);  // the number that the socket gets
    ::close(next);
    auto netlink = Netlink::open();
    CHECK_THAT(good(netlink));
    CHECK_THAT(::close(next) == 0);
    const auto done = netlink->remove_local_routes(true, {{1337}, 133, {}});
    CHECK_THAT(!done && done.error() == "ip rule: Bad file descriptor");
    const auto added = netlink->add_local_route(false, 1337, 133);
    CHECK_THAT(!added && added.error() == "ip -6 route: Bad file descriptor");
    CHECK_THAT(netlink->local_route_gap(true, 1337, 133) == "ip rule: Bad file descriptor");
    return true;
  }));
}

}  // namespace
}  // namespace init
