// --run-validation against real rules, ours and those of others, each in a namespace of its own. Needs root.
#include "init/validate.h"

#include <gtest/gtest.h>
#include <netinet/in.h>

#include "init/namespace_testing.h"
#include "init/native.h"
#include "init/probe.h"

namespace init {
namespace {

Config pod(std::vector<const char*> more = {}) {
  std::vector<const char*> arguments{"-i", "*", "-b", "*", "--enable-ipv6=true", "--probe-timeout=2s"};
  arguments.insert(arguments.end(), more.begin(), more.end());
  return config(arguments);
}

// What the validation says, good or bad.
std::string verdict(const Config& of) {
  const auto done = validate(of.options, of.facts, of.rules);
  return done ? *done : "failed: " + done.error();
}

bool says(const std::string& text, std::string_view part) {
  if (text.find(part) != std::string::npos) return true;
  std::fprintf(stderr, "\"%s\" does not hold \"%s\"\n", text.c_str(), std::string(part).c_str());
  return false;
}

constexpr std::string_view kAll = "IPv4 outbound, IPv4 inbound, IPv4 self-call, IPv6 outbound, IPv6 inbound, IPv6 self-call";

TEST(Validate, EveryBackend_AllDirectionsOfBothFamilies) {
  for (const char* backend : {"--force-iptables-binary=nft", "--force-iptables-binary=legacy", "--native-nftables"})
    for (const char* hold : {"--hold-until-ready=false", "--hold-until-ready"})
      EXPECT_TRUE(in_namespace([&] {
        CHECK_THAT(add_card());
        const auto of = pod({backend, hold});
        CHECK_THAT(good(apply_rules(of.options, of.rules)));
        CHECK_THAT(verdict(of) == kAll);
        return true;
      })) << backend
          << ' ' << hold;
}

TEST(Validate, NoRoute_OutboundIsLeftOut) {
  EXPECT_TRUE(in_namespace([] {
    const auto of = pod();
    CHECK_THAT(good(apply_rules(of.options, of.rules)));
    CHECK_THAT(verdict(of) == "IPv4 inbound, IPv6 inbound; left out: IPv4 outbound (no route), IPv6 outbound (no route)");
    return true;
  }));
}

TEST(Validate, NamespaceWithoutIpv6_ThatFamilyIsLeftOut) {
  EXPECT_TRUE(in_namespace([] {
    const auto of = pod();
    CHECK_THAT(good(apply_rules(of.options, of.rules)));
    CHECK_THAT(tool("sysctl", {"-qw", "net.ipv6.conf.all.disable_ipv6=1"}));
    CHECK_THAT(says(verdict(of), "IPv4 inbound; left out: IPv4 outbound (no route), IPv6 "));
    return true;
  }));
}

TEST(Validate, RangesAndPorts_ChooseADestinationThatIsCaptured) {
  for (const auto& captured :
       std::vector<std::vector<const char*>>{{"-i", "10.77.0.0/16,fd77::/32"},
                                             {"-i", "", "-q", "443"},
                                             {"-x", "192.0.2.0/24", "-i", "10.1.0.0/16"},
                                             {"-i", "*", "-x", "192.0.2.0/24,2001:db8::/32"},
                                             {"-i", "10.77.0.0/16,fd77::/32", "-x", "10.77.0.0/24,10.77.255.0/24,fd77::/64"},
                                             {"-i", "*", "-o", "15000:15100"}})
    EXPECT_TRUE(in_namespace([&] {
      CHECK_THAT(add_card());
      const auto of = pod(captured);
      CHECK_THAT(good(apply_rules(of.options, of.rules)));
      CHECK_THAT(says(verdict(of), "IPv4 outbound, IPv4 inbound, IPv4 self-call"));
      return true;
    })) << captured[1];
}

TEST(Validate, NoRules_Fails) {
  EXPECT_TRUE(in_namespace([] {
    CHECK_THAT(
        says(verdict(pod()),
             "failed: IPv4 inbound: the connection to 127.0.0.6:15002 was not captured: Connection refused; there are no rules of ours"));
    return true;
  }));
}

TEST(Validate, RulesOfOtherOptions_Fails) {
  EXPECT_TRUE(in_namespace([] {
    const auto made = pod(), asked = pod({"-u", "5"});
    CHECK_THAT(good(apply_rules(made.options, made.rules)));
    CHECK_THAT(says(verdict(asked), "failed: IPv4 inbound"));
    CHECK_THAT(says(verdict(asked), "were made for other options (iptables-nft)"));
    CHECK_THAT(tool("iptables-nft", {"-t", "nat", "-D", "OUTPUT", "-j", "ISTIO_OUTPUT"}));
    CHECK_THAT(says(verdict(made), "chain OUTPUT of table nat has 0 of 1 rules (iptables-nft)"));
    return true;
  }));
}

// Somebody else's rule, and what the validation says about it.
struct Foreign {
  const char* name;
  std::vector<std::string> command;
  std::string_view says;
};

TEST(Validate, ForeignRule_IsNamedWithTableChainAndText) {
  const std::vector<Foreign> all = {
      {"nft OUTPUT",
       {"iptables-nft", "-t", "nat", "-I", "OUTPUT", "-p", "tcp", "-j", "RETURN"},
       "a rule that is not ours decides first: table nat, chain OUTPUT, rule \"-p tcp -j RETURN\" (iptables-nft)"},
      {"IPv6",
       {"ip6tables-nft", "-t", "nat", "-I", "OUTPUT", "-p", "tcp", "-m", "tcp", "--dport", "15002", "-j", "REDIRECT", "--to-ports", "9"},
       "table nat, chain OUTPUT, rule \"-p tcp -m tcp --dport 15002 -j REDIRECT --to-ports 9\" (iptables-nft)"},
      {"legacy",
       {"iptables-legacy", "-t", "raw", "-A", "OUTPUT", "-p", "tcp", "-j", "CT", "--notrack"},
       "table raw, chain OUTPUT, rule \"-p tcp -j CT --notrack\" (iptables-legacy)"},
      {"INPUT",
       {"iptables-nft", "-A", "INPUT", "-p", "tcp", "-m", "tcp", "--dport", "15001", "-j", "DROP"},
       "table filter, chain INPUT, rule \"-p tcp -m tcp --dport 15001 -j DROP\" (iptables-nft)"},
      {"policy",
       {"iptables-nft", "-P", "INPUT", "DROP"},
       "a policy that is not ours decides first: table filter, chain INPUT, policy \"-P INPUT DROP\""},
      {"nft table",
       {"nft",
        "add table inet wall; add chain inet wall out { type filter hook output priority -200; }; add rule inet wall out tcp dport 15002 "
        "drop"},
       "may decide first: table inet wall, chain out, rule \"tcp dport 15002 drop\" (nft)"}};
  for (const auto& foreign : all)
    EXPECT_TRUE(in_namespace([&] {
      CHECK_THAT(add_card());
      const auto of = pod({"--probe-timeout=300ms"});
      CHECK_THAT(good(apply_rules(of.options, of.rules)));
      CHECK_THAT(verdict(of) == kAll);
      CHECK_THAT(tool(foreign.command.front(), {foreign.command.begin() + 1, foreign.command.end()}));
      const auto text = verdict(of);
      CHECK_THAT(says(text, "failed: ") && says(text, foreign.says) && text.find('\n') == std::string::npos);
      return true;
    })) << foreign.name;
}

// What of ours is missing for connections from outside cannot be seen by dialling from inside.
TEST(Validate, WayInIsIncomplete_FailsAndNamesIt) {
  struct Case {
    std::vector<const char*> options;
    std::vector<std::string> command;
    std::string_view says;
  };
  const std::vector<Case> all = {
      {{},
       {"iptables-nft", "-t", "nat", "-D", "PREROUTING", "-p", "tcp", "-j", "ISTIO_INBOUND"},
       "IPv4 inbound: connections from outside are not captured; chain PREROUTING of table nat has 0 of 1 rules (iptables-nft)"},
      {{},
       {"ip6tables-nft", "-t", "nat", "-F", "ISTIO_INBOUND"},
       "IPv6 inbound: connections from outside are not captured; chain ISTIO_INBOUND"},
      {{"--native-nftables"},
       {"nft", "flush", "chain", "ip", "istio-proxy-nat", "prerouting"},
       "not captured; chain prerouting of table istio-proxy-nat has no rules (nft)"},
      {{"-m", "TPROXY"}, {"iptables-nft", "-t", "mangle", "-D", "PREROUTING", "-p", "tcp", "-j", "ISTIO_INBOUND"}, "table mangle"},
      {{"-m", "TPROXY"},
       {"ip", "-6", "rule", "del", "fwmark", "1337"},
       "IPv6 inbound: connections from outside are not captured; TPROXY needs the rule that \"ip -6 rule add fwmark 1337 lookup 133\" "
       "makes"},
      {{"-m", "TPROXY"},
       {"ip", "route", "flush", "table", "133"},
       "TPROXY needs the route that \"ip route add local default dev lo table 133\" makes"}};
  for (const auto& one : all)
    EXPECT_TRUE(in_namespace([&] {
      CHECK_THAT(add_card());
      const auto of = pod(one.options);
      CHECK_THAT(good(apply_rules(of.options, of.rules)));
      CHECK_THAT(says(verdict(of), "IPv4 outbound, ") && verdict(of).find("failed") == std::string::npos);
      CHECK_THAT(tool(one.command.front(), {one.command.begin() + 1, one.command.end()}));
      const auto text = verdict(of);
      CHECK_THAT(says(text, "failed: ") && says(text, one.says) && text.find('\n') == std::string::npos);
      return true;
    })) << one.says;
}

// Istio's CNI plug-in makes its rules for other options than the container that validates them has.
TEST(Validate, OtherRulesThatCaptureToo_Pass) {
  EXPECT_TRUE(in_namespace([] {
    CHECK_THAT(add_card());
    const auto made = pod({"-o", "15020", "-d", "15090"}), asked = pod({"-d", "15020,15021,15090"});
    CHECK_THAT(good(apply_rules(made.options, made.rules)));
    CHECK_THAT(verdict(asked) == kAll);
    return true;
  }));
}

// Nothing of it was tried, and a client may be anybody.
TEST(Validate, ForeignRuleForConnectionsFromOutside_IsAWarning) {
  const std::pair<std::vector<std::string>, std::string_view> all[] = {
      {{"-p", "tcp", "-j", "ACCEPT"}, "table nat, chain PREROUTING, rule \"-p tcp -j ACCEPT\""},
      {{"-s", "192.0.2.0/24", "-j", "ACCEPT"}, ""},
      {{"-p", "tcp", "-m", "tcp", "!", "--sport", "1024:65535", "-j", "ACCEPT"}, ""}};
  for (const auto& one : all)
    EXPECT_TRUE(in_namespace([&] {
      CHECK_THAT(add_card());
      const auto of = pod();
      CHECK_THAT(good(apply_rules(of.options, of.rules)));
      std::vector<std::string> arguments{"-t", "nat", "-I", "PREROUTING"};
      const auto& [rule, warns] = one;
      arguments.insert(arguments.end(), rule.begin(), rule.end());
      CHECK_THAT(tool("iptables-nft", arguments));
      std::string text;
      const auto said = warnings([&] { text = verdict(of); });
      CHECK_THAT(text == kAll);
      CHECK_THAT(warns.empty() ? said.empty()
                               : says(said, warns) && says(said, "warning: IPv4 inbound: connections from outside may not be captured"));
      return true;
    })) << one.second;
}

TEST(Validate, EverythingExcluded_IsSaid) {
  EXPECT_TRUE(in_namespace([] {
    CHECK_THAT(add_card());
    const auto of = pod({"-i", "10.1.0.0/16", "-x", "10.0.0.0/8"});
    CHECK_THAT(good(apply_rules(of.options, of.rules)));
    CHECK_THAT(says(verdict(of), "; left out: IPv4 outbound (no address was found that the options do not exclude)"));
    return true;
  }));
}

TEST(Probe, ConnectionOfSomebodyElse_DoesNotCount) {
  EXPECT_TRUE(in_namespace([] {
    CHECK_THAT(add_card());
    const auto of = pod();
    CHECK_THAT(good(apply_rules(of.options, of.rules)));
    const auto wanted = Ear::open(true, 15001), other = Ear::open(true, 15006);
    CHECK_THAT(wanted && other);
    const auto stray = [](uint16_t port) {
      const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
      sockaddr_in to{};
      to.sin_family = AF_INET;
      to.sin_port = htons(port);
      to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
      return fd >= 0 && ::connect(fd, reinterpret_cast<const sockaddr*>(&to), sizeof to) == 0;
    };
    CHECK_THAT(stray(15001) && stray(15001) && stray(15006));  // wait in the queues already
    const auto outside = *base::SocketAddress::parse("192.0.2.1:15002");
    CHECK_THAT(good(probe({outside, {}, 0, 0, false}, *wanted, *other, std::chrono::seconds(5))));
    CHECK_THAT(stray(15006));
    const auto error = [&](const char* to) {
      const auto done = probe({*base::SocketAddress::parse(to), {}, 0, 0, false}, *other, *wanted, std::chrono::seconds(5));
      return done ? "arrived" : done.error();
    };
    CHECK_THAT(error("127.0.0.1:15001") == "the connection to 127.0.0.1:15001 arrived at port 15001 instead of 15006");
    // And without ours among them the one that came is what is told.
    const auto somebody = Ear::open(true, 15007);
    CHECK_THAT(somebody && stray(15006));
    CHECK_THAT(error("127.0.0.1:15007") == "the connection to 127.0.0.1:15007 arrived as one to 127.0.0.1:15006");
    return true;
  }));
}

// Nothing of a family is worse than a part of it, and dialling does not tell: the ways out are not there, and this user cannot
// become the proxy's.
TEST(Validate, NothingInOneFamily_FailsAndNamesIt) {
  for (const char* backend : {"--force-iptables-binary=nft", "--native-nftables"})
    EXPECT_TRUE(in_namespace([&] {
      CHECK_THAT(add_card() && tool("ip", {"-6", "route", "del", "default"}));
      auto of = pod({backend});
      CHECK_THAT(good(apply_rules(of.options, of.rules)));
      CHECK_THAT(tool("nft", {"flush", "ruleset", "ip6"}));
      of.options.backend = iptables::Backend::kDetect;  // legacy tables are hidden from this user, and still it is clear
      CHECK_THAT(become(1000, kAdmin));
      CHECK_THAT(verdict(of) == "failed: IPv6 inbound: connections from outside are not captured; there are no rules of ours");
      return true;
    })) << backend;
}

// Who cannot read legacy tables does not know whether the rules are there.
TEST(Validate, NothingInWhatCanBeRead_IsAWarning) {
  EXPECT_TRUE(in_namespace([] {
    CHECK_THAT(add_card() && tool("ip", {"-6", "route", "del", "default"}) && tool("ip", {"route", "del", "default"}));
    auto of = pod();
    of.options.backend = iptables::Backend::kDetect;
    CHECK_THAT(become(1000, kAdmin));
    std::string text;
    const auto said = warnings([&] { text = verdict(of); });
    const bool hidden = ::access("/proc/net/ip_tables_names", F_OK) == 0;
    CHECK_THAT(hidden
                   ? says(text, "nothing could be checked") && says(said, "whether connections from outside are captured cannot be known")
                   : says(text, "failed: IPv4 inbound: connections from outside are not captured; there are no rules of ours"));
    return true;
  }));
}

TEST(Validate, TproxyRulesOfAnotherMark_TheWayOfThatMarkCounts) {
  for (const char* backend : {"--force-iptables-binary=nft", "--native-nftables"})
    EXPECT_TRUE(in_namespace([&] {
      CHECK_THAT(add_card());
      const auto made = pod({backend, "-m", "TPROXY", "-t", "512", "-r", "400"}), asked = pod({backend, "-m", "TPROXY"});
      CHECK_THAT(good(apply_rules(made.options, made.rules)));
      CHECK_THAT(says(verdict(asked), "IPv4 outbound, ") && verdict(asked).find("failed") == std::string::npos);
      CHECK_THAT(tool("ip", {"-6", "route", "flush", "table", "400"}));
      CHECK_THAT(says(verdict(asked), "failed: IPv6 inbound") &&
                 says(verdict(asked), "\"ip -6 route add local default dev lo table 400\""));
      CHECK_THAT(tool("ip", {"rule", "del", "fwmark", "512"}));
      CHECK_THAT(says(verdict(asked), "failed: IPv4 inbound") && says(verdict(asked), "\"ip rule add fwmark 512 lookup 133\""));
      return true;
    })) << backend;
}

TEST(Validate, WithoutPrivilege_WhatThisUserCanDial) {
  const std::pair<unsigned, const char*> users[] = {
      {1337,
       "IPv4 inbound, IPv4 self-call, IPv6 inbound, IPv6 self-call; left out: "
       "IPv4 outbound (no address was found that the options do not exclude for this user), "
       "IPv6 outbound (no address was found that the options do not exclude for this user)"},
      {1000,
       "IPv4 outbound, IPv6 outbound; left out: IPv4 inbound (cannot become the proxy's user), IPv4 self-call (cannot become the proxy's "
       "user), IPv6 inbound (cannot become the proxy's user), IPv6 self-call (cannot become the proxy's user)"}};
  for (const auto& [user, checked] : users)
    EXPECT_TRUE(in_namespace([&] {
      CHECK_THAT(add_card());
      const auto of = pod();
      CHECK_THAT(good(apply_rules(of.options, of.rules)));
      CHECK_THAT(become(user, 0));
      CHECK_THAT(verdict(of) == checked);
      return true;
    })) << user;
}

TEST(Validate, NothingThatThisUserCanDial_IsNoSuccess) {
  EXPECT_TRUE(in_namespace([] {
    const auto of = pod();
    CHECK_THAT(good(apply_rules(of.options, of.rules)));
    CHECK_THAT(become(1000, 0));
    CHECK_THAT(
        says(verdict(of), "failed: nothing could be checked: IPv4 outbound (no route), IPv4 inbound (cannot become the proxy's user)"));
    return true;
  }));
}

TEST(Validate, ProxyThere_SaysThatItComesTooLate) {
  EXPECT_TRUE(in_namespace([] {
    const auto of = pod();
    CHECK_THAT(good(apply_rules(of.options, of.rules)));
    const auto ear = Ear::open(true, 15006);
    CHECK_THAT(ear);
    CHECK_THAT(says(verdict(of), "cannot listen on 127.0.0.1:15006: Address already in use; it runs before the proxy"));
    return true;
  }));
}

TEST(DecidingRule, Listing_OnlyOfTablesWithThatHook) {
  constexpr std::string_view kListing =
      "table inet wall {\n\tchain helper {\n\t\ttcp dport 80 counter packets 0 bytes 0 dnat to 10.0.0.1\n\t}\n"
      "\tchain out {\n\t\ttype filter hook output priority filter; policy accept;\n\t\tjump helper\n\t}\n}\n";
  EXPECT_EQ(deciding_rule_in(kListing, true), "chain helper, rule \"tcp dport 80 counter packets 0 bytes 0 dnat to 10.0.0.1\"");
  EXPECT_EQ(deciding_rule_in(kListing, false), "");
  EXPECT_EQ(deciding_rule_in("table ip x {\n\tchain in {\n\t\ttype filter hook prerouting priority 0; policy drop;\n", false),
            "chain in, rule \"type filter hook prerouting priority 0; policy drop;\"");
  EXPECT_EQ(deciding_rule_in("", true), "");
}

}  // namespace
}  // namespace init
