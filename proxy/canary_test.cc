#include "proxy/canary.h"

#include <gtest/gtest.h>

#include "api/resource.h"
#include "doc/reader.h"
#include "net/mem_stream.h"

namespace proxy {
namespace {

bool is_canary_from(const char* peer, const char* dst, bool redirected) {
  net::Worker worker({});
  net::MemPipe pipe;
  pipe.b_address = *base::SocketAddress::parse(peer);
  pipe.original_dst = {*base::SocketAddress::parse(dst), redirected};
  const auto [ours, theirs] = net::mem_pipe(worker, pipe);
  return is_canary(*ours);
}

TEST(Canary, OnlyOurOwnRedirectedConnectionToTheProbeAddress) {
  EXPECT_TRUE(is_canary_from("127.0.0.1:40000", "127.0.0.6:15002", true));
  EXPECT_FALSE(is_canary_from("127.0.0.1:40000", "127.0.0.6:15002", false));   // dialled the inbound port itself
  EXPECT_FALSE(is_canary_from("127.0.0.1:40000", "127.0.0.6:15003", true));
  EXPECT_FALSE(is_canary_from("127.0.0.1:40000", "10.0.0.1:15002", true));
  EXPECT_FALSE(is_canary_from("10.0.0.9:40000", "127.0.0.6:15002", true));     // nobody else may count as one
  EXPECT_TRUE(is_canary_from("[fd00::5]:40000", "[fd00::5]:15002", true));
  EXPECT_FALSE(is_canary_from("[fd00::5]:40000", "[fd00::5]:15002", false));
  EXPECT_FALSE(is_canary_from("[fd00::5]:40000", "[fd00::5]:15003", true));
  EXPECT_FALSE(is_canary_from("[fd00::6]:40000", "[fd00::5]:15002", true));
  EXPECT_FALSE(is_canary_from("10.0.0.1:40000", "10.0.0.1:15002", true));      // IPv4 has the probe address
}

bool captures(const char* annotations) {
  const auto text = std::string("apiVersion: v1\nkind: Pod\nmetadata:\n  name: web\n  namespace: shop\n  annotations: ") + annotations + "\n";
  std::vector<std::shared_ptr<const api::Resource>> resources;
  for (const auto& document : doc::read_yaml("pod.yaml", text).documents)
    for (auto& resource : api::decode(document)) resources.push_back(std::move(resource));
  Options options;
  options.pod_namespace = "shop";
  options.pod_name = "web";
  return captures_probe_port(api::make_mesh(std::move(resources), {}), options);
}

TEST(Canary, ListOfInboundPorts_SaysWhetherTproxyTakesTheProbe) {
  EXPECT_TRUE(captures("{}"));
  EXPECT_TRUE(captures("{traffic.sidecar.istio.io/includeInboundPorts: '*'}"));
  EXPECT_FALSE(captures("{traffic.sidecar.istio.io/includeInboundPorts: '8080,9090'}"));
  EXPECT_FALSE(captures("{traffic.sidecar.istio.io/includeInboundPorts: ''}"));
  EXPECT_TRUE(captures("{traffic.sidecar.istio.io/includeInboundPorts: '8080,15002'}"));
  EXPECT_FALSE(captures("{traffic.sidecar.istio.io/excludeInboundPorts: '15002'}"));
  EXPECT_TRUE(captures("{traffic.sidecar.istio.io/excludeInboundPorts: '115002'}"));
  EXPECT_TRUE(captures_probe_port({}, {}));
  Options options;
  options.inbound_ports = "8080";   // for the whole mesh, so no Pod says it
  EXPECT_FALSE(captures_probe_port({}, options));
  options.inbound_ports = "*";
  EXPECT_TRUE(captures_probe_port({}, options));
}

}  // namespace
}  // namespace proxy
