#include "init/environment.h"

#include <gtest/gtest.h>

namespace init {
namespace {

TEST(Nameservers, ResolvConf_OnlyAddressesOfNameserverLines) {
  const auto found = nameservers(
      "# nameserver 1.1.1.1\nsearch a.test\nnameserver 10.0.0.10\n  nameserver\tfd00::a\r\nnameserver fe80::1%eth0\noptions "
      "ndots:5\nnameserver nonsense\nnameserver\nnameservers 9.9.9.9\nnameserver 127.0.0.53 # local");
  ASSERT_EQ(found.size(), 4u);
  EXPECT_EQ(found[0].text(), "10.0.0.10");
  EXPECT_EQ(found[1].text(), "fd00::a");
  EXPECT_EQ(found[2].text(), "fe80::1");
  EXPECT_EQ(found[3].text(), "127.0.0.53");
}

TEST(UidOf, Passwd_ExactNameOnly) {
  constexpr const char* kPasswd =
      "root:x:0:0:root:/root:/bin/bash\nistio-proxy2:x:9:9::/:\nistio-proxy:x:1500:1501::/:\nbroken\nshort:x\nodd:x:abc:1::/:\n";
  EXPECT_EQ(uid_of(kPasswd, "istio-proxy"), "1500");
  EXPECT_EQ(uid_of(kPasswd, "root"), "0");
  for (const char* user : {"istio", "broken", "short", "odd", ""}) EXPECT_EQ(uid_of(kPasswd, user), "") << user;
}

TEST(GroupsOf, GroupFile_NamesWithNumbers) {
  const auto found = groups_of("root:x:0:\n# comment\nbroken\n:x:5:\nodd:x:1a:\nnone:x::\nbig:x:99999999999:\njava:x:1500:a,b\nlast:!:7");
  ASSERT_EQ(found.size(), 3u);
  EXPECT_EQ(found[0].name + std::to_string(found[0].gid), "root0");
  EXPECT_EQ(found[1].name + std::to_string(found[1].gid), "java1500");
  EXPECT_EQ(found[2].name + std::to_string(found[2].gid), "last7");
}

TEST(HasCapability, ProcStatus_ReadsTheEffectiveSet) {
  EXPECT_TRUE(has_capability("Name:\tx\nCapPrm:\t0000000000000000\nCapEff:\t0000000000001000\n", 12));
  EXPECT_FALSE(has_capability("CapPrm:\t0000000000001000\nCapEff:\t0000000000002000\n", 12));
  EXPECT_FALSE(has_capability("", 12));
}

TEST(Observe, Options_OverrideWhatTheMachineSays) {
  iptables::Options options;
  options.redirect_dns = true;
  options.dns_servers = std::vector{*base::Ip::parse("10.0.0.10")};
  options.proxy_uids = {"7"};
  options.ipv6 = iptables::Ipv6::kOn;
  const auto facts = observe(options);
  EXPECT_TRUE(facts.ipv6);
  ASSERT_EQ(facts.dns_servers.size(), 1u);
  EXPECT_EQ(facts.dns_servers[0].text(), "10.0.0.10");
  options.ipv6 = iptables::Ipv6::kOff;
  EXPECT_FALSE(observe(options).ipv6);
}

}  // namespace
}  // namespace init
