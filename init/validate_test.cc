// --run-validation against real rules, ours and those of others, each in a namespace of its own. Needs root.
#include "init/validate.h"

#include <gtest/gtest.h>

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
    CHECK_THAT(verdict(of) == "IPv4 inbound, IPv6 inbound");
    return true;
  }));
}

TEST(Validate, NamespaceWithoutIpv6_ThatFamilyIsLeftOut) {
  EXPECT_TRUE(in_namespace([] {
    const auto of = pod();
    CHECK_THAT(good(apply_rules(of.options, of.rules)));
    CHECK_THAT(tool("sysctl", {"-qw", "net.ipv6.conf.all.disable_ipv6=1"}));
    CHECK_THAT(verdict(of) == "IPv4 inbound");
    return true;
  }));
}

TEST(Validate, RangesAndPorts_ChooseADestinationThatIsCaptured) {
  for (const auto& captured : std::vector<std::vector<const char*>>{
           {"-i", "10.77.0.0/16,fd77::/32"}, {"-i", "", "-q", "443"}, {"-x", "192.0.2.0/24", "-i", "10.1.0.0/16"}})
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
      {"PREROUTING",
       {"iptables-nft", "-t", "nat", "-I", "PREROUTING", "-p", "tcp", "-j", "ACCEPT"},
       "IPv4 inbound: connections from outside are not captured; a rule that is not ours decides first: table nat, chain PREROUTING, rule "
       "\"-p tcp -j ACCEPT\""},
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

TEST(Validate, WithoutPrivilege_WhatThisUserCanDial) {
  const std::pair<unsigned, const char*> users[] = {{1337, "IPv4 inbound, IPv4 self-call, IPv6 inbound, IPv6 self-call"},
                                                    {1000, "IPv4 outbound, IPv6 outbound"}};
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
