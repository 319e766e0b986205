#include "routing/engine.h"

#include <set>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "api/resource.h"
#include "doc/reader.h"

namespace routing {
namespace {
using testing::ElementsAre;
using testing::HasSubstr;

constexpr const char* kMesh = R"(
apiVersion: v1
kind: Pod
metadata:
  name: web-7d9f8c6b5-abcde
  namespace: shop
  labels: {app: web, version: v2, pod-template-hash: 7d9f8c6b5}
  annotations: {proxy.istio.io/config: "{concurrency: 3, proxyMetadata: {A: own}}"}
spec: {serviceAccountName: web-sa}
status: {phase: Running, podIP: 10.0.0.1}
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec: {clusterIP: 10.96.0.1, selector: {app: web}, ports: [{name: http, port: 80, targetPort: 8080}, {name: grpc, port: 90}, {name: tcp, port: 91}]}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: web, namespace: shop}
spec:
  host: web
  trafficPolicy: {loadBalancer: {simple: ROUND_ROBIN}}
  subsets:
  - {name: v2, labels: {version: v2}}
  - {name: direct, labels: {}, trafficPolicy: {loadBalancer: {simple: PASSTHROUGH}}}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: web, namespace: shop}
spec:
  hosts: [web]
  http:
  - name: "quo\"ted"
    match: [{uri: {regex: "/a\\d"}, method: {exact: GET}, withoutHeaders: {x: {}}, queryParams: {q: {exact: "1"}}}]
    timeout: 1.5s
    route: [{destination: {host: web, subset: v2}, weight: 1}, {destination: {host: web}, weight: 3}]
)";

api::Mesh mesh_of(std::string_view text, api::MeshConfig config = {}) {
  std::vector<std::shared_ptr<const api::Resource>> resources;
  const auto file = doc::read_yaml("mesh.yaml", text);
  EXPECT_TRUE(file.problems.empty());
  for (const auto& document : file.documents)
    for (auto& resource : api::decode(document)) {
      EXPECT_TRUE(resource->valid) << resource->meta.id() << (resource->problems.empty() ? "" : doc::line_of(resource->problems[0]));
      resources.push_back(std::move(resource));
    }
  return api::make_mesh(std::move(resources), config);
}
Proxy self_of(const api::Mesh& mesh, Proxy::Role role = Proxy::Role::kSidecar) { return proxy_of(*mesh.pods.front(), role, mesh.config); }
const base::ClusterSettings* cluster(const Snapshot& snapshot, std::string_view name) {
  for (const auto& each : snapshot.clusters())
    if (each->name == name) return each.get();
  return nullptr;
}

TEST(Compile, ClusterSettings_SayWhatTheServiceIs) {
  api::MeshConfig config;
  config.connect_timeout = std::chrono::milliseconds(700);
  const auto mesh = mesh_of(kMesh, config);
  const auto compiled = compile(mesh, self_of(mesh));
  const auto* http = cluster(*compiled.snapshot, "outbound|80||web.shop.svc.cluster.local");
  ASSERT_TRUE(http);
  EXPECT_EQ(http->load_balancer, base::LoadBalancer::kRoundRobin);
  EXPECT_EQ(http->protocol, base::UpstreamProtocol::kHttp1);
  EXPECT_EQ(http->connect_timeout.count(), 700);
  EXPECT_EQ(http->service_host, "web.shop.svc.cluster.local");
  EXPECT_EQ(http->service_name, "web");
  EXPECT_EQ(http->service_namespace, "shop");
  EXPECT_FALSE(http->original_dst || http->from_inbound_address);
  EXPECT_EQ(cluster(*compiled.snapshot, "outbound|90||web.shop.svc.cluster.local")->protocol, base::UpstreamProtocol::kHttp2);
  EXPECT_EQ(cluster(*compiled.snapshot, "outbound|91||web.shop.svc.cluster.local")->protocol, base::UpstreamProtocol::kTcp);
  EXPECT_EQ(cluster(*compiled.snapshot, "outbound|80|v2|web.shop.svc.cluster.local")->load_balancer, base::LoadBalancer::kRoundRobin);
  EXPECT_TRUE(cluster(*compiled.snapshot, "outbound|80|direct|web.shop.svc.cluster.local")->original_dst);
  const auto* inbound = cluster(*compiled.snapshot, "inbound|8080||");
  ASSERT_TRUE(inbound);
  EXPECT_TRUE(inbound->original_dst && inbound->from_inbound_address);
  EXPECT_EQ(inbound->service_host, "web.shop.svc.cluster.local");
  EXPECT_TRUE(cluster(*compiled.snapshot, "PassthroughCluster")->original_dst);
  EXPECT_FALSE(cluster(*compiled.snapshot, "PassthroughCluster")->from_inbound_address);
  EXPECT_FALSE(cluster(*compiled.snapshot, "BlackHoleCluster")->original_dst);
  EXPECT_TRUE(cluster(*compiled.snapshot, "InboundPassthroughCluster")->from_inbound_address);
}

// As "connections pending requests retries per-connection connect idle tcp-idle duration", thresholds that are none as "-".
std::string pool_of(const Compiled& compiled, std::string_view name) {
  const auto* settings = cluster(*compiled.snapshot, name);
  if (!settings) return "no such cluster";
  std::string out;
  for (const uint32_t value : {settings->max_connections, settings->max_pending, settings->max_requests, settings->max_retries})
    out += (value == ~0u ? "-" : std::to_string(value)) + ' ';
  out += std::to_string(settings->max_requests_per_connection);
  for (const auto time : {settings->connect_timeout, settings->idle_timeout, settings->tcp_idle_timeout, settings->max_connection_duration})
    out += ' ' + std::to_string(time.count());
  return out;
}

constexpr const char* kPools = R"(
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: web, namespace: shop}
spec:
  host: web
  trafficPolicy:
    loadBalancer: {simple: RANDOM}
    connectionPool:
      tcp: {maxConnections: 7, connectTimeout: 250ms, idleTimeout: 0s, maxConnectionDuration: 90s}
      http: {http1MaxPendingRequests: 2, http2MaxRequests: 3, maxRetries: 4, maxRequestsPerConnection: 5, idleTimeout: 8s}
    portLevelSettings:
    - {port: {number: 90}, connectionPool: {tcp: {maxConnections: 0}, http: {maxRetries: 1}}}
    - {port: {number: 91}, loadBalancer: {simple: ROUND_ROBIN}}
  subsets:
  - {name: plain, labels: {version: v2}}
  - {name: own, labels: {version: v2}, trafficPolicy: {connectionPool: {http: {http2MaxRequests: 9}}}}
  - name: port
    labels: {version: v2}
    trafficPolicy:
      connectionPool: {tcp: {maxConnections: 1}}
      portLevelSettings: [{port: {number: 80}, connectionPool: {tcp: {maxConnections: 2}}}]
)";

TEST(Compile, ConnectionPool_BlockByBlockFromSubsetPortAndRule) {
  std::string text(kMesh);
  const auto begin = text.find("---\napiVersion: networking.istio.io/v1\nkind: DestinationRule"), end = text.find("---", begin + 4);
  text.replace(begin, end - begin, std::string(kPools).substr(1));
  const auto mesh = mesh_of(text);
  const auto compiled = compile(mesh, self_of(mesh));
  const auto outbound = [&](std::string_view port_and_subset) { return pool_of(compiled, "outbound|" + std::string(port_and_subset) + "|web.shop.svc.cluster.local"); };
  const std::string whole = "7 2 3 4 5 250 8000 0 90000", none = "- - - - 0 10000 3600000 3600000 0";
  EXPECT_EQ(outbound("80|"), whole);
  EXPECT_EQ(outbound("80|plain"), whole);
  EXPECT_EQ(outbound("90|"), "- - - 1 0 10000 3600000 3600000 0") << "the port's block replaces the rule's as a unit; 0 is none";
  EXPECT_EQ(outbound("91|"), none) << "a port entry without the block still hides the rule's";
  EXPECT_EQ(cluster(*compiled.snapshot, "outbound|91||web.shop.svc.cluster.local")->load_balancer, base::LoadBalancer::kRoundRobin);
  EXPECT_EQ(cluster(*compiled.snapshot, "outbound|90||web.shop.svc.cluster.local")->load_balancer, base::LoadBalancer::kLeastRequest);
  EXPECT_EQ(cluster(*compiled.snapshot, "outbound|80|own|web.shop.svc.cluster.local")->load_balancer, base::LoadBalancer::kRandom);
  EXPECT_EQ(outbound("80|own"), "- - 9 - 0 10000 3600000 3600000 0");
  EXPECT_EQ(outbound("91|own"), "- - 9 - 0 10000 3600000 3600000 0") << "the subset's block wins over the rule's port entry";
  EXPECT_EQ(outbound("80|port"), "2 - - - 0 10000 3600000 3600000 0");
  EXPECT_EQ(outbound("90|port"), "1 - - - 0 10000 3600000 3600000 0");
  EXPECT_EQ(pool_of(compiled, "inbound|8080||"), whole) << "the pool holds on the server's side too";
  EXPECT_EQ(cluster(*compiled.snapshot, "inbound|8080||")->load_balancer, base::LoadBalancer::kPassthrough);
  EXPECT_EQ(pool_of(compiled, "PassthroughCluster"), none);
}

TEST(Compile, ClusterNames_AreUniqueAndEndpointsInTheirOrder) {
  const auto mesh = mesh_of(kMesh);
  const auto compiled = compile(mesh, self_of(mesh));
  std::set<std::string> names;
  for (const auto& each : compiled.snapshot->clusters()) EXPECT_TRUE(names.insert(each->name).second) << each->name;
  const auto again = endpoints_of(mesh, self_of(mesh), *compiled.snapshot);
  ASSERT_EQ(again.size(), compiled.endpoints.size());
  ASSERT_EQ(again.size(), compiled.snapshot->clusters().size());
  for (size_t i = 0; i < again.size(); ++i) {
    EXPECT_EQ(again[i].first, compiled.snapshot->clusters()[i]->name);
    EXPECT_EQ(again[i].second->list, compiled.endpoints[i].second->list);
  }
}

TEST(Compile, Snapshot_OutlivesTheMesh) {
  Compiled compiled;
  Proxy self;
  {
    const auto mesh = mesh_of(kMesh);
    self = self_of(mesh);
    compiled = compile(mesh, self);
  }
  const auto fresh = mesh_of(std::string(kMesh) + R"(
---
apiVersion: v1
kind: Pod
metadata: {name: second, namespace: shop, labels: {app: web, version: v2}}
status: {phase: Running, podIP: 10.0.0.2}
)");
  const auto endpoints = endpoints_of(fresh, self, *compiled.snapshot);
  for (const auto& [name, set] : endpoints)
    if (name == "outbound|80|v2|web.shop.svc.cluster.local") {
      ASSERT_EQ(set->list.size(), 2u);
      EXPECT_EQ(set->list[0].workload->workload, "second");
      EXPECT_EQ(set->list[1].workload->workload, "web");
    }
  EXPECT_THAT(compiled.snapshot->routes_json(), HasSubstr("web.shop.svc.cluster.local:80"));
}

TEST(Compile, ProxyConfigOfThePod_GoesOverTheMeshs) {
  api::MeshConfig config;
  config.defaults.concurrency = 1;
  config.defaults.num_trusted_proxies = 2;
  config.defaults.proxy_metadata = {{"A", "mesh"}, {"B", "mesh"}};
  const auto mesh = mesh_of(kMesh, config);
  const auto compiled = compile(mesh, self_of(mesh));
  const auto& merged = compiled.snapshot->mesh_config().defaults;
  EXPECT_EQ(merged.concurrency, 3u);
  EXPECT_EQ(merged.num_trusted_proxies, 2u);
  EXPECT_EQ(merged.proxy_metadata.at("A"), "own");
  EXPECT_EQ(merged.proxy_metadata.at("B"), "mesh");
}

TEST(Compile, EmptyMesh_PassesEverythingOn) {
  const auto compiled = compile(api::Mesh{}, Proxy{});
  const auto* out = compiled.snapshot->listener_for(Direction::kOutbound, {{*base::Ip::parse("1.2.3.4"), 80}, true});
  ASSERT_TRUE(out);
  EXPECT_EQ(out->kind, Listener::Kind::kPassthrough);
  EXPECT_EQ(compiled.snapshot->listener_for(Direction::kInbound, {{*base::Ip::parse("1.2.3.4"), 80}, true})->kind, Listener::Kind::kAuto);
  EXPECT_EQ(compiled.snapshot->listener_for(Direction::kGateway, {{*base::Ip::parse("1.2.3.4"), 80}, true}), nullptr);
  EXPECT_TRUE(compiled.problems.empty());
}

TEST(Compile, Gateway_HasNoCapturePorts) {
  const auto mesh = mesh_of(kMesh);
  const auto compiled = compile(mesh, self_of(mesh, Proxy::Role::kGateway));
  EXPECT_EQ(compiled.snapshot->listener_for(Direction::kOutbound, {{*base::Ip::parse("1.2.3.4"), 80}, true})->kind, Listener::Kind::kBlackHole);
  EXPECT_EQ(compiled.snapshot->listener_for(Direction::kInbound, {{*base::Ip::parse("1.2.3.4"), 80}, true})->kind, Listener::Kind::kBlackHole);
  EXPECT_TRUE(compiled.snapshot->gateway_ports().empty());
}

TEST(Dump, Routes_AreJsonInEnvoysWords) {
  const auto mesh = mesh_of(kMesh);
  const std::string json = compile(mesh, self_of(mesh)).snapshot->routes_json();
  const auto read = doc::read_json("routes.json", json);
  ASSERT_TRUE(read.problems.empty()) << doc::line_of(read.problems[0]);
  const doc::Node* table = nullptr;
  for (const auto& each : read.documents.at(0).root.list)
    if (each.find("name")->scalar == "80") table = &each;
  ASSERT_TRUE(table);
  const auto& hosts = table->find("virtual_hosts")->list;
  ASSERT_EQ(hosts.size(), 2u);
  EXPECT_EQ(hosts[0].find("name")->scalar, "web.shop.svc.cluster.local:80");
  EXPECT_EQ(hosts[1].find("name")->scalar, "allow_any");
  EXPECT_EQ(hosts[0].find("domains")->list.size(), 6u);
  const auto& route = hosts[0].find("routes")->list.at(0);
  EXPECT_EQ(route.find("name")->scalar, "quo\"ted");
  EXPECT_EQ(route.at_path("match.safe_regex.regex")->scalar, "/a\\d");
  EXPECT_EQ(route.at_path("match.headers")->list.size(), 2u);
  EXPECT_EQ(route.at_path("match.query_parameters")->list.at(0).find("name")->scalar, "q");
  EXPECT_EQ(route.at_path("route.timeout")->scalar, "1.500s");
  EXPECT_EQ(route.at_path("route.weighted_clusters.clusters")->list.at(1).find("weight")->scalar, "3");
  EXPECT_EQ(route.at_path("metadata.filter_metadata.istio.config")->scalar, "/apis/networking.istio.io/v1/namespaces/shop/virtual-service/web");
}

base::WorkloadInfo named(std::string name, api::Labels labels) {
  Proxy self;
  self.name = std::move(name);
  self.labels = std::move(labels);
  return workload_of(self);
}
TEST(Workload, Name_LosesOnlyWhatControllersAdd) {
  EXPECT_EQ(named("reviews-v1", {}).workload, "reviews-v1");
  EXPECT_EQ(named("web-7d9f8c6b5-abcde", {{"pod-template-hash", "7d9f8c6b5"}}).workload, "web");
  EXPECT_EQ(named("web-other-abcde", {{"pod-template-hash", "7d9f8c6b5"}}).workload, "web-other-abcde");
  EXPECT_EQ(named("db-0", {{"controller-revision-hash", "x"}}).workload, "db");
  EXPECT_EQ(named("single", {}).workload, "single");
}
TEST(Workload, CanonicalNames_FollowTheInjector) {
  EXPECT_EQ(named("p", {}).canonical_name, "p");
  EXPECT_EQ(named("p", {}).canonical_revision, "latest");
  EXPECT_EQ(named("p", {{"app", "a"}, {"version", "v"}}).canonical_name, "a");
  EXPECT_EQ(named("p", {{"app", "a"}, {"version", "v"}}).canonical_revision, "v");
  EXPECT_EQ(named("p", {{"app", "a"}, {"app.kubernetes.io/name", "k"}}).canonical_name, "k");
  EXPECT_EQ(named("p", {{"app", "a"}, {"service.istio.io/canonical-name", "c"}}).canonical_name, "c");
}
}  // namespace
}  // namespace routing
