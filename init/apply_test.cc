// What is really made, each test in a network namespace of its own that ends with its process. Needs root.
#include "init/apply.h"

#include <fcntl.h>
#include <gtest/gtest.h>

#include "init/namespace_testing.h"
#include "init/native.h"
#include "init/nft_dump.h"
#include "init/sockets.h"

namespace init {
namespace {

TEST(Apply, SecondRun_ChangesNothingAndLegacyStaysUntouched) {
  EXPECT_TRUE(in_namespace([] {
    const auto pod =
        config({"-i", "*", "-b", "*", "-m", "TPROXY", "--redirect-dns", "--capture-all-dns", "--drop-invalid", "--enable-ipv6=true"});
    CHECK_THAT(good(apply_rules(pod.options, pod.rules)));
    const auto four = state(true), six = state(false), routes = output("ip", {"rule"});
    CHECK_THAT(four.find("ISTIO_TPROXY") != std::string::npos && six.find("ISTIO_TPROXY") != std::string::npos);
    CHECK_THAT(good(apply_rules(pod.options, pod.rules)));
    CHECK_THAT(state(true) == four && state(false) == six && output("ip", {"rule"}) == routes);
    CHECK_THAT(read_file("/proc/net/ip_tables_names").empty());
    return true;
  }));
}

TEST(NftDump, SaysWhatTheProgramsMade) {
  EXPECT_TRUE(in_namespace([] {
    CHECK_THAT(nft_tables() == std::vector<NftTable>{});
    CHECK_THAT(nft_rule_counts(true) == RuleCounts{});
    CHECK_THAT(tool("iptables-nft", {"-t", "mangle", "-N", "OTHER"}) && tool("nft", {"add", "table", "inet", "istio-proxy-nat"}));
    const std::vector<NftTable> tables{{"ip", "mangle"}, {"inet", "istio-proxy-nat"}};
    CHECK_THAT(nft_tables() == tables);
    CHECK_THAT(native_tables() == std::vector<std::string>{"inet istio-proxy-nat"});
    std::string rules;
    for (int i = 0; i < 300; ++i) rules += "add rule ip mangle OTHER counter\n";  // more than one datagram of the dump
    CHECK_THAT(good(feed_nft(rules)));
    const RuleCounts many{{{"mangle", "OTHER"}, 300}};
    CHECK_THAT(nft_rule_counts(true) == many && nft_rule_counts(false) == RuleCounts{});
    return true;
  }));
}

TEST(Apply, OtherConfiguration_ReplacesAndRetiresRoutes) {
  EXPECT_TRUE(in_namespace([] {
    const auto tproxy = config({"-i", "*", "-b", "*", "-m", "TPROXY", "-t", "512", "-r", "400", "--enable-ipv6=true"});
    const auto plain = config({"-i", "10.0.0.0/8", "-b", "80", "--enable-ipv6=false"});
    CHECK_THAT(good(apply_rules(plain.options, plain.rules)));
    const auto wanted = state(true);
    CHECK_THAT(good(apply_rules(tproxy.options, tproxy.rules)));
    CHECK_THAT(output("ip", {"rule"}).find("fwmark 0x200 lookup 400") != std::string::npos);
    CHECK_THAT(output("ip", {"-6", "addr", "show", "dev", "lo"}).find("::6/128") != std::string::npos);
    const auto moved = config({"-i", "*", "-b", "*", "-m", "TPROXY", "-t", "512", "-r", "401", "--enable-ipv6=true"});
    CHECK_THAT(good(apply_rules(moved.options, moved.rules)));
    CHECK_THAT(output("ip", {"rule"}).find("lookup 400") == std::string::npos &&
               output("ip", {"rule"}).find("lookup 401") != std::string::npos);
    CHECK_THAT(good(apply_rules(plain.options, plain.rules)));
    CHECK_THAT(state(true) == wanted && state(false).empty());
    CHECK_THAT(output("ip", {"rule"}).find("fwmark") == std::string::npos &&
               output("ip", {"-6", "rule"}).find("fwmark") == std::string::npos);
    CHECK_THAT(output("ip", {"-6", "addr", "show", "dev", "lo"}).find("::6/128") == std::string::npos);
    return true;
  }));
}

TEST(CleanUp, WithoutTheFlags_LeavesOnlyForeignRules) {
  EXPECT_TRUE(in_namespace([] {
    CHECK_THAT(tool("iptables-nft", {"-t", "nat", "-A", "OUTPUT", "-p", "udp", "--dport", "9", "-j", "RETURN"}));
    CHECK_THAT(tool("ip", {"rule", "add", "fwmark", "1337", "lookup", "999", "pref", "1000"}));
    const auto four = state(true), six = state(false), rules = output("ip", {"rule"}), addresses = output("ip", {"-o", "addr", "show"});
    const auto pod =
        config({"-i", "*", "-b", "*", "-m", "TPROXY", "-t", "512", "-r", "400", "-c", "eth7", "-u", "42", "--enable-ipv6=true"});
    CHECK_THAT(good(apply_rules(pod.options, pod.rules)));
    CHECK_THAT(state(true) != four && state(false) != six && output("ip", {"rule"}) != rules);
    const auto none = config({});
    CHECK_THAT(good(clean_up(none.options, none.rules)));
    CHECK_THAT(state(true) == four && state(false) == six);
    CHECK_THAT(output("ip", {"rule"}) == rules);
    CHECK_THAT(output("ip", {"-o", "addr", "show"}) == addresses);
    return true;
  }));
}

// A run that is killed between the two leaves routes whose marks no table names any more.
TEST(CleanUp, TablesGoneAlready_RoutesAreFoundByWhoMadeThem) {
  EXPECT_TRUE(in_namespace([] {
    CHECK_THAT(tool("ip", {"rule", "add", "fwmark", "512", "lookup", "999", "pref", "1000"}));
    CHECK_THAT(tool("ip", {"route", "add", "local", "default", "dev", "lo", "table", "999"}));
    const auto rules = output("ip", {"rule"}), rules6 = output("ip", {"-6", "rule"});
    const auto tproxy = config({"-i", "*", "-b", "*", "-m", "TPROXY", "-t", "512", "-r", "400", "--enable-ipv6=true"});
    const auto plain = config({"-i", "*", "-b", "*", "--enable-ipv6=true"}), none = config({});
    for (const bool clean : {true, false}) {
      CHECK_THAT(good(apply_rules(tproxy.options, tproxy.rules)));
      CHECK_THAT(tool("nft", {"flush", "ruleset"}));
      CHECK_THAT(good(clean ? clean_up(none.options, none.rules) : apply_rules(plain.options, plain.rules)));
      CHECK_THAT(output("ip", {"rule"}) == rules && output("ip", {"-6", "rule"}) == rules6);
      CHECK_THAT(output("ip", {"route", "show", "table", "999"}).find("local default") == 0);
      CHECK_THAT(output("ip", {"route", "show", "table", "400"}).empty() && output("ip", {"-6", "route", "show", "table", "400"}).empty());
    }
    return true;
  }));
}

// What the kernel holds of a backend, without counters.
std::string held_in(const Config& of) {
  if (of.options.native_nftables) return output("nft", {"--stateless", "list", "ruleset"});
  std::string out;
  for (const std::string family : {"iptables", "ip6tables"})
    for (const std::string table : {"raw", "mangle", "nat"})
      out += output(family + (of.options.backend == iptables::Backend::kNft ? "-nft" : "-legacy"), {"-t", table, "-S"});
  return out;
}

TEST(Apply, TwoRunsAtOnce_OneFullRuleSet) {
  for (const char* backend : {"--force-iptables-binary=nft", "--force-iptables-binary=legacy", "--native-nftables"})
    EXPECT_TRUE(in_namespace([&] {
      const std::vector<Config> both{config({backend, "-i", "*", "-b", "*", "--enable-ipv6=true"}),
                                     config({backend, "-i", "10.0.0.0/8", "-b", "80", "-m", "TPROXY", "--enable-ipv6=true"})};
      const auto none = config({backend});
      std::vector<std::string> wanted;
      for (const auto& of : both) {
        CHECK_THAT(good(apply_rules(of.options, of.rules)));
        wanted.push_back(held_in(of));
        CHECK_THAT(good(clean_up(none.options, none.rules)));
      }
      constexpr size_t kPairs = 8;
      for (size_t pair = 0; pair < kPairs; ++pair) {
        int gate[2];
        CHECK_THAT(::pipe2(gate, O_CLOEXEC) == 0);
        pid_t runs[2];
        for (size_t i = 0; i < 2; ++i) {
          runs[i] = ::fork();
          if (runs[i] != 0) continue;
          ::close(gate[1]);
          char byte = 0;
          (void)!::read(gate[0], &byte, 1);  // until the gate is open for both
          const auto& of = both[pair % 2 * i];
          ::_exit(good(apply_rules(of.options, of.rules)) ? 0 : 1);
        }
        ::close(gate[0]);
        ::close(gate[1]);
        for (const pid_t run : runs) {
          int status = 1;
          CHECK_THAT(::waitpid(run, &status, 0) == run && status == 0);
        }
        const auto held = held_in(both[0]);
        CHECK_THAT(held == wanted[0] || (pair % 2 && held == wanted[1]));
        CHECK_THAT(good(clean_up(none.options, none.rules)));
      }
      return true;
    })) << backend;
}

// Each looks as what -c makes, but for its company or its place.
TEST(Apply, InterfaceRulesOfOthers_StayWhateverComesAndGoes) {
  for (const char* program : {"iptables-nft", "iptables-legacy"})
    EXPECT_TRUE(in_namespace([&] {
      const auto forced = std::string("--force-iptables-binary=") + (program + std::string_view("iptables-").size());
      const auto plain = config({forced.c_str(), "-i", "*", "-b", "*"}), other = config({forced.c_str(), "-i", "*", "-b", "80"}),
                 none = config({});
      const auto with_eth0 = config({forced.c_str(), "-i", "*", "-b", "*", "-c", "eth0"});
      const auto nat = [&](std::vector<std::string> arguments) {
        arguments.insert(arguments.begin(), {"-t", "nat"});
        return tool(program, arguments);
      };
      const auto alien = [&] {
        std::string out;
        const auto all = output(program, {"-t", "nat", "-S"});
        for (size_t from = 0; from < all.size(); from = all.find('\n', from) + 1)
          if (const auto line = all.substr(from, all.find('\n', from) + 1 - from);
              line.find("ISTIO") == line.npos && line.find("SLUICE") == line.npos)
            out += line;
        return out;
      };
      CHECK_THAT(nat({"-A", "OUTPUT", "-o", "lo", "-j", "RETURN"}) && nat({"-A", "OUTPUT", "-o", "eth0", "-j", "RETURN"}));
      const auto first = alien();
      CHECK_THAT(good(apply_rules(plain.options, plain.rules)) && alien() == first);
      CHECK_THAT(nat({"-I", "OUTPUT", "1", "-o", "eth1", "-j", "RETURN"}) && nat({"-A", "PREROUTING", "-i", "eth1", "-j", "RETURN"}));
      const auto second = alien();
      CHECK_THAT(good(apply_rules(other.options, other.rules)) && alien() == second);
      CHECK_THAT(good(clean_up(none.options, none.rules)) && alien() == second);
      // One more of the same is ours, and goes alone.
      CHECK_THAT(good(apply_rules(with_eth0.options, with_eth0.rules)) && alien() != second);
      const auto third = alien();
      CHECK_THAT(good(apply_rules(with_eth0.options, with_eth0.rules)) && alien() == third);
      CHECK_THAT(good(clean_up(none.options, none.rules)) && alien() == second);
      return true;
    })) << program;
}

// It leaves eth1 alone as -c does, at the very place where ours would stand.
TEST(Apply, WholePairOfOthers_Stays) {
  for (const std::vector<const char*>& more :
       std::vector<std::vector<const char*>>{{}, {"-m", "TPROXY"}, {"-m", "TPROXY", "-c", "eth2"}, {"-c", "eth1"}})
    EXPECT_TRUE(in_namespace([&] {
      for (const char* table : {"nat", "mangle"})
        CHECK_THAT(tool("iptables-nft", {"-t", table, "-A", "OUTPUT", "-o", "eth1", "-j", "RETURN"}) &&
                   tool("iptables-nft", {"-t", table, "-A", "PREROUTING", "-i", "eth1", "-j", "RETURN"}));
      const auto foreign = state(true);
      std::vector<const char*> arguments{"-i", "*", "-b", "*", "--enable-ipv6=true"}, other{"-i", "10.0.0.0/8", "-b", "80"};
      for (auto* both : {&arguments, &other}) both->insert(both->end(), more.begin(), more.end());
      const auto pod = config(arguments), next = config(other), none = config({});
      CHECK_THAT(good(apply_rules(pod.options, pod.rules)));
      const auto made = state(true);
      CHECK_THAT(good(apply_rules(pod.options, pod.rules)) && state(true) == made);
      CHECK_THAT(good(apply_rules(next.options, next.rules)) && state(true) != made);
      CHECK_THAT(good(clean_up(none.options, none.rules)) && state(true) == foreign);
      return true;
    }));
}

// Handles tell: a rule that is made anew has another one.
TEST(Apply, EqualRules_AreLeftAlone) {
  struct Case {
    std::vector<const char*> arguments;
    std::string group;
  };
  const std::vector<Case> cases = {{{"--native-nftables", "-m", "TPROXY", "--redirect-dns", "--capture-all-dns", "--drop-invalid"}, ""},
                                   {{"--native-nftables", "--hold-until-ready"}, "daemon"},
                                   {{"--force-iptables-binary=nft"}, "daemon"}};
  for (const auto& c : cases)
    EXPECT_TRUE(in_namespace([&] {
      std::vector<const char*> arguments{"-i", "*", "-b", "*", "--enable-ipv6=true"};
      arguments.insert(arguments.end(), c.arguments.begin(), c.arguments.end());
      auto pod = config(arguments);
      if (!c.group.empty()) pod.options.owner_groups = {.all = false, .list = {c.group, "0"}};
      pod.options.owner_groups_excluded = {};
      pod.rules = build_rules(pod.options, pod.facts);
      const auto listing = [] { return output("nft", {"--stateless", "--handle", "list", "ruleset"}); };
      CHECK_THAT(good(apply_rules(pod.options, pod.rules)));
      const auto made = listing();
      CHECK_THAT(!made.empty());
      CHECK_THAT(good(apply_rules(pod.options, pod.rules)) && listing() == made);
      pod.options.force_apply = true;
      CHECK_THAT(good(apply_rules(pod.options, pod.rules)) && listing() != made);
      return true;
    })) << c.arguments.front()
        << c.group;
}

// Whatever is done to native tables: the next run has them right again, and says so by what it makes.
TEST(Apply, NativeRulesThatSomebodyChanged_AreReplaced) {
  EXPECT_TRUE(in_namespace([] {
    const auto pod = config({"-i", "*", "-b", "*", "--enable-ipv6=true", "--native-nftables"});
    const auto listing = [] { return output("nft", {"--stateless", "list", "ruleset"}); };
    CHECK_THAT(good(apply_rules(pod.options, pod.rules)));
    const auto wanted = listing();
    for (const char* change :
         {"add rule ip istio-proxy-nat istio-output counter accept", "flush chain ip6 istio-proxy-nat istio-redirect",
          "delete table ip6 istio-proxy-nat", "add table inet istio-proxy-nat", "flush ruleset",
          "flush chain ip istio-proxy-nat istio-in-redirect; add rule ip istio-proxy-nat istio-in-redirect counter accept"}) {
      CHECK_THAT(good(feed_nft(change)) && listing() != wanted);
      CHECK_THAT(good(apply_rules(pod.options, pod.rules)));
      CHECK_THAT(listing() == wanted);
    }
    return true;
  }));
}

TEST(CleanUp, JumpFromAForeignChain_GoesAndTheChainStays) {
  for (const char* program : {"iptables-nft", "iptables-legacy"})
    EXPECT_TRUE(in_namespace([&] {
      const auto forced =
          std::string("--force-") + (program == std::string_view("iptables-nft") ? "iptables-binary=nft" : "iptables-binary=legacy");
      const auto pod = config({forced.c_str(), "-i", "*", "-b", "*", "--enable-ipv6=true"}), none = config({});
      CHECK_THAT(good(apply_rules(pod.options, pod.rules)));
      CHECK_THAT(tool(program, {"-t", "nat", "-N", "WALL"}) &&
                 tool(program, {"-t", "nat", "-A", "WALL", "-p", "tcp", "-j", "ISTIO_OUTPUT"}) &&
                 tool(program, {"-t", "nat", "-A", "WALL", "-p", "udp", "-j", "RETURN"}));
      const auto listing = [&] { return output(program, {"-t", "nat", "-S"}); };
      const auto before = listing();
      CHECK_THAT(good(apply_rules(pod.options, pod.rules)) && listing() == before);
      CHECK_THAT(good(clean_up(none.options, none.rules)));
      CHECK_THAT(listing().find("ISTIO") == std::string::npos && listing().find("-A WALL -p udp -j RETURN") != std::string::npos);
      return true;
    })) << program;
}

TEST(Apply, Ipv6SwitchedOffBetweenTwoRuns_TheAddressGoes) {
  for (const char* backend : {"--force-iptables-binary=nft", "--native-nftables"})
    EXPECT_TRUE(in_namespace([&] {
      const auto on = config({backend, "-i", "*", "--enable-ipv6=true"}), off = config({backend, "-i", "*", "--enable-ipv6=false"});
      CHECK_THAT(good(apply_rules(on.options, on.rules)));
      CHECK_THAT(tool("nft", {"flush", "ruleset"}));  // so nothing else is left to know it by
      CHECK_THAT(output("ip", {"-6", "addr", "show", "dev", "lo"}).find("::6/128") != std::string::npos);
      CHECK_THAT(good(apply_rules(off.options, off.rules)));
      CHECK_THAT(output("ip", {"-6", "addr", "show", "dev", "lo"}).find("::6/128") == std::string::npos);
      return true;
    })) << backend;
}

TEST(LocalRoutes, RulesAndTablesOfOthers_AreNotTakenForOurs) {
  for (const char* family : {"-4", "-6"})
    EXPECT_TRUE(in_namespace([&] {
      CHECK_THAT(add_card());
      const auto pod = config({"-i", "*", "-b", "*", "-m", "TPROXY", "--enable-ipv6=true"}), none = config({});
      const auto rules = [&] { return output("ip", {family, "rule"}); };
      // Somebody's rule with our mark and another table, and no route there.
      CHECK_THAT(tool("ip", {family, "rule", "add", "fwmark", "1337", "lookup", "134", "pref", "1000"}));
      const auto before = rules();
      CHECK_THAT(good(apply_rules(pod.options, pod.rules)));
      CHECK_THAT(output("ip", {family, "route", "show", "table", "133"}).find("local default dev lo") == 0);
      CHECK_THAT(good(clean_up(none.options, none.rules)));
      CHECK_THAT(rules() == before);
      // Somebody's default route in our table, and a rule that leads to it.
      CHECK_THAT(tool("ip", {family, "rule", "add", "fwmark", "1337", "lookup", "133", "pref", "1001"}));
      const auto led = rules();
      CHECK_THAT(tool("ip", {family, "route", "add", "default", "dev", "eth0", "table", "133"}));
      const auto done = apply_rules(pod.options, pod.rules);
      CHECK_THAT(!done && done.error().find("route table 133 has a default route of somebody else") != std::string::npos);
      CHECK_THAT(state(true).empty() && state(false).empty() && rules() == led);
      CHECK_THAT(good(clean_up(none.options, none.rules)));
      CHECK_THAT(rules() == led && output("ip", {family, "route", "show", "table", "133"}).find("default dev eth0") == 0);
      return true;
    })) << family;
}

// It gives no number and adds one more at each run.
TEST(LocalRoutes, ThoseOfIstiosProgram_AreRemoved) {
  EXPECT_TRUE(in_namespace([] {
    const auto before = output("ip", {"rule"});
    for (int i = 0; i < 2; ++i) CHECK_THAT(tool("ip", {"rule", "add", "fwmark", "1337", "lookup", "133"}));
    CHECK_THAT(tool("ip", {"route", "add", "local", "default", "dev", "lo", "table", "133"}));
    const auto none = config({});
    CHECK_THAT(good(clean_up(none.options, none.rules)));
    CHECK_THAT(output("ip", {"rule"}) == before && output("ip", {"route", "show", "table", "133"}).empty());
    return true;
  }));
}

// A native table of the same name makes ip6tables-nft refuse; the namespace has an IPv6 address, so this is a failure.
TEST(Apply, Ipv6Refused_Ipv4IsPutBack) {
  EXPECT_TRUE(in_namespace([] {
    CHECK_THAT(tool("ip", {"link", "add", "eth0", "type", "veth", "peer", "name", "other"}));
    CHECK_THAT(tool("ip", {"addr", "add", "fd77::2/64", "dev", "eth0", "nodad"}));
    CHECK_THAT(tool("ip", {"link", "set", "eth0", "up"}));
    CHECK_THAT(tool("nft", {"add table ip6 nat; add chain ip6 nat PREROUTING { type filter hook prerouting priority 0; }"}));
    const auto pod = config({"-i", "*", "-b", "*"});
    CHECK_THAT(pod.facts.ipv6);
    CHECK_THAT(!apply_rules(pod.options, pod.rules));
    CHECK_THAT(state(true).empty());
    CHECK_THAT(output("ip", {"-6", "addr", "show", "dev", "lo"}).find("::6/128") == std::string::npos);

    const auto first = config({"-i", "10.0.0.0/8", "--enable-ipv6=false"});
    CHECK_THAT(good(apply_rules(first.options, first.rules)));
    const auto before = state(true);
    CHECK_THAT(!apply_rules(pod.options, pod.rules));
    CHECK_THAT(state(true) == before);
    return true;
  }));
}

TEST(Apply, RuleRefused_ErrorNamesItAndNothingStays) {
  EXPECT_TRUE(in_namespace([] {
    auto pod = config({"-i", "*", "--enable-ipv6=false"});
    pod.options.owner_groups = {.all = false, .list = {"no-such-group"}};
    pod.rules = build_rules(pod.options, pod.facts);
    const auto done = apply_rules(pod.options, pod.rules);
    CHECK_THAT(!done && done.error().find("no-such-group") != std::string::npos && done.error().find('\n') == std::string::npos);
    CHECK_THAT(state(true).empty());
    return true;
  }));
}

TEST(Apply, NativeNftables_OneBackendAtATimeAndCleanWithoutFlags) {
  EXPECT_TRUE(in_namespace([] {
    const auto rules = output("ip", {"rule"});
    const auto plain = config({"-i", "*", "-b", "*", "--enable-ipv6=true", "--probe-timeout=2s"});
    const auto native = config(
        {"-i", "*", "-b", "*", "-m", "TPROXY", "-t", "512", "-r", "400", "--enable-ipv6=true", "--native-nftables", "--probe-timeout=2s"});
    CHECK_THAT(good(apply_rules(plain.options, plain.rules)));
    CHECK_THAT(good(apply_rules(native.options, native.rules)));
    CHECK_THAT(state(true).empty() && state(false).empty());
    CHECK_THAT(native_tables().size() == 4);
    CHECK_THAT(good(validate(native.options, native.facts, native.rules)));
    CHECK_THAT(good(apply_rules(native.options, native.rules)));
    const auto none = config({});
    CHECK_THAT(good(clean_up(none.options, none.rules)));
    CHECK_THAT(native_tables().empty() && output("ip", {"rule"}) == rules);
    CHECK_THAT(good(apply_rules(native.options, native.rules)));
    CHECK_THAT(good(apply_rules(plain.options, plain.rules)));
    CHECK_THAT(native_tables().empty() && !state(true).empty() && output("ip", {"rule"}) == rules);
    return true;
  }));
}

// Somebody listens, so connections are met first, for which a table of the same name is made.
TEST(Apply, NativeTableWithoutRules_IsReplaced) {
  for (const char* emptied : {"flush table ip istio-proxy-nat", "flush table ip6 istio-proxy-nat"})
    EXPECT_TRUE(in_namespace([&] {
      const int fd = ::socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
      CHECK_THAT(::listen(fd, 1) == 0 && somebody_uses_tcp());
      const auto pod = config({"-i", "*", "-b", "*", "--enable-ipv6=true", "--native-nftables"});
      const auto listing = [] { return output("nft", {"--stateless", "list", "ruleset"}); };
      CHECK_THAT(good(apply_rules(pod.options, pod.rules)));
      const auto wanted = listing();
      CHECK_THAT(good(feed_nft(emptied)) && listing() != wanted);
      CHECK_THAT(good(apply_rules(pod.options, pod.rules)));
      CHECK_THAT(listing() == wanted);
      return true;
    })) << emptied;
}

TEST(TproxyRules, Listing_JumpsWithTheirHandles) {
  constexpr std::string_view kListing =
      "table ip istio-proxy-mangle { # handle 5\n\tchain istio-inbound { # handle 2\n"
      "\t\tmeta l4proto tcp counter packets 0 bytes 0 jump istio-tproxy # handle 12\n\t}\n"
      "\tchain istio-tproxy { # handle 3\n\t\tmeta l4proto tcp tproxy to :15006 # handle 13\n\t}\n}\n";
  const std::vector<std::pair<std::string, std::string>> wanted{{"istio-inbound", "12"}};
  EXPECT_EQ(tproxy_rules_in(kListing), wanted);
  EXPECT_TRUE(tproxy_rules_in("jump istio-tproxy").empty());
}

TEST(NativeMarks, Listing_EveryMarkButTheFixedOne) {
  EXPECT_EQ(marks_in("x meta mark set 0x00000200 accept\n meta mark set 0x0000053a\n meta mark set ct mark\n"), std::set<uint32_t>{0x200});
  EXPECT_TRUE(marks_in("meta mark set 0x").empty());
}

}  // namespace
}  // namespace init
