#include "routing/names.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "routing/protocol.h"

namespace routing {
namespace {
TEST(Names, Hosts_AreCompletedOnlyWithoutDot) {
  EXPECT_EQ(complete_host("reviews", "prod", "cluster.local"), "reviews.prod.svc.cluster.local");
  for (const char* literal : {"reviews.prod", "*", "*.com", "*foo", "10.0.0.1", "::1", "reviews.prod.svc.cluster.local"})
    EXPECT_EQ(complete_host(literal, "prod", "cluster.local"), literal);
}
TEST(Names, Clusters_AreIstios) {
  EXPECT_EQ(outbound_cluster(9080, "v1", "reviews.default.svc.cluster.local"), "outbound|9080|v1|reviews.default.svc.cluster.local");
  EXPECT_EQ(outbound_cluster(80, "", "h"), "outbound|80||h");
  EXPECT_EQ(inbound_cluster(8080), "inbound|8080||");
}
TEST(Names, Gateways_AreCompletedWithTheNamespace) {
  EXPECT_EQ(gateway_name("mesh", "ns"), "mesh");
  EXPECT_EQ(gateway_name("gw", "ns"), "ns/gw");
  EXPECT_EQ(gateway_name("./gw", "ns"), "ns/gw");
  EXPECT_EQ(gateway_name("other/gw", "ns"), "other/gw");
  EXPECT_EQ(gateway_name("gw.other.svc.cluster.local", "ns"), "other/gw");
}
TEST(Names, Wildcards_CoverWhatIsBelow) {
  EXPECT_TRUE(covers("*", "a.com"));
  EXPECT_TRUE(covers("*", "*.a.com"));
  EXPECT_TRUE(covers("*.a.com", "x.a.com"));
  EXPECT_TRUE(covers("*.a.com", "y.x.a.com"));
  EXPECT_TRUE(covers("*.a.com", "*.x.a.com"));
  EXPECT_TRUE(covers("*.a.com", "*.a.com"));
  EXPECT_FALSE(covers("*.a.com", "a.com"));
  EXPECT_FALSE(covers("*.x.a.com", "*.a.com"));
  EXPECT_FALSE(covers("a.com", "A.com")) << "compared with case";
  EXPECT_EQ(common_host("*.a.com", "x.a.com"), "x.a.com");
  EXPECT_EQ(common_host("x.a.com", "*.a.com"), "x.a.com");
  EXPECT_EQ(common_host("*.b.com", "x.a.com"), "");
}
TEST(Names, ServiceDomains_DependOnTheClient) {
  using testing::ElementsAre;
  EXPECT_THAT(service_domains("r", "p", "c.l", "p", false), ElementsAre("r.p.svc.c.l", "r.p.svc.c.l.", "r", "r.p.svc", "r.p"));
  EXPECT_THAT(service_domains("r", "p", "c.l", "q", false), ElementsAre("r.p.svc.c.l", "r.p.svc.c.l.", "r.p.svc", "r.p"));
  EXPECT_THAT(service_domains("r", "p", "c.l", "q", true),
              ElementsAre("r.p.svc.c.l", "r.p.svc.c.l.", "r.p.svc", "r.p", "*.r.p.svc.c.l", "*.r.p.svc.c.l.", "*.r.p.svc", "*.r.p"));
}
TEST(Names, Port_IsCutOffTheAuthority) {
  EXPECT_EQ(without_port("a:80"), "a");
  EXPECT_EQ(without_port("a"), "a");
  EXPECT_EQ(without_port("[::1]:80"), "[::1]");
  EXPECT_EQ(without_port("[::1]"), "[::1]");
  EXPECT_EQ(without_port(""), "");
}

Protocol named(std::string name, uint16_t port = 8000, std::string app = "", std::string transport = "TCP") {
  return protocol_of(api::ServicePort{.name = std::move(name), .protocol = std::move(transport), .app_protocol = std::move(app), .port = port, .target_name = {}, .at = {}});
}
TEST(Protocol, Selection_FollowsAppProtocolThenNameThenPort) {
  EXPECT_EQ(named("http"), Protocol::kHttp);
  EXPECT_EQ(named("http-metrics"), Protocol::kHttp);
  EXPECT_EQ(named("HTTP-x"), Protocol::kHttp);
  EXPECT_EQ(named("httpx"), Protocol::kAuto);
  EXPECT_EQ(named("http2"), Protocol::kHttp2);
  EXPECT_EQ(named("grpc-web"), Protocol::kGrpcWeb);
  EXPECT_EQ(named("grpc-api"), Protocol::kGrpc);
  EXPECT_EQ(named("https"), Protocol::kTls);
  EXPECT_EQ(named("mongo"), Protocol::kTcp);
  EXPECT_EQ(named(""), Protocol::kAuto);
  EXPECT_EQ(named("", 3306), Protocol::kTcp);
  EXPECT_EQ(named("http", 3306), Protocol::kHttp) << "what is declared holds";
  EXPECT_EQ(named("tcp", 80, "http"), Protocol::kHttp);
  EXPECT_EQ(named("tcp", 80, "kubernetes.io/h2c"), Protocol::kHttp2);
  EXPECT_EQ(named("tcp", 80, "kubernetes.io/wss"), Protocol::kTls);
  EXPECT_EQ(named("tcp", 80, "my.own/thing"), Protocol::kTcp) << "an unknown appProtocol falls through to the name";
  EXPECT_EQ(named("http", 80, "", "UDP"), Protocol::kUdp);
  EXPECT_EQ(protocol_of_entry("GRPC-Web", 80), Protocol::kGrpcWeb);
  EXPECT_EQ(protocol_of_entry("", 80), Protocol::kAuto);
  EXPECT_EQ(protocol_of_entry("HTTPS", 443), Protocol::kTls);
}
}  // namespace
}  // namespace routing
