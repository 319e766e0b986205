#include <filesystem>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "doc/reader.h"
#include "runner/addresses.h"
#include "runner/container.h"
#include "runner/demo_pages.h"
#include "runner/generated.h"
#include "runner/plan.h"
#include "runner/state.h"

namespace runner {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::SizeIs;
using ::testing::StartsWith;

Plan plan_of(const std::string& yaml) { return make_plan(doc::read_yaml("world.yaml", yaml).documents, inject::Settings{}); }

constexpr const char* kMesh = "apiVersion: v1\nkind: Namespace\nmetadata: {name: default, labels: {istio-injection: enabled}}\n---\n";
constexpr const char* kTwoReplicas =
    "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: shop}\nspec:\n  replicas: 2\n  selector: {matchLabels: {app: shop}}\n"
    "  template:\n    metadata: {labels: {app: shop, version: v1}}\n    spec: {containers: [{name: shop, ports: [{name: web, "
    "containerPort: 8080}]}]}\n---\n";
constexpr const char* kService =
    "apiVersion: v1\nkind: Service\nmetadata: {name: shop}\nspec:\n  selector: {app: shop}\n  ports: [{name: http, port: 80, targetPort: "
    "web}]\n---\n";

// --- addresses

TEST(AddressPool, SameName_KeepsItsAddresses) {
  AddressPool pool = pod_addresses();
  const AddressPair first = pool.of("default/a");
  EXPECT_EQ(first.v4.text(), "10.244.0.10");
  EXPECT_EQ(first.v6.text(), "fd00:10:244::a");
  EXPECT_EQ(pool.of("default/b").v4.text(), "10.244.0.11");
  EXPECT_EQ(pool.of("default/a").v4, first.v4);
}

TEST(AddressPool, FreedNumber_ComesBackLast) {
  AddressPool pool(*base::Ip::parse("10.0.0.1"), *base::Ip::parse("fd00::1"), 3);
  pool.of("a");
  pool.release("a");
  EXPECT_EQ(pool.of("b").v4.text(), "10.0.0.2");
  EXPECT_EQ(pool.of("c").v4.text(), "10.0.0.3");
  EXPECT_EQ(pool.of("d").v4.text(), "10.0.0.1");
  EXPECT_TRUE(pool.of("e").v4.is_unspecified()) << "all three are held";
}

TEST(AddressPool, ReservedByTheUser_IsNotGivenAway) {
  AddressPool pool = service_addresses();
  pool.reserve(*base::Ip::parse("10.96.1.0"));
  pool.reserve(*base::Ip::parse("fd00:10:96::101"));
  EXPECT_EQ(pool.of("default/a").v4.text(), "10.96.1.2");
}

// --- plan

TEST(Plan, Deployment_BecomesInjectedPodsWithStableNames) {
  const Plan plan = plan_of(std::string(kMesh) + kTwoReplicas);
  ASSERT_THAT(plan.pods, SizeIs(2));
  EXPECT_THAT(plan.pods[0].name, StartsWith("shop-"));
  EXPECT_NE(plan.pods[0].name, plan.pods[1].name);
  EXPECT_EQ(plan.pods[0].role, Role::kSidecar);
  EXPECT_EQ(plan.pods[0].pod.at_path("spec.initContainers")->list.size(), 2u);
  const Plan again = plan_of(std::string(kMesh) + kTwoReplicas);
  EXPECT_EQ(again.pods[0].name, plan.pods[0].name);
}

TEST(Plan, MoreReplicas_KeepTheOldNames_NewTemplateDoesNot) {
  const std::string three = std::string(kTwoReplicas).replace(std::string(kTwoReplicas).find("replicas: 2"), 11, "replicas: 3");
  const Plan before = plan_of(kTwoReplicas), after = plan_of(three);
  std::vector<std::string> names;
  for (const auto& pod : after.pods) names.push_back(pod.name);
  for (const auto& pod : before.pods) EXPECT_THAT(names, Contains(pod.name));
  const std::string changed = std::string(kTwoReplicas).replace(std::string(kTwoReplicas).find("version: v1"), 11, "version: v2");
  for (const auto& pod : plan_of(changed).pods) EXPECT_THAT(names, Not(Contains(pod.name)));
}

TEST(Plan, NamespaceWithoutLabel_GivesPlainPods) { EXPECT_EQ(plan_of(kTwoReplicas).pods.at(0).role, Role::kPlain); }

TEST(Plan, GatewayByLabelAlone_RunsOurGateway) {
  const Plan plan = plan_of(
      "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: istio-ingressgateway, namespace: istio-system}\nspec:\n  template:\n"
      "    metadata: {labels: {istio: ingressgateway}}\n    spec: {containers: [{name: istio-proxy, image: 'x/proxyv2:1', args: [proxy, "
      "router]}]}\n");
  ASSERT_THAT(plan.pods, SizeIs(1));
  EXPECT_EQ(plan.pods[0].role, Role::kGateway);
  const doc::Node& proxy = plan.pods[0].pod.at_path("spec.containers")->list.at(0);
  EXPECT_EQ(proxy.find("args")->list.at(0).scalar, "gateway");
  EXPECT_EQ(proxy.find("command")->list.at(0).scalar, "sluice-proxy");
}

TEST(Plan, WhatCannotRun_IsOneNoteEach) {
  const Plan plan = plan_of(
      "kind: Job\napiVersion: batch/v1\nmetadata: {name: once}\n---\nkind: StatefulSet\napiVersion: apps/v1\nmetadata: {name: db, "
      "namespace: data}\n---\n"
      "kind: Deployment\napiVersion: apps/v1\nmetadata: {name: odd}\nspec: {selector: {matchLabels: {a: b}}, template: {metadata: {labels: "
      "{a: c}}, spec: {containers: [{name: x}]}}}\n");
  EXPECT_THAT(plan.pods, IsEmpty());
  EXPECT_THAT(plan.notes, ElementsAre("Job/default/once: not run, only Pods and Deployments are",
                                      "StatefulSet/data/db: not run, only Pods and Deployments are",
                                      "Deployment/default/odd: not run, spec.selector does not match the template's labels"));
}

// --- the generated root

struct Generated {
  Plan plan = plan_of(std::string(kTwoReplicas) + kService);
  AddressPool pods_pool = pod_addresses(), services_pool = service_addresses();
  std::vector<PodState> pods;
  std::vector<ServiceState> services;
  Generated() {
    for (const auto& pod : plan.pods) pods.push_back({&pod, pods_pool.of(pod.key()), true, false});
    for (const auto& service : plan.services) services.push_back({&service, services_pool.of(service.key())});
  }
};

TEST(GeneratedRoot, Service_GetsClusterIpsAndSlicesOfBothFamilies) {
  Generated world;
  world.pods[1].ready = false;
  const auto files = generated_root(world.pods, world.services);
  const auto services = doc::read_yaml("s", files.at("services.yaml"));
  EXPECT_EQ(services.documents.at(0).root.at_path("spec.clusterIPs")->list.at(1).scalar, "fd00:10:96::100");
  const auto slices = doc::read_yaml("e", files.at("endpointslices.yaml"));
  ASSERT_THAT(slices.documents, SizeIs(2));
  const doc::Node& v4 = slices.documents[0].root;
  EXPECT_EQ(v4.at_path("ports")->list.at(0).find("port")->scalar, "8080") << "the named target port";
  EXPECT_EQ(v4.find("endpoints")->list.at(0).at_path("conditions.ready")->scalar, "true");
  EXPECT_EQ(v4.find("endpoints")->list.at(1).at_path("conditions.ready")->scalar, "false");
  EXPECT_EQ(slices.documents[1].root.find("addressType")->scalar, "IPv6");
}

TEST(GeneratedRoot, Pod_SaysItsStatus) {
  Generated world;
  const auto pods = doc::read_yaml("p", generated_root(world.pods, world.services).at("pods.yaml"));
  const doc::Node& pod = pods.documents.at(0).root;
  EXPECT_EQ(pod.at_path("status.podIP")->scalar, "10.244.0.10");
  EXPECT_EQ(pod.at_path("status.conditions")->list.at(0).find("status")->scalar, "True");
  EXPECT_EQ(pod.at_path("spec.serviceAccountName")->scalar, "default");
}

TEST(HostsFile, OwnNamespace_KnowsTheShortName) {
  Generated world;
  EXPECT_THAT(hosts_file("default", world.pods, world.services, nullptr),
              HasSubstr("10.96.1.0 shop shop.default shop.default.svc shop.default.svc.cluster.local\n"));
  EXPECT_THAT(hosts_file("other", world.pods, world.services, nullptr), HasSubstr("10.96.1.0 shop.default shop.default.svc"));
}

TEST(KubeProxyRules, TwoReadyPods_ShareByProbability_LeavingOnesGetNothing) {
  Generated world;
  const std::string both = kube_proxy_rules(world.pods, world.services, true);
  EXPECT_THAT(both, HasSubstr("-A PREROUTING -d 10.96.1.0 -p tcp -m tcp --dport 80 -m statistic --mode random --probability 0.50000000 -j "
                              "DNAT --to-destination 10.244.0.10:8080\n"));
  EXPECT_THAT(both, HasSubstr("--dport 80 -j DNAT --to-destination 10.244.0.11:8080\n"));
  world.pods[0].terminating = true;
  EXPECT_THAT(kube_proxy_rules(world.pods, world.services, true), Not(HasSubstr("10.244.0.10")));
  EXPECT_THAT(kube_proxy_rules(world.pods, world.services, false), HasSubstr("--to-destination [fd00:10:244::b]:8080"));
}

// --- containers

struct OneContainer {
  Plan plan;
  std::vector<std::string> notes;
  ContainerSpec spec;
  explicit OneContainer(const std::string& container, const std::string& pod_spec = "")
      : plan(plan_of("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: settings}\ndata: {colour: green}\n---\napiVersion: v1\nkind: Pod\n"
                     "metadata: {name: p, labels: {app: p, version: v7}}\nspec:\n  containers:\n  - " +
                     container + pod_spec)) {
    PodFacts facts{&plan.pods.at(0),
                   {*base::Ip::parse("10.244.0.10"), *base::Ip::parse("fd00::a")},
                   "/bin/sluice",
                   "/config:/generated",
                   &plan.config_maps};
    spec = container_spec(plan.pods.at(0).pod.at_path("spec.containers")->list.at(0), facts, notes);
  }
};

TEST(Container, WithoutCommand_IsTheEchoAppOnItsPorts) {
  const OneContainer one("{name: c, image: x, ports: [{containerPort: 80}, {containerPort: 53, protocol: UDP}]}\n");
  EXPECT_THAT(one.spec.command,
              ElementsAre("/bin/sluice", "demo-app", "echo", "--namespace", "default", "--version-label", "v7", "--port", "80"));
  EXPECT_EQ(one.spec.uid, 1000u);
}

TEST(Container, Variables_AreFilledInAndExpanded) {
  const OneContainer one(
      "{name: c, command: [run, '$(IP):$(PORT)', '$$(IP)', '$(NO)'], env: [{name: PORT, value: '80'}, {name: IP, valueFrom: {fieldRef: "
      "{fieldPath: status.podIP}}},"
      " {name: V, valueFrom: {fieldRef: {fieldPath: \"metadata.labels['version']\"}}}, {name: C, valueFrom: {configMapKeyRef: {name: "
      "settings, key: colour}}},"
      " {name: CPU, valueFrom: {resourceFieldRef: {resource: limits.cpu}}}, {name: S, valueFrom: {secretKeyRef: {name: s, key: k}}}], "
      "resources: {limits: {cpu: 1500m}}}\n");
  EXPECT_THAT(one.spec.command, ElementsAre("run", "10.244.0.10:80", "$(IP)", "$(NO)"));
  for (const char* variable : {"IP=10.244.0.10", "V=v7", "C=green", "CPU=2"}) EXPECT_THAT(one.spec.environment, Contains(variable));
  EXPECT_THAT(one.notes, ElementsAre("Pod/default/p/c: variable S has no value here"));
}

TEST(Container, SecurityContext_ContainerBeforePod) {
  const OneContainer one(
      "{name: c, command: [x], securityContext: {runAsUser: 1337, allowPrivilegeEscalation: false, capabilities: {drop: [ALL], add: "
      "[NET_ADMIN]}}}\n",
      "  securityContext: {runAsUser: 5, runAsGroup: 6}\n");
  EXPECT_EQ(one.spec.uid, 1337u);
  EXPECT_EQ(one.spec.gid, 6u);
  EXPECT_TRUE(one.spec.drop_all && one.spec.no_new_privileges);
  EXPECT_THAT(one.spec.capabilities, ElementsAre("NET_ADMIN"));
}

TEST(Container, VolumeMounts_AreSaidToBeMissing) {
  const OneContainer one("{name: c, command: [x], volumeMounts: [{name: v, mountPath: /data}, {name: w, mountPath: /cache}]}\n");
  EXPECT_THAT(one.notes, ElementsAre("Pod/default/p/c: volumes are not mounted here: /data, /cache"));
}

// --- record

TEST(Record, JsonAndBack_IsTheSame) {
  const Record record{"sl-",        42,       12345678901,
                      "/a b/\"c\"", "/run/x", {{"default", "p", "sl-p", "sidecar", "Pod/default/p", "10.244.0.10", "fd00::a", true}}};
  const auto back = parse_record(to_json(record));
  ASSERT_TRUE(back);
  EXPECT_EQ(back->started, record.started);
  EXPECT_EQ(back->folder, record.folder);
  ASSERT_THAT(back->pods, SizeIs(1));
  EXPECT_EQ(back->pods[0].netns, "sl-p");
  EXPECT_TRUE(back->pods[0].ready);
  EXPECT_FALSE(parse_record("[1"));
}

TEST(Record, OwnProcess_IsAlive_SamePidWithOtherStartIsNot) {
  Record record;
  record.pid = ::getpid();
  record.started = start_time(record.pid);
  EXPECT_TRUE(is_alive(record));
  ++record.started;
  EXPECT_FALSE(is_alive(record));
}

TEST(World, Names_DoNotContainEachOther) {
  // The leftovers of the world without a name are found by prefix and must not include another world's.
  EXPECT_FALSE(prefix_of("x").starts_with(prefix_of("")));
  EXPECT_FALSE(prefix_of("a-b").starts_with(prefix_of("a")) && prefix_of("a") != prefix_of("a-b") && prefix_of("a").ends_with("-b-"));
}

// --- the demo's apps

TEST(DemoApp, Productpage_ShowsWhatItsNeighboursSaid) {
  AppRequest request;
  request.url = "/productpage?u=jason";
  const DemoApp app{"productpage", {}, "v1"};
  auto neighbours = neighbours_for(app, request);
  ASSERT_THAT(neighbours, SizeIs(2));
  neighbours[1].answer = answer_of({"reviews", {}, "v1"}, "reviews-v1-x", {}, {});
  AppRequest to_reviews;
  to_reviews.url = "/reviews/0";
  neighbours[1].answer = answer_of({"reviews", {}, "v1"}, "reviews-v1-x", to_reviews, {});
  const AppAnswer page = answer_of(app, "page-x", request, neighbours);
  EXPECT_THAT(page.body, HasSubstr("reviews: reviews-v1-x"));
  EXPECT_THAT(page.body, HasSubstr("details cannot be had"));
  EXPECT_THAT(page.body, HasSubstr("signed in as jason"));
}

TEST(DemoApp, UserName_CannotBecomeMarkup) {
  AppRequest request;
  request.url = "/productpage";
  request.headers = {{"end-user", "<script>"}};
  EXPECT_THAT(answer_of({"productpage", {}, "v1"}, "p", request, {}).body, Not(HasSubstr("<script>")));
}

TEST(DemoApp, Echo_TellsTheRequest) {
  AppRequest request;
  request.method = "POST";
  request.url = "/x?y";
  request.headers = {{"a", "b"}};
  const auto answer = answer_of({"echo", {}, "v3"}, "pod-1", request, {});
  for (const char* line : {"ServiceVersion=v3\n", "URL=/x?y\n", "Method=POST\n", "RequestHeader=a:b\n", "Hostname=pod-1\n"})
    EXPECT_THAT(answer.body, HasSubstr(line));
}

}  // namespace
}  // namespace runner
