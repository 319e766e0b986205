// --run-validation against real rules, ours and those of others, each in a namespace of its own. Needs root.
#include "init/validate.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <netinet/in.h>

#include <chrono>

#include "init/addresses.h"
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
  return done ? *done : (done.error().not_captured ? "failed: " : "not known: ") + done.error().why;
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
      {"nft arrival",
       {"nft",
        "add table inet wall; add chain inet wall in { type filter hook input priority 0; }; add rule inet wall in tcp dport 22 "
        "drop; add rule inet wall in tcp dport 15006 drop"},
       "IPv4 inbound: the connection to 127.0.0.6:15002 did not arrive within 300 ms; a rule that is not ours may decide first: table inet "
       "wall, chain in, rule \"tcp dport 15006 drop\" (nft)"},
      {"nft policy",
       {"nft",
        "add table inet wall; add chain inet wall in { type filter hook input priority 0; policy drop; }; add rule inet wall in "
        "tcp dport 22 accept"},
       "table inet wall, chain in, rule \"type filter hook input priority filter; policy drop;\" (nft)"},
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

// Nothing is wrong with the rules as far as is known, so nobody must take the pod for one without them.
TEST(Validate, NothingThatThisUserCanDial_IsNoSuccessAndNoVerdictOnTheRules) {
  EXPECT_TRUE(in_namespace([] {
    const auto of = pod();
    CHECK_THAT(good(apply_rules(of.options, of.rules)));
    CHECK_THAT(become(1000, 0));
    CHECK_THAT(says(verdict(of),
                    "not known: --run-validation: nothing could be checked: IPv4 outbound (no route), "
                    "IPv4 inbound (cannot become the proxy's user)"));
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
  const NftWay out{.ipv4 = true, .outbound = true, .port = 80, .turned = 15001},
      in{.ipv4 = true, .outbound = false, .port = 80, .turned = 0};
  EXPECT_EQ(deciding_rule_in(kListing, out), "chain helper, rule \"tcp dport 80 counter packets 0 bytes 0 dnat to 10.0.0.1\"");
  EXPECT_EQ(deciding_rule_in(kListing, in), "");
  EXPECT_EQ(deciding_rule_in("table ip x {\n\tchain in {\n\t\ttype filter hook prerouting priority 0; policy drop;\n", in),
            "chain in, rule \"type filter hook prerouting priority 0; policy drop;\"");
  EXPECT_EQ(deciding_rule_in("", out), "");
}

// Of a chain where connections arrive; by `ours` one to the proxy's port does.
TEST(DecidingRule, ArrivingConnections_ByThePortThatTheyWereTurnedTo) {
  const NftWay out{.ipv4 = true, .outbound = true, .port = 80, .turned = 15001},
      in{.ipv4 = true, .outbound = false, .port = 80, .turned = 15006};
  const auto found = [](std::string_view rules, const NftWay& way, std::string_view policy = "accept") {
    const auto text =
        deciding_rule_in(fmt::format("table inet wall {{\n\tset s {{\n\t\telements = {{ 1 drop }}\n\t}}\n\n\tchain more {{\n\t\t"
                                     "tcp dport 15001 drop\n\t}}\n\tchain in {{\n\t\ttype filter hook input priority filter; "
                                     "policy {};\n\t\t{}\n\t}}\n}}\n",
                                     policy, rules),
                         way);
    const auto quote = text.find('"');
    return quote == std::string::npos ? text : text.substr(quote);
  };
  for (const char* ours : {"tcp dport 15001 drop", "tcp dport { 22, 15000-15010 } counter packets 3 bytes 180 drop",
                           "tcp dport != 22 reject", "tcp dport @s drop", "ct state new drop", "iifname \"lo\" drop",
                           "counter packets 0 bytes 0 drop", "meta skuid 5 accept\n\t\tdrop"}) {
    const std::string_view last(ours);
    EXPECT_EQ(found(ours, out), fmt::format("\"{}\"", last.substr(last.rfind('\t') == last.npos ? 0 : last.rfind('\t') + 1))) << ours;
  }
  for (const char* others : {"tcp dport 80 drop", "tcp dport 15006 drop", "udp dport 15001 drop", "tcp dport != 15001 drop",
                             "accept\n\t\tdrop", "iifname \"lo\" accept\n\t\tdrop", "tcp dport { 15001, 15006 } accept\n\t\tdrop",
                             "ct status dnat counter", "ip6 saddr ::1 drop", "log prefix \"drop\"", "comment \"drop\"", ""})
    EXPECT_EQ(found(others, out), "") << others;
  EXPECT_EQ(found("jump more", out), "\"tcp dport 15001 drop\"");
  EXPECT_EQ(found("tcp dport 80 goto more\n\t\tdrop", out), "\"drop\"");
  EXPECT_EQ(found("iifname \"lo\" accept\n\t\ttcp dport 15006 drop", in), "\"tcp dport 15006 drop\"");
  EXPECT_EQ(found("tcp dport 22 accept", out, "drop"), "\"type filter hook input priority filter; policy drop;\"");
  EXPECT_EQ(found("tcp dport 15001 accept", out, "drop"), "");
}

// A card whose address was given without `nodad`, so the kernel asks the neighbours, for `milliseconds`.
bool add_card_that_asks(const char* milliseconds) {
  return tool("ip", {"link", "add", "eth0", "type", "veth", "peer", "name", "other"}) && tool("ip", {"link", "set", "other", "up"}) &&
         tool("ip", {"link", "set", "eth0", "up"}) &&
         tool("sysctl", {"-qw", "net.ipv6.conf.eth0.router_solicitation_delay=0",
                         fmt::format("net.ipv6.neigh.eth0.retrans_time_ms={}", milliseconds)}) &&
         tool("ip", {"addr", "add", "10.8.0.2/24", "dev", "eth0"}) && tool("ip", {"route", "add", "default", "dev", "eth0"}) &&
         tool("ip", {"route", "add", "::/0", "dev", "eth0"});
}
constexpr std::string_view kIpv4 = "IPv4 outbound, IPv4 inbound, IPv4 self-call, ";

TEST(Validate, TentativeAddress_IsAwaited) {
  EXPECT_TRUE(in_namespace([] {
    CHECK_THAT(add_card_that_asks("700"));
    auto of = pod();
    CHECK_THAT(good(apply_rules(of.options, of.rules)));
    CHECK_THAT(tool("ip", {"addr", "add", "fd00:8::2/64", "dev", "eth0"}));
    CHECK_THAT(output("ip", {"addr", "show", "dev", "eth0"}).find("fd00:8::2/64 scope global tentative") != std::string::npos);
    CHECK_THAT(has_global_ipv6());  // and so rules are made for it
    const auto begun = std::chrono::steady_clock::now();
    CHECK_THAT(verdict(of) == kAll);
    CHECK_THAT(std::chrono::steady_clock::now() - begun < std::chrono::milliseconds(2500));  // the kernel tells, nobody waits to the end
    return true;
  }));
}

// With all the rest checked. `said`: the warnings.
bool leaves_out_self_call(const Config& of, std::string& said) {
  std::string text;
  said = warnings([&] { text = verdict(of); });
  CHECK_THAT(text.starts_with(kIpv4) && says(text, "IPv6 inbound") &&
             says(text, "; left out: IPv6 self-call (the pod's address cannot be used)"));
  return true;
}

TEST(Validate, AddressThatStaysTentative_IsLeftOutWithAWarning) {
  EXPECT_TRUE(in_namespace([] {
    CHECK_THAT(add_card_that_asks("600000"));
    const auto of = pod();
    CHECK_THAT(good(apply_rules(of.options, of.rules)));
    CHECK_THAT(tool("ip", {"addr", "add", "fd00:8::2/64", "dev", "eth0"}));
    std::string said;
    CHECK_THAT(leaves_out_self_call(of, said));
    CHECK_THAT(says(said, "warning: fd00:8::2 is not dialled, it is of no use yet: the kernel still asks whether somebody else has it"));
    // With another one that can be used nobody waits, and nothing is left out.
    CHECK_THAT(tool("ip", {"addr", "add", "fd00:9::2/64", "dev", "eth0", "nodad"}));
    CHECK_THAT(verdict(of) == kAll);
    return true;
  }));
}

TEST(Validate, AddressOfSomebodyElse_IsLeftOutWithAWarning) {
  EXPECT_TRUE(in_namespace([] {
    CHECK_THAT(add_card_that_asks("700"));
    // The other end, in a namespace of its own, has the address already.
    const int pod_fd = ::open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
    CHECK_THAT(::unshare(CLONE_NEWNET) == 0);
    const int outside = ::open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
    CHECK_THAT(::setns(pod_fd, CLONE_NEWNET) == 0);
    CHECK_THAT(tool("ip", {"link", "set", "other", "netns", fmt::format("/proc/{}/fd/{}", ::getpid(), outside)}));
    CHECK_THAT(::setns(outside, CLONE_NEWNET) == 0 && tool("ip", {"addr", "add", "fd00:8::2/64", "dev", "other", "nodad"}) &&
               tool("ip", {"link", "set", "other", "up"}) && ::setns(pod_fd, CLONE_NEWNET) == 0);
    const auto of = pod();
    CHECK_THAT(good(apply_rules(of.options, of.rules)));
    CHECK_THAT(tool("ip", {"addr", "add", "fd00:8::2/64", "dev", "eth0"}));
    std::string said;
    CHECK_THAT(leaves_out_self_call(of, said));
    CHECK_THAT(says(said, "warning: fd00:8::2 is not dialled, it is of no use: somebody else in its network has the same address"));
    return true;
  }));
}

// Nobody can reach the pod over IPv6, so apply_rules goes without those rules, and nothing is to be found missing.
TEST(Validate, Ipv6RefusedWhereNobodyNeedsIt_TheOtherFamilyCounts) {
  EXPECT_TRUE(in_namespace([] {
    CHECK_THAT(tool("nft", {"add table ip6 nat; add chain ip6 nat PREROUTING { type filter hook prerouting priority 0; }"}));
    const auto of = pod();
    bool done = false;
    const auto said = warnings([&] { done = good(apply_rules(of.options, of.rules)); });
    CHECK_THAT(done && says(said, "no IPv6 rules, which this namespace does not need without an IPv6 address"));
    const auto checked = validate(of.options, of.facts, applied(of.options, of.rules));
    CHECK_THAT(good(checked) && *checked == "IPv4 inbound; left out: IPv4 outbound (no route)");
    // Where they stand, or where there is an address, they are looked at.
    CHECK_THAT(tool("nft", {"delete", "table", "ip6", "nat"}) && good(apply_rules(of.options, of.rules)));
    CHECK_THAT(!applied(of.options, of.rules).v6.empty());
    CHECK_THAT(tool("nft", {"delete", "table", "ip6", "nat"}) && applied(of.options, of.rules).v6.empty());
    CHECK_THAT(add_card() && !applied(of.options, of.rules).v6.empty());
    return true;
  }));
}

TEST(Addresses, IfInet6_FlagsSayWhichCanBeUsed) {
  constexpr std::string_view kText =
      "00000000000000000000000000000001 01 80 10 80       lo\n"
      "fd000008000000000000000000000001 02 40 00 80     eth0\n"  // permanent
      "fd000008000000000000000000000002 02 40 00 c0     eth0\n"  // tentative
      "fd000008000000000000000000000003 02 40 00 c8     eth0\n"  // duplicate
      "fd000008000000000000000000000004 02 40 00 c4     eth0\n"  // optimistic
      "fd000008000000000000000000000005 02 40 00 88     eth0\n"  // duplicate, and no longer tentative
      "fd000008000000000000000000000006 02 40 00 c8     eth0\n"
      "fd000008000000000000000000000006 03 40 00 80     eth1\n"  // by another card
      "fe800000000000000000000000000001 02 40 20 c0     eth0\n"
      "nonsense\nfd00000800000000000000000000000z 02 40 00 c0 eth0\nfd000008000000000000000000000007 02\n";
  std::vector<base::Ip> own{*base::Ip::parse("10.8.0.2"), *base::Ip::parse("fe80::1")};
  for (int i = 1; i <= 7; ++i) own.push_back(*base::Ip::parse(fmt::format("fd00:8::{}", i)));
  const auto texts = [](const std::vector<base::Ip>& ips) {
    std::string out;
    for (const auto& ip : ips) out += ip.text() + ' ';
    return out;
  };
  const auto six = sorted(own, false, kText), four = sorted(own, true, kText);
  EXPECT_EQ(texts(six.usable), "fd00:8::1 fd00:8::4 fd00:8::6 fd00:8::7 ");
  EXPECT_EQ(texts(six.tentative), "fd00:8::2 ");
  EXPECT_EQ(texts(six.duplicate), "fd00:8::3 fd00:8::5 ");
  EXPECT_EQ(texts(four.usable), "10.8.0.2 ");
  EXPECT_TRUE(four.tentative.empty() && four.duplicate.empty());
}

}  // namespace
}  // namespace init
