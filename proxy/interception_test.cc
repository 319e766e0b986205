#include "proxy/interception.h"

#include <gtest/gtest.h>

#include "api/resource.h"
#include "doc/reader.h"

namespace proxy {
namespace {

api::Mesh mesh_of(const std::string& annotations) {
  const auto text = "apiVersion: v1\nkind: Pod\nmetadata:\n  name: web\n  namespace: shop\n  annotations: {" + annotations + "}\n";
  std::vector<std::shared_ptr<const api::Resource>> resources;
  for (const auto& document : doc::read_yaml("pod.yaml", text).documents)
    for (auto& resource : api::decode(document)) resources.push_back(std::move(resource));
  return api::make_mesh(std::move(resources), {});
}
api::Mesh mesh_with(const char* mode) { return mesh_of(mode ? std::string("sidecar.istio.io/interceptionMode: ") + mode : ""); }
Options options_of(const char* mode = "") {
  Options options;
  options.pod_namespace = "shop";
  options.pod_name = "web";
  options.interception_mode = mode;
  return options;
}

// Other injectors than ours do not say whether the rules take the canary.
TEST(Interception, InboundPortsThatRulesForTproxyTake) {
  const auto lists = [](const std::string& annotations) { return lists_inbound(mesh_of(annotations), options_of(), 15002); };
  EXPECT_TRUE(lists(""));
  EXPECT_TRUE(lists("traffic.sidecar.istio.io/includeInboundPorts: '*'"));
  EXPECT_FALSE(lists("traffic.sidecar.istio.io/includeInboundPorts: '8080,9090'"));
  EXPECT_FALSE(lists("traffic.sidecar.istio.io/includeInboundPorts: ''"));
  EXPECT_TRUE(lists("traffic.sidecar.istio.io/includeInboundPorts: '8080, 15002'"));
  EXPECT_FALSE(lists("traffic.sidecar.istio.io/excludeInboundPorts: '8080, 15002'"));
  EXPECT_TRUE(lists("traffic.sidecar.istio.io/excludeInboundPorts: '115002'"));
  EXPECT_TRUE(lists_inbound({}, options_of(), 15002)) << "nothing is known of the Pod";
}

TEST(Interception, AnnotationDecides_UnlessTheCommandLineDoes) {
  EXPECT_TRUE(wants_transparent(mesh_with("TPROXY"), options_of()));
  EXPECT_FALSE(wants_transparent(mesh_with("REDIRECT"), options_of()));
  EXPECT_FALSE(wants_transparent(mesh_with(nullptr), options_of()));
  EXPECT_FALSE(wants_transparent(mesh_with("TPROXY"), options_of("REDIRECT")));
  EXPECT_TRUE(wants_transparent(mesh_with(nullptr), options_of("TPROXY")));
  EXPECT_TRUE(wants_transparent({}, options_of("TPROXY")));
  EXPECT_FALSE(wants_transparent({}, options_of()));
}

TEST(Interception, Gateway_IsNeverTransparent) {
  Options options = options_of("TPROXY");
  options.gateway = true;
  EXPECT_FALSE(wants_transparent(mesh_with("TPROXY"), options));
}

TEST(Interception, Aim_KeepsTheClientOnlyWhereRedirectWouldHideIt) {
  base::ClusterSettings inbound, outbound;
  inbound.original_dst = inbound.from_inbound_address = outbound.original_dst = true;
  Connection connection;
  connection.dst.address = *base::SocketAddress::parse("10.0.0.7:80");
  connection.peer = *base::SocketAddress::parse("10.0.0.9:40000");
  const auto aimed = [&](const base::ClusterSettings& settings) {
    upstream::PickContext pick;
    aim(pick, connection, settings);
    return pick;
  };
  EXPECT_EQ(aimed(inbound).original_dst, connection.dst.address);
  EXPECT_EQ(aimed(inbound).source, std::nullopt);
  connection.keeps_source = true;
  EXPECT_EQ(aimed(inbound).source, connection.peer.ip);
  EXPECT_EQ(aimed(outbound).source, std::nullopt);
  inbound.original_dst = false;
  EXPECT_EQ(aimed(inbound).original_dst, std::nullopt);
  EXPECT_EQ(aimed(inbound).source, connection.peer.ip);
  connection.peer.ip = base::Ip::loopback(true);
  EXPECT_EQ(aimed(inbound).source, std::nullopt);
}

}  // namespace
}  // namespace proxy
