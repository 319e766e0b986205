#include "iptables/rules.h"

#include <cstdlib>
#include <fstream>
#include <iterator>

#include <gtest/gtest.h>

#include "iptables/nft.h"
#include "iptables/options.h"

namespace iptables {
namespace {

Options parsed(std::vector<const char*> arguments) {
  const auto invocation = parse_options(arguments, [](const char*) -> const char* { return nullptr; });
  EXPECT_TRUE(invocation) << invocation.error();
  return invocation ? invocation->options : Options{};
}

struct Case {
  const char* name;
  std::vector<const char*> arguments;
  bool ipv6 = false;
  std::vector<const char*> dns = {};
  const char* owner_groups = nullptr;
};

void PrintTo(const Case& c, std::ostream* out) { *out << c.name; }

// One golden per class of options; the exam compares the same builder with Istio's own goldens.
const Case kCases[] = {
    {"pod", {"-i", "*", "-b", "*", "-d", "15090,15021,15020"}, true},
    {"nothing", {}},
    {"ports", {"-p", "9001", "-z", "9006", "-e", "9008", "-b", "80,7000:7010", "-q", "443", "-o", "22", "-d", "80"}},
    {"ranges", {"-i", "10.0.0.0/8,fd00::/8", "-x", "10.1.0.0/16,fd00:1::/32", "-b", "*"}, true},
    {"loopback-range", {"-i", "127.1.2.3/32", "--redirect-dns", "--capture-all-dns"}},
    {"ids", {"-u", "3,4", "-g", "1,2"}},
    {"uid-is-default-gid", {"-u", "1500"}},
    {"excluded-interfaces", {"-c", "eth1,eth2+", "-m", "TPROXY", "-b", "*"}},
    {"virtual-interfaces", {"-k", "eth1,eth2", "-i", "10.0.0.0/8,fd00::/8"}, true},
    {"virtual-interfaces-all", {"-k", "eth1", "-i", "*"}},
    {"drop-invalid-tproxy", {"--drop-invalid", "-m", "TPROXY", "-b", "*"}},
    {"tproxy-ports", {"-m", "TPROXY", "-b", "80,443", "-t", "512", "-u", "7"}, true},
    {"tproxy-no-inbound", {"-m", "TPROXY"}},
    {"dns-servers", {"--redirect-dns"}, true, {"10.0.0.10", "10.0.0.11", "fd00::a"}},
    {"dns-other-family", {"--redirect-dns"}, true, {"fd00::a"}},
    {"dns-all", {"--redirect-dns", "--capture-all-dns", "-i", "*"}, true},
    {"dns-no-server", {"--redirect-dns"}},
    {"hold", {"-i", "*", "-b", "*", "-p", "9001", "-z", "9006", "--hold-until-ready"}, true},
    {"hold-dns-tproxy", {"-i", "*", "-b", "*", "-m", "TPROXY", "--redirect-dns", "--capture-all-dns", "--hold-until-ready"}, true},
    {"owner-groups", {}, false, {}, "java,202"},
};

class Golden : public testing::TestWithParam<Case> {};

TEST_P(Golden, RestoreText_IsTheCommittedOne) {
  const Case& c = GetParam();
  Options options = parsed(c.arguments);
  if (c.owner_groups) options.owner_groups = {.all = false, .list = {"java", "202"}};
  Facts facts;
  facts.ipv6 = c.ipv6;
  for (const char* server : c.dns) facts.dns_servers.push_back(*base::Ip::parse(server));
  const auto rules = build_rules(options, facts);
  const auto text = "# iptables-restore\n" + restore_text(rules.v4) + (c.ipv6 ? "# ip6tables-restore\n" + restore_text(rules.v6) : "") +
                    "# nft -f -\n" + nft_text(rules, {});

  const auto path = std::string(SLUICE_SOURCE_DIR "/iptables/testdata/") + c.name + ".golden";
  if (std::getenv("UPDATE_GOLDEN")) std::ofstream(path) << text;
  std::ifstream in(path);
  EXPECT_EQ(text, std::string(std::istreambuf_iterator<char>(in), {})) << path << "; UPDATE_GOLDEN=1 rewrites it";
}

INSTANTIATE_TEST_SUITE_P(Rules, Golden, testing::ValuesIn(kCases), [](const auto& info) {
  std::string name = info.param.name;
  for (char& c : name)
    if (c == '-') c = '_';
  return name;
});

TEST(Rules, WithoutIpv6_ThatFamilyIsEmpty) {
  const auto rules = build_rules(parsed({"-i", "*"}), {});
  EXPECT_TRUE(rules.v6.empty());
  EXPECT_FALSE(rules.v4.empty());
}

TEST(Rules, NoUidGiven_TheUserOfTheNamespaceIsExempt) {
  Facts facts;
  facts.proxy_id = "4242";
  const auto text = restore_text(build_rules(parsed({}), facts).v4);
  EXPECT_NE(text.find("--uid-owner 4242 -j RETURN"), std::string::npos);
  EXPECT_NE(text.find("--gid-owner 4242 -j RETURN"), std::string::npos);
  EXPECT_EQ(text.find("1337"), std::string::npos);
}

TEST(NftText, StaleTables_GoInTheSameTransaction) {
  const std::vector<std::string> stale{"inet istio-proxy-nat", "ip istio-proxy-raw"};
  const auto text = nft_text(build_rules(parsed({}), {}), stale);
  EXPECT_TRUE(text.starts_with("delete table inet istio-proxy-nat\ndelete table ip istio-proxy-raw\nadd table ip istio-proxy-nat\n"))
      << text;
  EXPECT_EQ(nft_text({}, {}), "");
  EXPECT_TRUE(is_own_nft_table("sluice-filter"));
  for (const char* other : {"istio-proxy-other", "istio-proxy-filter", "filter"}) EXPECT_FALSE(is_own_nft_table(other)) << other;
}

TEST(Rules, Text_NatIsCommittedLast) {
  const auto text = restore_text(build_rules(parsed({"-m", "TPROXY", "-b", "*", "--redirect-dns", "--capture-all-dns"}), {}).v4);
  EXPECT_LT(text.find("* raw"), text.find("* mangle"));
  EXPECT_LT(text.find("* mangle"), text.find("* nat"));
}

// Istio's programs compare every chain named ISTIO… with what they would make; a stranger among them is a difference.
TEST(Rules, Hold_AddsATableAndLeavesIstiosAlone) {
  for (const bool dns : {false, true}) {
    std::vector<const char*> arguments{"-i", "*", "-b", "*", "-m", "TPROXY"};
    if (dns) arguments.insert(arguments.end(), {"--redirect-dns", "--capture-all-dns"});
    const auto without = build_rules(parsed(arguments), {.ipv6 = true, .dns_servers = {}});
    arguments.push_back("--hold-until-ready");
    const auto with = build_rules(parsed(arguments), {.ipv6 = true, .dns_servers = {}});
    for (const bool ipv4 : {true, false})
      for (const Table table : kTables) {
        FamilyRules one, other;
        one[table] = with.family(ipv4)[table];
        other[table] = without.family(ipv4)[table];
        if (table != Table::kFilter) {
          EXPECT_EQ(restore_text(one), restore_text(other)) << name_of(table);
          continue;
        }
        EXPECT_TRUE(other.empty());
        for (const auto& chain : own_chains(one[table])) EXPECT_FALSE(chain.starts_with("ISTIO")) << chain;
      }
  }
}

}  // namespace
}  // namespace iptables
