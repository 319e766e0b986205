#include "iptables/options.h"

#include <map>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace iptables {
namespace {

using testing::HasSubstr;
using Environment = std::map<std::string, std::string>;

std::expected<Invocation, std::string> parse(std::vector<const char*> arguments, const Environment& environment = {}) {
  return parse_options(arguments, [&](const char* name) {
    const auto found = environment.find(name);
    return found == environment.end() ? nullptr : found->second.c_str();
  });
}

Options options(std::vector<const char*> arguments, const Environment& environment = {}) {
  auto out = parse(std::move(arguments), environment);
  EXPECT_TRUE(out) << out.error();
  return out ? out->options : Options{};
}

std::string problem(std::vector<const char*> arguments, const Environment& environment = {}) {
  const auto out = parse(std::move(arguments), environment);
  return out ? "accepted" : out.error();
}

TEST(Options, Nothing_IstiosDefaults) {
  const auto o = options({});
  EXPECT_EQ(o.proxy_port, 15001);
  EXPECT_EQ(o.inbound_port, 15006);
  EXPECT_EQ(o.tunnel_port, 15008);
  EXPECT_EQ(o.probe_port, 15002);
  EXPECT_EQ(o.tproxy_mark, 1337u);
  EXPECT_EQ(o.tproxy_table, 133u);
  EXPECT_EQ(o.probe_timeout, std::chrono::seconds(5));
  EXPECT_EQ(o.loopback.text(), "127.0.0.1/32");
  EXPECT_EQ(o.envoy_user, "istio-proxy");
  EXPECT_TRUE(o.inbound_ports.empty() && o.outbound_ranges.empty() && o.owner_groups.all && o.proxy_uids.empty());
  EXPECT_EQ(o.ipv6, Ipv6::kAuto);
  EXPECT_FALSE(o.dns_servers || o.dry_run || o.redirect_dns || o.trace);
}

TEST(Options, Precedence_FlagOverEnvironmentOverDefault) {
  EXPECT_EQ(options({}, {{"INBOUND_CAPTURE_PORT", "1"}}).inbound_port, 1);
  EXPECT_EQ(options({"-z", "2"}, {{"INBOUND_CAPTURE_PORT", "1"}}).inbound_port, 2);
  EXPECT_TRUE(options({"-b", ""}, {{"ISTIO_INBOUND_PORTS", "80"}}).inbound_ports.empty());
  EXPECT_FALSE(options({"--dry-run=false"}, {{"DRY_RUN", "true"}}).dry_run);
}

TEST(Options, SecondVariable_WinsOverTheFirst) {
  EXPECT_TRUE(options({}, {{"ISTIO_META_DNS_CAPTURE", "true"}}).redirect_dns);
  EXPECT_FALSE(options({}, {{"REDIRECT_DNS", "true"}, {"ISTIO_META_DNS_CAPTURE", "false"}}).redirect_dns);
  EXPECT_TRUE(options({}, {{"INVALID_DROP", "1"}}).drop_invalid);
}

TEST(Options, EmptyVariable_CountsAsUnset) {
  const auto o = options({}, {{"INBOUND_CAPTURE_PORT", ""}, {"ISTIO_OUTBOUND_OWNER_GROUPS", ""}, {"DRY_RUN", ""}});
  EXPECT_EQ(o.inbound_port, 15006);
  EXPECT_TRUE(o.owner_groups.all);
}

TEST(Options, HoldUntilReady_FlagAndVariable) {
  EXPECT_FALSE(options({}).hold_until_ready);
  EXPECT_TRUE(options({}, {{"HOLD_UNTIL_READY", "true"}}).hold_until_ready);
  EXPECT_FALSE(options({"--hold-until-ready=false"}, {{"HOLD_UNTIL_READY", "true"}}).hold_until_ready);
  EXPECT_THAT(problem({}, {{"HOLD_UNTIL_READY", "soon"}}), HasSubstr("HOLD_UNTIL_READY: \"soon\" is not accepted, give true or false"));
}

TEST(Options, EnvoyPort_HasNoVariable) { EXPECT_EQ(options({}, {{"ENVOY_PORT", "1"}}).proxy_port, 15001); }

TEST(Options, Spellings_OfPflag) {
  for (const auto& arguments :
       std::vector<std::vector<const char*>>{{"--envoy-port=7"}, {"--envoy-port", "7"}, {"-p", "7"}, {"-p7"}, {"-p=7"}, {"-np7"}})
    EXPECT_EQ(options(arguments).proxy_port, 7) << arguments[0];
  EXPECT_TRUE(options({"-np7"}).dry_run);
  EXPECT_TRUE(options({"--dry-run", "-x", ""}).dry_run);
  EXPECT_EQ(problem({"--dry-run", "true"}), "\"true\" is no flag, and there are no other arguments; see --help");
}

TEST(Options, Lists_DropEmptyItemsAndKeepOrder) {
  const auto o = options({"-b", "32000,,31000:31009,", "-i", "10.1.2.3/8,fd00::/8"});
  ASSERT_EQ(o.inbound_ports.list.size(), 2u);
  EXPECT_EQ(o.inbound_ports.list[0].text(), "32000");
  EXPECT_EQ(o.inbound_ports.list[1].text(), "31000:31009");
  EXPECT_EQ(o.outbound_ranges.list[0].text(), "10.0.0.0/8");
  EXPECT_TRUE(options({"-b", "80", "-b", "*"}).inbound_ports.list.empty());
}

TEST(Options, DnsServers_EmptyIsNotUnset) {
  EXPECT_FALSE(options({}).dns_servers);
  ASSERT_TRUE(options({"--dns-servers="}).dns_servers);
  EXPECT_TRUE(options({"--dns-servers="}).dns_servers->empty());
}

TEST(Options, WrongValue_LineNamesWhereItCameFromAndTheValue) {
  EXPECT_EQ(problem({"-p", "99999"}), "--envoy-port (-p): \"99999\" is not accepted, give a port from 1 to 65535");
  EXPECT_THAT(problem({}, {{"ISTIO_SERVICE_CIDR", "1.2.3.4/5/6"}}), HasSubstr("ISTIO_SERVICE_CIDR: \"1.2.3.4/5/6\""));
  EXPECT_THAT(problem({"-b", "80,443,x"}), HasSubstr("\"x\" (in a list of 8 characters)"));
  EXPECT_THAT(problem({"-p", "1\n2"}), HasSubstr("\"1\\x0a2\""));
  EXPECT_EQ(problem({"--no-such-flag=1"}), "--no-such-flag is not known; see --help");
  EXPECT_THAT(problem({"-p"}), HasSubstr("--envoy-port (-p) needs a value"));
}

TEST(Options, WrongValues_Refused) {
  const std::vector<std::vector<const char*>> cases = {{"-p", "0"},
                                                       {"-p", "+1"},
                                                       {"-p", " 1"},
                                                       {"-p", "01"},
                                                       {"-p", ""},
                                                       {"-b", "80:79"},
                                                       {"-b", "*,80"},
                                                       {"-b", "1:2:3"},
                                                       {"-u", "-1"},
                                                       {"-u", "root"},
                                                       {"-u", "4294967295"},
                                                       {"-u", "5-4"},
                                                       {"-i", "10.0.0.0/33"},
                                                       {"-x", "*"},
                                                       {"-c", "eth 0"},
                                                       {"-c", "abcdefghijklmnop"},
                                                       {"-c", "-j"},
                                                       {"-c", "a/b"},
                                                       {"-t", "0"},
                                                       {"-t", "1338"},
                                                       {"-r", "254"},
                                                       {"-m", "tproxy"},
                                                       {"--force-iptables-binary=foo"},
                                                       {"--enable-ipv6=maybe"},
                                                       {"--dns-servers=1.2.3"},
                                                       {"--probe-timeout=5"},
                                                       {"--probe-timeout=0s"},
                                                       {"--probe-timeout=-5s"},
                                                       {"--probe-timeout=."},
                                                       {"--probe-timeout=.s"},
                                                       {"--probe-timeout=1.5.5s"},
                                                       {"--probe-timeout=1e3s"},
                                                       {"--probe-timeout=infs"},
                                                       {"--probe-timeout=5d"},
                                                       {"--probe-timeout=5s "},
                                                       {"--probe-timeout="},
                                                       {"--probe-timeout=24h1ns"},
                                                       {"--probe-timeout=99999999999999999999999999999999h"},
                                                       {"--dry-run=yes"},
                                                       {"--log_output_level=loud"},
                                                       {"stray"},
                                                       {"-"},
                                                       {"--"},
                                                       {"-y"}};
  for (const auto& arguments : cases) EXPECT_FALSE(parse(arguments)) << arguments[0] << ' ' << arguments.back();
  const std::vector<std::pair<std::string, std::string>> variables = {{"ISTIO_OUTBOUND_OWNER_GROUPS", "java -j ACCEPT"},
                                                                      {"ISTIO_OUTBOUND_IPV4_LOOPBACK_CIDR", "10.0.0.0/8"},
                                                                      {"ISTIO_OUTBOUND_IPV4_LOOPBACK_CIDR", "127.0.0.0/7"},
                                                                      {"ISTIO_OUTBOUND_IPV4_LOOPBACK_CIDR", "127.0.0.1"}};
  for (const auto& [name, value] : variables) EXPECT_FALSE(parse({}, {{name, value}})) << name << ' ' << value;
}

TEST(Options, OwnerGroups_AtMost64) {
  std::string groups = "1";
  for (int i = 2; i <= 64; ++i) groups += "," + std::to_string(i);
  EXPECT_EQ(options({}, {{"ISTIO_OUTBOUND_OWNER_GROUPS", groups}}).owner_groups.list.size(), 64u);
  EXPECT_FALSE(parse({}, {{"ISTIO_OUTBOUND_OWNER_GROUPS", groups + ",65"}}));
}

TEST(Options, ProbeTimeout_GoDurations) {
  EXPECT_EQ(options({"--probe-timeout=1m30s"}).probe_timeout, std::chrono::seconds(90));
  EXPECT_EQ(options({"--probe-timeout=250ms"}).probe_timeout, std::chrono::milliseconds(250));
  EXPECT_EQ(options({"--probe-timeout=1h"}).probe_timeout, std::chrono::hours(1));
  EXPECT_EQ(options({"--probe-timeout=+1.5s"}).probe_timeout, std::chrono::milliseconds(1500));
  EXPECT_EQ(options({"--probe-timeout=.5h1.m"}).probe_timeout, std::chrono::minutes(31));
  EXPECT_EQ(options({"--probe-timeout=1h15m30.918s"}).probe_timeout, std::chrono::milliseconds(4'530'918));
  for (const char* short_one : {"1ns", "1us", "1\u00b5s", "999\u03bcs"})
    EXPECT_EQ(options({"--probe-timeout", short_one}).probe_timeout, std::chrono::milliseconds(1)) << short_one;
  EXPECT_EQ(options({"--probe-timeout=24h"}).probe_timeout, std::chrono::hours(24));
  EXPECT_EQ(problem({"--probe-timeout=25h"}),
            "--probe-timeout: \"25h\" is not accepted, give a duration like 5s, 1.5s or 500ms, above 0 and up to 24h");
}

TEST(Options, TraceOfNothing_IsRefused) {
  for (const char* nothing : {"", " "})
    EXPECT_EQ(problem({"--trace", nothing}),
              "--trace: \"" + std::string(nothing) + "\" is not accepted, give a connection like 'out 10.0.0.7:443 uid 1000'");
  EXPECT_FALSE(parse({"--trace="}));
  EXPECT_EQ(options({"--trace=out 10.0.0.7:443"}).trace, "out 10.0.0.7:443");
}

TEST(Options, OnePortForBothDirections_IsRefused) {
  EXPECT_EQ(
      problem({"-p", "15006"}),
      "--inbound-capture-port (-z): \"15006\" is not accepted, it is the value of --envoy-port (-p) too; give each a port of its own");
  EXPECT_FALSE(parse({}, {{"INBOUND_CAPTURE_PORT", "15001"}}));
  EXPECT_EQ(options({"-p", "15006", "-z", "15001"}).inbound_port, 15001);
  EXPECT_EQ(options({"-p", "15006", "--cleanup-only"}).proxy_port, 15006) << "what an older program made with it can be removed";
  EXPECT_EQ(parse({"-p", "15006", "--help"})->action, Action::kHelp);
}

TEST(Options, HelpAndVersion_WorkWithAWrongEnvironment) {
  EXPECT_EQ(parse({"--help"}, {{"PROXY_UID", "x;y"}})->action, Action::kHelp);
  EXPECT_EQ(parse({"--version"})->action, Action::kVersion);
  EXPECT_THAT(help(), HasSubstr("-b, --istio-inbound-ports"));
  EXPECT_THAT(help(), HasSubstr("[REDIRECT_DNS, ISTIO_META_DNS_CAPTURE]"));
}

}  // namespace
}  // namespace iptables
