#include "inject/inject.h"

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "doc/reader.h"
#include "doc/writer.h"
#include "inject/annotations.h"
#include "inject/container.h"
#include "inject/decision.h"

namespace inject {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;
using Outcome = Report::Outcome;

std::string slurp(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

Settings settings() {
  Settings out;
  out.tag = "1";  // goldens must not change with every version
  return out;
}

std::string injected(const std::string& yaml) {
  doc::File file = doc::read_yaml("in.yaml", yaml);
  EXPECT_THAT(file.problems, IsEmpty());
  std::string out;
  for (auto& document : file.documents) {
    for (const auto& report : inject_document(document, settings(), nullptr)) {
      out += "# " + report.object + ": " + report.why + '\n';
      for (const auto& problem : report.problems) out += "# " + doc::line_of(problem) + '\n';
    }
    out += "---\n" + doc::to_yaml(document.root);
  }
  return out;
}

class Golden : public ::testing::TestWithParam<const char*> {};

TEST_P(Golden, Workloads_Injected_AreAsWritten) {
  const auto folder = std::filesystem::path(SLUICE_SOURCE_DIR) / "inject/testdata";
  const std::string got = injected(slurp(folder / (std::string(GetParam()) + ".in.yaml")));
  const auto golden = folder / (std::string(GetParam()) + ".out.yaml");
  if (std::getenv("UPDATE_GOLDEN")) std::ofstream(golden) << got;
  EXPECT_EQ(got, slurp(golden));
}

TEST_P(Golden, Workloads_InjectedTwice_AreTheSame) {
  const auto folder = std::filesystem::path(SLUICE_SOURCE_DIR) / "inject/testdata";
  doc::File once = doc::read_yaml("in.yaml", slurp(folder / (std::string(GetParam()) + ".in.yaml")));
  for (auto& document : once.documents) {
    inject_document(document, settings(), nullptr);
    doc::Document again = document;
    for (const auto& report : inject_document(again, settings(), nullptr)) EXPECT_NE(report.outcome, Outcome::kInjected) << report.object;
    EXPECT_EQ(doc::to_yaml(again.root), doc::to_yaml(document.root));
  }
}

INSTANTIATE_TEST_SUITE_P(Files, Golden, ::testing::Values("deployment", "annotated", "tproxy", "gateway", "skipped", "list"),
                         [](const auto& info) { return std::string(info.param); });

// --- decision: inject.md §1.2 and §1.3

struct Row {
  const char *space, *pod;  // labels, "key=value" or empty
  bool inject;
};
api::Labels labels(std::string_view text) {
  api::Labels out;
  if (const size_t equals = text.find('='); equals != std::string_view::npos) out.emplace(text.substr(0, equals), text.substr(equals + 1));
  return out;
}

TEST(Selected, NamespaceAndPodLabels_DecideAsTheWebhookWould) {
  const Row rows[]{{"istio-injection=enabled", "", true},
                   {"istio-injection=enabled", "sidecar.istio.io/inject=false", false},
                   {"istio-injection=enabled", "sidecar.istio.io/inject=maybe", true},
                   {"istio-injection=enabled", "istio.io/rev=canary", true},
                   {"istio-injection=disabled", "sidecar.istio.io/inject=true", false},
                   {"istio.io/rev=default", "", true},
                   {"istio.io/rev=canary", "sidecar.istio.io/inject=true", false},
                   {"", "", false},
                   {"", "sidecar.istio.io/inject=true", true},
                   {"", "sidecar.istio.io/inject=other", false},
                   {"", "istio.io/rev=default", true},
                   {"", "istio.io/rev=canary", false}};
  for (const Row& row : rows) {
    const api::Labels space = labels(row.space);
    EXPECT_EQ(selected(&space, labels(row.pod), "default").inject, row.inject) << row.space << " / " << row.pod;
  }
}

TEST(Selected, OptInAgainstTheNamespace_IsWarnedOf) {
  const api::Labels space = labels("istio-injection=disabled");
  EXPECT_THAT(selected(&space, labels("sidecar.istio.io/inject=true"), "default").warning, HasSubstr("namespace's label wins"));
}

doc::Document document(const std::string& yaml) { return doc::read_yaml("pod.yaml", yaml).documents.at(0); }

TEST(Required, InvalidLabel_HidesTheAnnotationAndWarns) {
  const auto pod =
      document("metadata: {labels: {sidecar.istio.io/inject: 'yes'}, annotations: {sidecar.istio.io/inject: 'false'}}\nspec: {}\n");
  const Verdict verdict = required(pod.root, "default");
  EXPECT_TRUE(verdict.inject);
  EXPECT_THAT(verdict.warning, HasSubstr("'yes'"));
}

TEST(Required, SystemNamespace_IsNeverInjected) {
  const auto pod = document("metadata: {labels: {sidecar.istio.io/inject: 'true'}}\nspec: {}\n");
  EXPECT_FALSE(required(pod.root, "kube-system").inject);
}

// --- annotations

Report with_annotation(const std::string& name, const std::string& value) {
  doc::Document pod = document("apiVersion: v1\nkind: Pod\nmetadata:\n  name: p\nspec: {containers: [{name: a, image: i}]}\n");
  pod.root.find("metadata")->set("annotations", doc::Node::make_map()).set(name, doc::Node::text(value));
  const std::string before = doc::to_yaml(pod.root);
  Report report = inject_pod(pod.root, {"v1", "Pod", "p", "default"}, settings(), pod);
  if (report.outcome == Outcome::kRefused) EXPECT_EQ(doc::to_yaml(pod.root), before) << "a refused pod is left alone";
  return report;
}

TEST(Annotations, InvalidValues_RefuseThePodByName) {
  const std::pair<const char*, const char*> rows[]{{"traffic.sidecar.istio.io/excludeOutboundPorts", "80,http"},
                                                   {"traffic.sidecar.istio.io/excludeInboundPorts", "65536"},
                                                   {"traffic.sidecar.istio.io/includeOutboundPorts", "80\" -x"},
                                                   {"traffic.sidecar.istio.io/includeOutboundIPRanges", "10.0.0.0"},
                                                   {"traffic.sidecar.istio.io/excludeOutboundIPRanges", "10.0.0.0/8, 10.1.0.0/16"},
                                                   {"traffic.sidecar.istio.io/excludeInterfaces", "eth0;rm"},
                                                   {"sidecar.istio.io/interceptionMode", "redirect"},
                                                   {"sidecar.istio.io/proxyCPU", "1 core"},
                                                   {"sidecar.istio.io/proxyMemory", "1Gi\n"},
                                                   {"sidecar.istio.io/userVolume", "[]"},
                                                   {"status.sidecar.istio.io/port", "http"},
                                                   {"prometheus.io/port", "15001"},
                                                   {"inject.istio.io/templates", "sidecar,none"},
                                                   {"proxy.istio.io/config", "- a list"}};
  for (const auto& [name, value] : rows) {
    const Report report = with_annotation(name, value);
    EXPECT_EQ(report.outcome, Outcome::kRefused) << name;
    EXPECT_THAT(report.why, HasSubstr(name));
  }
}

TEST(Annotations, KnownButNotActedOn_AreOneWarningEach) {
  const Report report = with_annotation("sidecar.istio.io/statsInclusionPrefixes", "x");
  EXPECT_EQ(report.outcome, Outcome::kInjected);
  ASSERT_THAT(report.problems, SizeIs(1));
  EXPECT_EQ(report.problems[0].code, "NOT_IMPLEMENTED");
}

// Rules that leave the proxy's canary alone, by an annotation or for the whole mesh: the proxy is told, or it would never be ready.
TEST(Probe, RulesThatDoNotCaptureIt_AreSaidToTheProxy) {
  const auto told = [](const Settings& mesh, const char* name, const char* value) {
    doc::Document pod = document("apiVersion: v1\nkind: Pod\nmetadata: {name: p}\nspec: {containers: [{name: a, image: i}]}\n");
    if (name) pod.root.find("metadata")->set("annotations", doc::Node::make_map()).set(name, doc::Node::text(value));
    EXPECT_EQ(inject_pod(pod.root, {"v1", "Pod", "p", "default"}, mesh, pod).outcome, Outcome::kInjected);
    return doc::to_yaml(pod.root).find("SLUICE_INTERCEPTION_PROBE") != std::string::npos;
  };
  const auto mesh = [](const std::function<void(Settings&)>& change) {
    Settings s = settings();
    change(s);
    return s;
  };
  const Settings plain = settings(), tproxy = mesh([](Settings& s) { s.interception = "TPROXY"; });
  const Settings listed = mesh([](Settings& s) { s.interception = "TPROXY", s.include_inbound_ports = "8080"; });
  const Settings excluded = mesh([](Settings& s) { s.interception = "TPROXY", s.exclude_inbound_ports = "8080, 15002"; });
  constexpr const char *kInclude = "traffic.sidecar.istio.io/includeInboundPorts", *kExclude = "traffic.sidecar.istio.io/excludeInboundPorts";
  EXPECT_FALSE(told(plain, nullptr, ""));
  EXPECT_FALSE(told(plain, kInclude, "8080"));   // with REDIRECT calls to the own pod are captured all the same
  EXPECT_TRUE(told(plain, "traffic.sidecar.istio.io/excludeOutboundPorts", "443, 15002"));
  EXPECT_TRUE(told(plain, "traffic.sidecar.istio.io/excludeInterfaces", "eth1,lo"));
  EXPECT_TRUE(told(plain, "proxy.istio.io/config", "proxyMetadata: {ISTIO_OUTBOUND_IPV4_LOOPBACK_CIDR: 127.0.0.0/8}"));
  EXPECT_FALSE(told(plain, "proxy.istio.io/config", "proxyMetadata: {ISTIO_OUTBOUND_IPV4_LOOPBACK_CIDR: 127.0.0.1/32}"));
  EXPECT_FALSE(told(tproxy, nullptr, ""));
  EXPECT_TRUE(told(tproxy, kInclude, "8080,9090"));
  EXPECT_FALSE(told(tproxy, kInclude, "8080,15002"));
  EXPECT_TRUE(told(tproxy, kInclude, ""));
  EXPECT_TRUE(told(tproxy, kExclude, "9090, 15002"));
  EXPECT_FALSE(told(tproxy, "traffic.sidecar.istio.io/excludeOutboundPorts", "15002"));
  EXPECT_TRUE(told(listed, nullptr, ""));
  EXPECT_FALSE(told(listed, kInclude, "*"));     // the annotation decides
  EXPECT_TRUE(told(excluded, nullptr, ""));
}

TEST(Annotations, ValueWithYamlInIt_StaysText) {
  doc::Document pod = document("apiVersion: v1\nkind: Pod\nmetadata: {name: p}\nspec: {containers: [{name: a, image: i}]}\n");
  pod.root.find("metadata")
      ->set("annotations", doc::Node::make_map())
      .set("sidecar.istio.io/proxyImageType", doc::Node::text("x\", privileged: \"true"));
  inject_pod(pod.root, {"v1", "Pod", "p", "default"}, settings(), pod);
  const doc::Document read_back = document(doc::to_yaml(pod.root));
  EXPECT_TRUE(read_back.root == pod.root);
  EXPECT_EQ(read_back.root.at_path("spec.initContainers")->list.at(0).find("image")->scalar,
            "sluice/sluice-init:1-x\", privileged: \"true");
}

// --- merge, uninject

TEST(Merge, KeyedLists_MergeByKeyAndPutNewItemsFirst) {
  const auto base = document("env: [{name: A, value: '1'}, {name: B, value: '2'}]\nargs: [x, y]\n").root;
  const auto patch = document("env: [{name: C, value: '3'}, {name: A, value: '9'}]\nargs: [z]\nimage: null\n").root;
  const auto want = document("env: [{name: C, value: '3'}, {name: A, value: '9'}, {name: B, value: '2'}]\nargs: [z]\n").root;
  EXPECT_TRUE(merged(base, patch) == want) << doc::to_yaml(merged(base, patch));
}

TEST(Uninject, InjectedPod_LosesContainersVolumesAndMarks) {
  doc::Document pod =
      document("apiVersion: v1\nkind: Pod\nmetadata: {name: p, labels: {app: p}}\nspec: {containers: [{name: a, image: i}]}\n");
  inject_pod(pod.root, {"v1", "Pod", "p", "default"}, settings(), pod);
  ASSERT_TRUE(pod.root.at_path("spec.initContainers"));
  EXPECT_TRUE(uninject_pod(pod.root));
  EXPECT_FALSE(pod.root.at_path("spec.initContainers"));
  EXPECT_FALSE(pod.root.at_path("spec.volumes"));
  EXPECT_THAT(pod.root.at_path("metadata.labels")->map, SizeIs(1));
  EXPECT_FALSE(uninject_pod(pod.root));
}

TEST(Uninject, RewrittenProbes_AskTheAppAgain) {
  doc::Document pod = document(
      "apiVersion: v1\nkind: Pod\nmetadata: {name: p}\nspec: {containers: [{name: a, readinessProbe: {httpGet: {path: /r, port: 80}, "
      "periodSeconds: 3},"
      " lifecycle: {preStop: {tcpSocket: {port: 81}}}}]}\n");
  const doc::Node before = *pod.root.at_path("spec.containers");
  inject_pod(pod.root, {"v1", "Pod", "p", "default"}, settings(), pod);
  EXPECT_NE(doc::to_yaml(pod.root).find("/app-health/a/readyz"), std::string::npos);
  uninject_pod(pod.root);
  EXPECT_TRUE(*pod.root.at_path("spec.containers") == before) << doc::to_yaml(pod.root);
}

TEST(Owner, PodOfAReplicaSet_IsTracedToItsDeployment) {
  doc::Document pod = document(
      "apiVersion: v1\nkind: Pod\nmetadata:\n  generateName: shop-abc12-\n  labels: {pod-template-hash: abc12}\n"
      "  ownerReferences: [{apiVersion: apps/v1, kind: ReplicaSet, name: shop-abc12, controller: true}]\nspec: {containers: [{name: "
      "a}]}\n");
  const auto found = workloads_in(pod);
  ASSERT_THAT(found, SizeIs(1));
  EXPECT_EQ(found[0].owner.kind, "Deployment");
  EXPECT_EQ(found[0].owner.name, "shop");
}

}  // namespace
}  // namespace inject
