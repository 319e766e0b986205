#include "iptables/shadow.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

namespace iptables {
namespace {

const std::vector<base::Ip> kOwn{*base::Ip::parse("10.8.0.2")};

// What the search finds in a save for the flow, "maybe: " before what is not certain; "nothing".
std::string found(std::string_view save, std::string_view words, uint16_t port = 15001) {
  const auto saved = parse_saved(save);
  const auto flow = parse_flow(words, kOwn);
  if (!flow) return flow.error();
  const auto shadow = find_shadow(saved, own_rules(saved, {}), *flow, port);
  return shadow ? (shadow->certain ? "" : "maybe: ") + text(*shadow) : "nothing";
}

// A nat table with our jumps behind these rules.
std::string nat(std::string_view before) {
  return "*nat\n:PREROUTING ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n:DOCKER - [0:0]\n:ISTIO_INBOUND - [0:0]\n:ISTIO_OUTPUT - [0:0]\n" +
         std::string(before) +
         "-A PREROUTING -p tcp -j ISTIO_INBOUND\n-A OUTPUT -j ISTIO_OUTPUT\n-A OUTPUT -j ACCEPT\n-A ISTIO_OUTPUT -j RETURN\nCOMMIT\n";
}

TEST(Shadow, OursComeFirst_Nothing) {
  EXPECT_EQ(found(nat(""), "out 10.0.0.7:80"), "nothing");
  EXPECT_EQ(found(nat(""), "in 10.8.0.2:80 from 10.0.0.7"), "nothing");
  EXPECT_EQ(found("", "out 10.0.0.7:80"), "nothing");
}

TEST(Shadow, ForeignRuleBeforeOurs_IsNamedWithTableChainAndText) {
  EXPECT_EQ(found(nat("-A OUTPUT -p tcp -m tcp --dport 80 -j RETURN\n"), "out 10.0.0.7:80"),
            "table nat, chain OUTPUT, rule \"-p tcp -m tcp --dport 80 -j RETURN\"");
  EXPECT_EQ(found(nat("-A PREROUTING -s 10.0.0.0/8 -j ACCEPT\n"), "in 10.8.0.2:80 from 10.0.0.7"),
            "table nat, chain PREROUTING, rule \"-s 10.0.0.0/8 -j ACCEPT\"");
  EXPECT_EQ(found(nat("-A OUTPUT -m owner --uid-owner 0-2000 -j DNAT --to-destination 10.1.1.1:1\n"), "out 10.0.0.7:80"),
            "table nat, chain OUTPUT, rule \"-m owner --uid-owner 0-2000 -j DNAT --to-destination 10.1.1.1:1\"");
}

TEST(Shadow, RuleForOtherPackets_IsNone) {
  for (const char* rule :
       {"-A OUTPUT -p tcp -m tcp --dport 81 -j RETURN\n", "-A OUTPUT ! -o eth0 -j RETURN\n", "-A OUTPUT -p udp -j ACCEPT\n",
        "-A OUTPUT -d 127.0.0.11/32 -j DOCKER\n-A DOCKER -j ACCEPT\n", "-A OUTPUT -m mark --mark 0x10/0xf0 -j ACCEPT\n",
        "-A OUTPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT\n", "-A PREROUTING -j ACCEPT\n",
        "-A OUTPUT -j LOG --log-prefix \"x -j ACCEPT\"\n"})
    EXPECT_EQ(found(nat(rule), "out 10.0.0.7:80"), "nothing") << rule;
}

TEST(Shadow, ForeignChain_IsFollowed) {
  EXPECT_EQ(
      found(nat("-A OUTPUT -p tcp -j DOCKER\n-A DOCKER -d 10.9.0.0/16 -j RETURN\n-A DOCKER -j REDIRECT --to-ports 7\n"), "out 10.0.0.7:80"),
      "table nat, chain DOCKER, rule \"-j REDIRECT --to-ports 7\"");
  EXPECT_EQ(
      found(nat("-A OUTPUT -p tcp -j DOCKER\n-A DOCKER -d 10.0.0.0/16 -j RETURN\n-A DOCKER -j REDIRECT --to-ports 7\n"), "out 10.0.0.7:80"),
      "nothing");
}

TEST(Shadow, ConditionNotUnderstood_MayBe) {
  const std::string set = "-A OUTPUT -m set --match-set mine dst -j ACCEPT\n";
  EXPECT_EQ(found(nat(set), "out 10.0.0.7:80"), "maybe: table nat, chain OUTPUT, rule \"-m set --match-set mine dst -j ACCEPT\"");
  EXPECT_EQ(found(nat("-A OUTPUT -m set --match-set mine dst -j LOG\n-A OUTPUT -j ACCEPT\n"), "out 10.0.0.7:80"),
            "table nat, chain OUTPUT, rule \"-j ACCEPT\"");
  EXPECT_EQ(found("*filter\n:INPUT DROP [0:0]\n-A INPUT -m set --match-set mine src -j ACCEPT\nCOMMIT\n" + nat(""), "out 10.0.0.7:80"),
            "maybe: table filter, chain INPUT, policy \"-P INPUT DROP\"");
  // Also in a chain that was left again.
  EXPECT_EQ(found("*filter\n:INPUT ACCEPT [0:0]\n:FW - [0:0]\n-A INPUT -j FW\n-A INPUT -j DROP\n"
                  "-A FW -m addrtype --dst-type LOCAL -j ACCEPT\nCOMMIT\n" +
                      nat(""),
                  "out 10.0.0.7:80"),
            "maybe: table filter, chain INPUT, rule \"-j DROP\"");
}

TEST(Shadow, SenderNotKnown_MayBe) {
  for (const char* rule : {"-A PREROUTING -s 10.0.0.0/8 -j ACCEPT", "-A PREROUTING ! -s 10.9.0.0/16 -j DROP"}) {
    const auto saved = parse_saved(nat(fmt::format("{}\n", rule)));
    auto flow = *parse_flow("in 10.8.0.2:80 from 10.0.0.7", kOwn);
    EXPECT_TRUE(find_shadow(saved, own_rules(saved, {}), flow, 15006)->certain) << rule;
    flow.from_anybody = true;
    EXPECT_FALSE(find_shadow(saved, own_rules(saved, {}), flow, 15006)->certain) << rule;
  }
  EXPECT_EQ(found(nat("-A OUTPUT -p tcp -m tcp ! --sport 1024:65535 -j ACCEPT\n"), "out 10.0.0.7:80"),
            "maybe: table nat, chain OUTPUT, rule \"-p tcp -m tcp ! --sport 1024:65535 -j ACCEPT\"");
}

TEST(Shadow, OtherTables_OnlyWhatDropsOrUntracks) {
  EXPECT_EQ(found("*raw\n-A OUTPUT -p tcp -j CT --notrack\nCOMMIT\n" + nat(""), "out 10.0.0.7:80"),
            "table raw, chain OUTPUT, rule \"-p tcp -j CT --notrack\"");
  EXPECT_EQ(found("*raw\n-A OUTPUT -p tcp -j CT --zone 3\nCOMMIT\n*mangle\n-A OUTPUT -j ACCEPT\nCOMMIT\n" + nat(""), "out 10.0.0.7:80"),
            "nothing");
  EXPECT_EQ(found("*mangle\n-A PREROUTING -j DROP\nCOMMIT\n" + nat(""), "in 10.8.0.2:80"),
            "table mangle, chain PREROUTING, rule \"-j DROP\"");
}

TEST(Shadow, ProxysPort_IsWatchedToo) {
  const auto filter = [](std::string_view rules) { return "*filter\n:INPUT ACCEPT [0:0]\n" + std::string(rules) + "COMMIT\n" + nat(""); };
  EXPECT_EQ(found(filter("-A INPUT -p tcp -m tcp --dport 15001 -j DROP\n"), "out 10.0.0.7:80"),
            "table filter, chain INPUT, rule \"-p tcp -m tcp --dport 15001 -j DROP\"");
  EXPECT_EQ(found(filter("-A INPUT -i lo -j ACCEPT\n-A INPUT -p tcp -j REJECT --reject-with tcp-reset\n"), "out 10.0.0.7:80"), "nothing");
  EXPECT_EQ(found("*filter\n:INPUT DROP [0:0]\n-A INPUT -i eth9 -j ACCEPT\nCOMMIT\n" + nat(""), "in 10.8.0.2:80 from 10.0.0.7", 15006),
            "table filter, chain INPUT, policy \"-P INPUT DROP\"");
}

TEST(Shadow, OursInAnotherBackend_OnlyWhatTurnsAwayCounts) {
  EXPECT_EQ(found("*nat\n-A OUTPUT -j ACCEPT\nCOMMIT\n", "out 10.0.0.7:80"), "nothing");
  EXPECT_EQ(found("*nat\n-A OUTPUT -p tcp -j REDIRECT --to-ports 9\nCOMMIT\n", "out 10.0.0.7:80"),
            "table nat, chain OUTPUT, rule \"-p tcp -j REDIRECT --to-ports 9\"");
}

TEST(Shadow, ChainsThatLoop_End) {
  std::string save = "*nat\n:A - [0:0]\n-A OUTPUT -j A\n";
  for (int i = 0; i < 20; ++i) save += "-A A -j A\n";
  EXPECT_EQ(found(save + "COMMIT\n", "out 10.0.0.7:80"), "nothing");
}

}  // namespace
}  // namespace iptables
