#include "iptables/trace.h"

#include <algorithm>

#include <gtest/gtest.h>

namespace iptables {
namespace {

const std::vector<base::Ip> kOwn{*base::Ip::parse("10.8.0.2"), *base::Ip::parse("fd00::2")};

RuleSet rules_of(std::vector<const char*> arguments) {
  const auto invocation = parse_options(arguments, [](const char*) -> const char* { return nullptr; });
  EXPECT_TRUE(invocation) << (invocation ? "" : invocation.error());
  return build_rules(invocation->options, {.ipv6 = true, .dns_servers = {*base::Ip::parse("10.8.0.10")}, .proxy_id = "1337"});
}

// "redirect 15001 by nat ISTIO_REDIRECT"
std::string what(const RuleSet& rules, std::string_view text, std::span<const Group> groups = {}) {
  const auto flow = parse_flow(text, kOwn, groups);
  if (!flow) return flow.error();
  const auto verdict = trace(rules.family(flow->to.ip.v4), *flow);
  std::string out;
  switch (verdict.kind) {
    case Verdict::Kind::kUntouched:
      out = "untouched";
      break;
    case Verdict::Kind::kRedirect:
      out = "redirect " + std::to_string(verdict.port);
      break;
    case Verdict::Kind::kTproxy:
      out = "tproxy " + std::to_string(verdict.port);
      break;
    case Verdict::Kind::kDrop:
      out = "drop";
      break;
  }
  if (!verdict.decider) return out + " by nobody";
  const auto& step = verdict.path[*verdict.decider];
  return out + " by " + std::string(name_of(step.table)) + " " + step.rule.chain + " " + step.rule.spec;
}

TEST(Trace, Default_NamesTheRuleThatDecides) {
  const auto rules = rules_of({"-i", "*", "-b", "*", "-d", "15090,15021"});
  EXPECT_EQ(what(rules, "out 10.0.0.7:443"), "redirect 15001 by nat ISTIO_REDIRECT -p tcp -j REDIRECT --to-ports 15001");
  EXPECT_EQ(what(rules, "out 10.0.0.7:443 uid 1337"), "untouched by nat ISTIO_OUTPUT -m owner --uid-owner 1337 -j RETURN");
  EXPECT_EQ(what(rules, "out 10.0.0.7:443 gid 1337"), "untouched by nat ISTIO_OUTPUT -m owner --gid-owner 1337 -j RETURN");
  EXPECT_EQ(what(rules, "out 10.0.0.7:443 udp"), "untouched by nobody");
  EXPECT_EQ(what(rules, "out 127.0.0.1:80"), "untouched by nat ISTIO_OUTPUT -o lo -m owner ! --uid-owner 1337 -j RETURN");
  EXPECT_EQ(what(rules, "out 10.8.0.2:80 uid 1337"), "redirect 15006 by nat ISTIO_IN_REDIRECT -p tcp -j REDIRECT --to-ports 15006");
  EXPECT_EQ(what(rules, "out 10.8.0.2:80 uid 1337 from 127.0.0.6"), "untouched by nat ISTIO_OUTPUT -o lo -s 127.0.0.6/32 -j RETURN");
  EXPECT_EQ(what(rules, "out [fd00::2]:80 uid 1337 from ::6"), "untouched by nat ISTIO_OUTPUT -o lo -s ::6/128 -j RETURN");
  EXPECT_EQ(what(rules, "in 10.8.0.2:80 from 10.0.0.7"), "redirect 15006 by nat ISTIO_IN_REDIRECT -p tcp -j REDIRECT --to-ports 15006");
  EXPECT_EQ(what(rules, "in 10.8.0.2:15021"), "untouched by nat ISTIO_INBOUND -p tcp --dport 15021 -j RETURN");
  EXPECT_EQ(what(rules, "in [fd00::2]:15008"), "untouched by nat ISTIO_INBOUND -p tcp --dport 15008 -j RETURN");
}

TEST(Trace, Tproxy_SelfCallComesInAgainThroughLo) {
  const auto rules = rules_of({"-i", "*", "-b", "*", "-m", "TPROXY"});
  const std::string captured =
      "tproxy 15006 by mangle ISTIO_TPROXY ! -d 127.0.0.1/32 -p tcp -j TPROXY --tproxy-mark 1337/0xffffffff --on-port 15006";
  EXPECT_EQ(what(rules, "in 10.8.0.2:80 from 10.0.0.7"), captured);
  EXPECT_EQ(what(rules, "out 10.8.0.2:80 uid 0 gid 1337"), captured);
  EXPECT_EQ(what(rules, "out 10.8.0.2:80 uid 0 gid 0"), "untouched by nat ISTIO_OUTPUT -o lo -m owner ! --uid-owner 1337 -j RETURN");
  EXPECT_EQ(what(rules, "out 10.0.0.7:80 uid 0 gid 0"), "redirect 15001 by nat ISTIO_REDIRECT -p tcp -j REDIRECT --to-ports 15001");
}

TEST(Trace, Dns_DecidesByResolverAndPort) {
  const auto rules = rules_of({"-i", "10.0.0.0/8", "-x", "10.9.0.0/16", "--redirect-dns"});
  const std::string dns = "redirect 15053 by nat ISTIO_OUTPUT_DNS -p udp --dport 53 -d 10.8.0.10/32 -j REDIRECT --to-port 15053";
  EXPECT_EQ(what(rules, "out 10.8.0.10:53 udp"), dns);
  EXPECT_EQ(what(rules, "out 10.8.0.11:53 udp"), "untouched by nobody");
  EXPECT_EQ(what(rules, "out 10.8.0.10:53 udp uid 1337"), "untouched by nat ISTIO_OUTPUT -m owner --uid-owner 1337 -j RETURN");
  EXPECT_EQ(what(rules, "out 10.9.0.1:80"), "untouched by nat ISTIO_OUTPUT -d 10.9.0.0/16 -j RETURN");
  EXPECT_EQ(what(rules, "out 11.0.0.1:80"), "untouched by nobody");
}

TEST(Trace, Hold_SaysThatItWaitsAndChangesNoVerdict) {
  const auto plain = rules_of({"-i", "*", "-b", "*", "--redirect-dns"}),
             held = rules_of({"-i", "*", "-b", "*", "--redirect-dns", "--hold-until-ready"});
  for (const char* words : {"out 10.0.0.7:443", "out 10.8.0.2:80 uid 1337", "in 10.8.0.2:80", "out 10.8.0.10:53 udp", "out 10.8.0.10:53",
                            "out 10.0.0.7:80 uid 1337", "in 10.8.0.2:15008", "out 127.0.0.1:15001"}) {
    EXPECT_EQ(what(held, words), what(plain, words));
    const auto flow = parse_flow(words, kOwn);
    const auto verdict = trace(held.v4, *flow);
    EXPECT_EQ(verdict.held, verdict.kind == Verdict::Kind::kRedirect && !flow->udp) << words;
    EXPECT_EQ(trace_text(*flow, verdict).find("waits until the proxy listens") != std::string::npos, verdict.held);
    EXPECT_FALSE(trace(plain.v4, *flow).held);
  }
}

TEST(Trace, VirtualMachine_CountsAsOutbound) {
  const auto rules = rules_of({"-i", "10.0.0.0/8", "-b", "*", "-k", "vm+"});
  EXPECT_EQ(what(rules, "in 10.0.0.7:80 via vm0"), "redirect 15001 by nat ISTIO_REDIRECT -p tcp -j REDIRECT --to-ports 15001");
  EXPECT_EQ(what(rules, "in 11.0.0.7:80 via vm0"), "untouched by nat PREROUTING -i vm+ -j RETURN");
}

// As `ip route get` says: within 127.0.0.0/8 from 127.0.0.1, to any other address of the pod from that one.
TEST(Flow, NothingSaidAboutTheSource_TheOneThatTheKernelChooses) {
  const std::pair<const char*, const char*> all[] = {{"127.0.0.6:80", "127.0.0.1"}, {"127.0.0.1:80", "127.0.0.1"},
                                                     {"[::1]:80", "::1"},           {"[::6]:80", "::6"},
                                                     {"10.8.0.2:80", "10.8.0.2"},   {"10.0.0.7:80", "10.8.0.2"}};
  for (const auto& [to, from] : all) {
    const auto flow = parse_flow(std::string("out ") + to, kOwn);
    ASSERT_TRUE(flow) << flow.error();
    EXPECT_EQ(flow->from.text(), from) << to;
    EXPECT_EQ(flow->interface, std::string_view(to) == "10.0.0.7:80" ? "eth0" : "lo") << to;
  }
  // What --run-validation dials, as Istio's validation does.
  const auto rules = rules_of({"-i", "*", "-b", "*"});
  EXPECT_EQ(what(rules, "out 127.0.0.6:15002 uid 1337"), "redirect 15006 by nat ISTIO_IN_REDIRECT -p tcp -j REDIRECT --to-ports 15006");
  EXPECT_EQ(what(rules, "out 127.0.0.6:15002 uid 1337 from 127.0.0.6"), "untouched by nat ISTIO_OUTPUT -o lo -s 127.0.0.6/32 -j RETURN");
}

TEST(Flow, Ipv4InIpv6_IsIpv4) {
  const auto rules = rules_of({"-i", "10.0.0.0/8"});
  EXPECT_EQ(what(rules, "out [::ffff:10.0.0.1]:80"), "redirect 15001 by nat ISTIO_REDIRECT -p tcp -j REDIRECT --to-ports 15001");
  EXPECT_EQ(what(rules, "in 10.8.0.2:80 from ::ffff:10.0.0.7"), what(rules, "in 10.8.0.2:80 from 10.0.0.7"));
  EXPECT_EQ(what({}, "in 10.0.0.7:80 from ::fffe:10.0.0.7"), "10.0.0.7 and ::fffe:a00:7 are of different families");
}

TEST(Flow, Group_NameAndNumberAreOne) {
  auto invocation = parse_options(std::vector<const char*>{"-i", "*", "-g", "2000"}, [](const char* name) {
    return std::string_view(name) == "ISTIO_OUTBOUND_OWNER_GROUPS_EXCLUDE" ? "java,3000" : nullptr;
  });
  ASSERT_TRUE(invocation) << invocation.error();
  const auto rules = build_rules(invocation->options, {});
  const std::vector<Group> groups{{"proxy", 2000}, {"java", 1500}, {"batch", 3000}};
  const auto left = [](const char* group) {
    return "untouched by nat ISTIO_OUTPUT -m owner --gid-owner " + std::string(group) + " -j RETURN";
  };
  EXPECT_EQ(what(rules, "out 10.0.0.7:80 gid proxy", groups), left("2000"));
  EXPECT_EQ(what(rules, "out 10.0.0.7:80 gid java", groups), left("java"));
  EXPECT_EQ(what(rules, "out 10.0.0.7:80 gid 1500", groups), left("java"));
  EXPECT_EQ(what(rules, "out 10.0.0.7:80 gid batch", groups), left("3000"));
  EXPECT_EQ(what(rules, "out 10.0.0.7:80 gid java"), left("java"));
  EXPECT_EQ(what(rules, "out 10.0.0.7:80 gid 1501", groups), "redirect 15001 by nat ISTIO_REDIRECT -p tcp -j REDIRECT --to-ports 15001");
}

TEST(Flow, WrongWords_AreNamed) {
  EXPECT_EQ(what({}, ""), "\"\" is not accepted, begin with out or in");
  for (const char* where : {"10.0.0.7", "10.0.0.7:0", "[::1]:0", "10.0.0.7:65536"})
    EXPECT_EQ(what({}, std::string("out ") + where),
              "\"" + std::string(where) + "\" is not accepted, give IP:PORT or [IP]:PORT with a port from 1 to 65535");
  EXPECT_EQ(what({}, "out 10.0.0.7:80 uid root"),
            "\"uid root\" is not accepted, give tcp, udp, uid NUMBER, gid GROUP, from IP or via INTERFACE");
  for (const char* id : {"uid 99999999999", "uid 4294967295", "uid -1", "uid", "gid 99999999999", "gid 4294967295", "gid"})
    EXPECT_EQ(what({}, std::string("out 10.0.0.7:80 ") + id),
              "\"" + std::string(id) + "\" is not accepted, give tcp, udp, uid NUMBER, gid GROUP, from IP or via INTERFACE");
  EXPECT_EQ(what({}, "in 10.0.0.7:80 uid 5"), "\"uid 5\" is not accepted, give tcp, udp, from IP or via INTERFACE");
  EXPECT_EQ(what({}, "in 10.0.0.7:80 from ::1"), "10.0.0.7 and ::1 are of different families");
}

TEST(Explain, EveryRuleHasAReason) {
  for (const char* mode : {"REDIRECT", "TPROXY"}) {
    const auto rules = rules_of({"-i",
                                 "10.0.0.0/8",
                                 "-b",
                                 "*",
                                 "-d",
                                 "80",
                                 "-x",
                                 "10.9.0.0/16",
                                 "-q",
                                 "443",
                                 "-o",
                                 "22",
                                 "-c",
                                 "eth9",
                                 "-k",
                                 "vm0",
                                 "-m",
                                 mode,
                                 "--redirect-dns",
                                 "--drop-invalid",
                                 "--hold-until-ready"});
    for (const bool ipv4 : {true, false})
      for (const Table table : kTables)
        for (const auto& rule : rules.family(ipv4)[table]) EXPECT_FALSE(rule.why.empty()) << rule.chain << " " << rule.spec;
    const auto text = explain_text(rules);
    EXPECT_NE(text.find("IPv4 nat -A ISTIO_OUTPUT -p tcp --dport 22 -j RETURN\n    packets over tcp, to port 22 are left as they are: "
                        "the outbound port is excluded\n"),
              std::string::npos);
    EXPECT_NE(
        text.find("IPv6 filter -A SLUICE_HOLD -m socket --nowildcard -j RETURN\n    packets that a socket waits for are left as they are: "
                  "the proxy is there\n"),
        std::string::npos)
        << text;
  }
  EXPECT_EQ(explain_text({}), "no rules: nothing is captured\n");
}

}  // namespace
}  // namespace iptables
