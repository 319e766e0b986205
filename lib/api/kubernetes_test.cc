#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "api/mesh.h"
#include "doc/reader.h"

namespace api {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

std::shared_ptr<const Resource> one(std::string_view text) {
  const doc::File file = doc::read_yaml("a.yaml", text);
  EXPECT_EQ(file.documents.size(), 1u);
  return decode(file.documents.at(0)).at(0);
}

std::vector<std::string> lines(const doc::Problems& problems) {
  std::vector<std::string> out;
  for (const doc::Problem& problem : problems) out.push_back(line_of(problem));
  return out;
}

TEST(Service, Fields_AreDecoded) {
  const auto object = one("apiVersion: v1\nkind: Service\nmetadata: {name: s}\nspec:\n  clusterIP: 10.96.0.1\n  clusterIPs: [10.96.0.1, 'fd00::1']\n  sessionAffinity: None\n  selector: {app: s}\n  ports:\n  - {name: http, port: 80, targetPort: web, appProtocol: http}\n  - {name: x, port: 81, targetPort: 8081, protocol: UDP, nodePort: 30000}\n");
  const auto* service = object->as<Service>();
  ASSERT_NE(service, nullptr) << testing::PrintToString(lines(object->problems));
  EXPECT_EQ(service->cluster_ips.size(), 2u);
  EXPECT_EQ(service->ports.at(0).target_name, "web");
  EXPECT_EQ(service->ports.at(1).target_number, 8081);
  EXPECT_EQ(service->ports[1].protocol, "UDP");
  EXPECT_EQ(service->ports[1].at.line, 11);
  EXPECT_TRUE(service->has_selector);
  EXPECT_TRUE(object->problems.empty());
  EXPECT_TRUE(one("apiVersion: v1\nkind: Service\nmetadata: {name: s}\nspec: {clusterIP: None}\n")->as<Service>()->headless);
}

TEST(Service, WrongValues_AreErrors) {
  EXPECT_THAT(lines(one("apiVersion: v1\nkind: Service\nmetadata: {name: s}\nspec: {clusterIP: x, ports: [{port: 80}, {name: a, port: 70000}]}\n")->problems), ElementsAre(HasSubstr("70000")));
  EXPECT_THAT(lines(one("apiVersion: v1\nkind: Service\nmetadata: {name: s}\nspec: {clusterIP: x, ports: [{port: 80, name: a}, {name: a, port: 80, targetPort: 0}]}\n")->problems),
              ElementsAre(HasSubstr("x is no IP address"), HasSubstr("0 is no port"), HasSubstr("name a stands twice"), HasSubstr("80/TCP stands twice")));
}

TEST(Pod, FieldsAndState_AreDecoded) {
  const auto object = one("apiVersion: v1\nkind: Pod\nmetadata: {name: p, namespace: n, labels: {app: a}, deletionTimestamp: '2024-01-01T00:00:00Z', annotations: {x: \"a\\nb\"}}\nspec:\n  serviceAccountName: sa\n  nodeName: node\n  hostNetwork: true\n  terminationGracePeriodSeconds: 90\n  containers: [{name: c, image: i, ports: [{name: web, containerPort: 8080}]}]\nstatus: {phase: Running, podIP: 10.0.0.1, podIPs: [{ip: 10.0.0.1}, {ip: 'fd00::2'}], conditions: [{type: Ready, status: 'False'}]}\n");
  const auto* pod = object->as<Pod>();
  ASSERT_NE(pod, nullptr) << testing::PrintToString(lines(object->problems));
  EXPECT_EQ(pod->ips.size(), 2u);
  EXPECT_FALSE(pod->ready);
  EXPECT_TRUE(pod->terminating);
  EXPECT_TRUE(pod->host_network);
  EXPECT_EQ(pod->termination_grace, std::chrono::seconds(90));
  EXPECT_EQ(pod->service_account, "sa");
  EXPECT_EQ(pod->containers.at(0).ports.at(0).port, 8080);
  EXPECT_EQ(pod->meta.annotations.at("x"), "a\nb");
}

TEST(Endpoints, BothForms_MeanTheSame) {
  const auto slice = one("apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {name: s-1, labels: {kubernetes.io/service-name: s}}\naddressType: IPv4\nports: [{name: http, port: 80}]\nendpoints: [{addresses: [10.0.0.1], conditions: {ready: false, serving: true, terminating: true}, targetRef: {kind: Pod, name: p}, zone: z}]\n");
  const auto* decoded = slice->as<EndpointSlice>();
  ASSERT_NE(decoded, nullptr);
  EXPECT_EQ(decoded->service, "s");
  EXPECT_FALSE(decoded->addresses.at(0).ready);
  EXPECT_TRUE(decoded->addresses[0].serving);
  EXPECT_EQ(decoded->addresses[0].pod, "p");
  const auto old = one("apiVersion: v1\nkind: Endpoints\nmetadata: {name: s}\nsubsets: [{addresses: [{ip: 10.0.0.1}], notReadyAddresses: [{ip: 10.0.0.2}], ports: [{port: 80}]}]\n");
  const auto* slices = old->as<std::vector<EndpointSlice>>();
  ASSERT_NE(slices, nullptr);
  EXPECT_EQ(slices->at(0).service, "s");
  EXPECT_TRUE(slices->at(0).addresses.at(0).ready);
  EXPECT_FALSE(slices->at(0).addresses.at(1).ready);
}

TEST(Secret, IsNeverMentioned) {
  const auto object = one("apiVersion: v1\nkind: Secret\nmetadata: {name: s}\ndata: {a: 1}\n");
  EXPECT_TRUE(object->problems.empty());
  EXPECT_TRUE(object->valid);
}

TEST(Mesh, ValidObjectsBySort_OldestFirst) {
  std::vector<std::shared_ptr<const Resource>> objects;
  for (const char* text : {"{apiVersion: v1, kind: Pod, metadata: {name: z}}", "{apiVersion: v1, kind: Pod, metadata: {name: b, creationTimestamp: '2024-01-01T00:00:00Z'}}", "{apiVersion: v1, kind: Pod, metadata: {name: a}}",
                           "{apiVersion: v1, kind: Service, metadata: {name: bad}, spec: {clusterIP: x}}", "{apiVersion: v1, kind: Endpoints, metadata: {name: e}, subsets: [{ports: [{port: 1}]}, {ports: [{port: 2}]}]}"})
    objects.push_back(one(text));
  MeshConfig config;
  config.root_namespace = "root";
  const Mesh mesh = make_mesh(objects, config);
  ASSERT_EQ(mesh.pods.size(), 3u);
  EXPECT_EQ(mesh.pods[0]->meta.name, "a");
  EXPECT_EQ(mesh.pods[2]->meta.name, "b");
  EXPECT_TRUE(mesh.services.empty());
  EXPECT_EQ(mesh.slices.at(1)->ports.at(0).port, 2);
  EXPECT_EQ(mesh.config.root_namespace, "root");
  EXPECT_EQ(mesh.pod("default", "z"), mesh.pods[1]);
  EXPECT_EQ(mesh.pod("other", "z"), nullptr);
}

TEST(Labels, Selector_NeedsEveryLabel) {
  EXPECT_TRUE(selects({}, {{"a", "b"}}));
  EXPECT_TRUE(selects({{"a", "b"}}, {{"a", "b"}, {"c", "d"}}));
  EXPECT_FALSE(selects({{"a", "b"}, {"c", "x"}}, {{"a", "b"}, {"c", "d"}}));
}

MeshConfig mesh_of(std::string_view text, doc::Problems& problems) {
  const doc::File file = doc::read_yaml("mesh.yaml", text);
  return decode_mesh_config(file.documents.at(0), problems);
}

TEST(MeshConfig, Fields_AreDecoded) {
  doc::Problems problems;
  const MeshConfig mesh = mesh_of(
      "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: istio, namespace: istio-system}\ndata:\n  mesh: |\n    accessLogFile: /dev/stdout\n    accessLogEncoding: JSON\n    accessLogFormat: |\n      {\"a\": 1}\n"
      "    outboundTrafficPolicy: {mode: REGISTRY_ONLY}\n    pathNormalization: {normalization: MERGE_SLASHES}\n    connectTimeout: 3s\n    enableAutoMtls: false\n    defaultConfig:\n      concurrency: 2\n"
      "      proxyMetadata: {PILOT_HTTP10: \"1\"}\n      gatewayTopology: {numTrustedProxies: 1}\n      proxyHeaders: {server: {disabled: true}, preserveHttp1HeaderCase: true}\n      holdApplicationUntilProxyStarts: true\n",
      problems);
  EXPECT_TRUE(problems.empty()) << testing::PrintToString(lines(problems));
  EXPECT_EQ(mesh.outbound, OutboundPolicy::kRegistryOnly);
  EXPECT_EQ(mesh.normalization, PathNormalization::kMergeSlashes);
  EXPECT_EQ(mesh.connect_timeout, std::chrono::seconds(3));
  EXPECT_TRUE(mesh.access_log_json);
  EXPECT_FALSE(mesh.auto_mtls);
  EXPECT_EQ(mesh.access_log_format, "{\"a\": 1}\n");
  EXPECT_EQ(mesh.defaults.concurrency, 2u);
  EXPECT_EQ(mesh.defaults.num_trusted_proxies, 1u);
  EXPECT_EQ(mesh.defaults.proxy_metadata.at("PILOT_HTTP10"), "1");
  EXPECT_EQ(mesh.defaults.server_disabled, true);
  EXPECT_EQ(mesh.defaults.request_id_disabled, std::nullopt);
}

TEST(MeshConfig, Mistakes_StandAtTheirLineInTheFile) {
  doc::Problems problems;
  mesh_of("kind: ConfigMap\ndata:\n  mesh: |-\n    acessLogFile: x\n    ingressClass: istio\n    defaultConfig:\n      tracing: {}\n", problems);
  EXPECT_THAT(lines(problems), ElementsAre(HasSubstr("mesh.yaml:4:5: warning UNKNOWN_FIELD ConfigMap/istio-system/istio data.mesh.acessLogFile: unknown field acessLogFile; did you mean accessLogFile?"),
                                           HasSubstr("mesh.yaml:5:5: warning NOT_IMPLEMENTED"), HasSubstr("mesh.yaml:7:7: warning NOT_IMPLEMENTED ConfigMap/istio-system/istio data.mesh.defaultConfig.tracing")));
  problems.clear();
  EXPECT_EQ(mesh_of("kind: ConfigMap\ndata:\n  mesh: |-\n    trustDomain: x\n    outboundTrafficPolicy: {mode: registry_only}\n", problems).trust_domain, "cluster.local");
  EXPECT_THAT(lines(problems), ElementsAre(testing::AllOf(HasSubstr("mesh.yaml:5:35: error IST0106"), HasSubstr("did you mean REGISTRY_ONLY?"))));
  problems.clear();
  mesh_of("kind: ConfigMap\ndata: {other: x}\n", problems);
  EXPECT_THAT(lines(problems), ElementsAre(HasSubstr("the key mesh is missing")));
}

TEST(ProxyConfig, Annotation_IsDecodedAndProblemsNameThePod) {
  Meta pod;
  pod.kind = "Pod";
  pod.name = "p";
  pod.name_space = "n";
  pod.at = {std::make_shared<std::string>("pods.yaml"), 7, 1};
  doc::Problems problems;
  EXPECT_EQ(decode_proxy_config("concurrency: 4\ndrainDuration: 10s\n", pod, problems).drain_duration, std::chrono::seconds(10));
  EXPECT_TRUE(problems.empty());
  EXPECT_EQ(decode_proxy_config("concurrency: many\n", pod, problems).concurrency, std::nullopt);
  decode_proxy_config("{", pod, problems);
  EXPECT_THAT(lines(problems), ElementsAre(testing::AllOf(HasSubstr("pods.yaml:7:1: error IST0106 Pod/n/p"), HasSubstr("concurrency: many is text")), HasSubstr("pods.yaml:7:1: error YAML Pod/n/p")));
}

}  // namespace
}  // namespace api
