#include <gtest/gtest.h>

#include "base/intrusive_list.h"
#include "base/ip.h"
#include "base/regex.h"
#include "base/result.h"

namespace base {
namespace {

TEST(Ip, Text_RoundTrip_Canonical) {
  for (const char* text : {"0.0.0.0", "127.0.0.6", "255.255.255.255", "::", "::1", "fd00:10:244::af4:10a"}) {
    const auto ip = Ip::parse(text);
    ASSERT_TRUE(ip) << text;
    EXPECT_EQ(ip->text(), text);
  }
  EXPECT_EQ(Ip::parse("FD00:0:0::1")->text(), "fd00::1");
}

TEST(Ip, WrongText_Refused) {
  for (const char* text : {"", "1.2.3", "1.2.3.4.5", "256.1.1.1", "01.2.3.4", "a.b.c.d", "[::1]", "::1%lo", "1.2.3.4/8", "fd00::1::2"})
    EXPECT_FALSE(Ip::parse(text)) << text;
}

TEST(SocketAddress, Text_NeedsBracketsExactlyForIpv6) {
  EXPECT_EQ(SocketAddress::parse("[fd00::1]:80")->text(), "[fd00::1]:80");
  EXPECT_EQ(SocketAddress::parse("10.0.0.1:65535")->port, 65535);
  for (const char* text : {"10.0.0.1", "10.0.0.1:", "10.0.0.1:65536", "[10.0.0.1]:80", "fd00::1:80", "10.0.0.1:-1", ":80"})
    EXPECT_FALSE(SocketAddress::parse(text)) << text;
}

TEST(Cidr, Contains_ComparesPrefixBits) {
  const auto net = Cidr::parse("10.96.7.9/12");
  ASSERT_TRUE(net);
  EXPECT_EQ(net->text(), "10.96.0.0/12");
  EXPECT_TRUE(net->contains(*Ip::parse("10.111.255.255")));
  EXPECT_FALSE(net->contains(*Ip::parse("10.112.0.0")));
  EXPECT_FALSE(net->contains(*Ip::parse("fd00::1")));
  EXPECT_TRUE(Cidr::parse("::/0")->contains(*Ip::parse("fd00::1")));
  EXPECT_EQ(Cidr::parse("10.0.0.1")->length, 32);
  for (const char* text : {"10.0.0.0/33", "::/129", "10.0.0.0/", "10.0.0.0/-1", "/8", "x/8"}) EXPECT_FALSE(Cidr::parse(text)) << text;
}

TEST(Regex, FullMatch_WholeTextOnly) {
  const auto regex = Regex::compile("/api/v[0-9]+");
  ASSERT_TRUE(regex);
  EXPECT_TRUE(regex->full_match("/api/v12"));
  EXPECT_FALSE(regex->full_match("/x/api/v1"));
  EXPECT_FALSE(regex->full_match("/api/v1/x"));
}

TEST(Regex, BadOrTooLong_SaysWhy) {
  EXPECT_NE(Regex::compile("(a").error().find("missing )"), std::string::npos);
  EXPECT_NE(Regex::compile(std::string(1025, 'a')).error().find("1024"), std::string::npos);
  std::string huge;
  for (int i = 0; i < 100; ++i) huge += "a{0,900}|";
  EXPECT_FALSE(Regex::compile(huge));
}

TEST(Detail, Rows_SpeakIstio) {
  EXPECT_EQ(row(Detail::kRouteNotFound).status, 404);
  EXPECT_EQ(row(Detail::kNoHealthyUpstream).body, "no healthy upstream");
  EXPECT_EQ(row(Detail::kClusterNotFound).flag, "NC");
}

struct Item : ListLink { int n = 0; };

TEST(IntrusiveList, DyingItem_LeavesItsList) {
  IntrusiveList<Item> list;
  Item a;
  a.n = 1;
  list.push_back(a);
  {
    Item b;
    b.n = 2;
    list.push_back(b);
    EXPECT_EQ(list.back()->n, 2);
    EXPECT_EQ(list.next(a)->n, 2);
  }
  EXPECT_EQ(list.back()->n, 1);
  EXPECT_EQ(list.next(a), nullptr);
  EXPECT_EQ(list.pop_front(), &a);
  EXPECT_TRUE(list.empty());
}

}  // namespace
}  // namespace base
