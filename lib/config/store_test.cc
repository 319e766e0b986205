#include <gtest/gtest.h>

#include <algorithm>

#include "config/pipeline.h"
#include "config/test_folder.h"

namespace config {
namespace {

using test::broken_service;
using test::Folder;
using test::service;

// A folder and the store that follows it.
struct Followed {
  Folder folder;
  Store store;
  Store::View view;
  void read() { view = store.update(read_roots({folder.path()})); }
  // The cluster IP that is in force; empty: no such service.
  std::string ip(const std::string& name) const {
    for (const auto& resource : view.good)
      if (const auto* found = resource->as<api::Service>(); found && found->meta.name == name) return found->cluster_ips.at(0).text();
    return {};
  }
  size_t count(std::string_view code) const {
    return static_cast<size_t>(std::count_if(view.problems.begin(), view.problems.end(), [code](const doc::Problem& p) { return p.code == code; }));
  }
  bool any_error() const {
    return std::any_of(view.problems.begin(), view.problems.end(), [](const doc::Problem& p) { return p.severity == doc::Problem::Severity::kError; });
  }
};

const std::string kInvalid = "apiVersion: v1\nkind: Service\nmetadata: {name: a, namespace: default}\nspec: {clusterIP: 10.0.0.9, ports: [{port: many}]}\n";

TEST(Store, InvalidObject_KeepsItsLastGoodAndSaysSo) {
  Followed f;
  f.folder.put("a.yaml", service("a", "10.0.0.1"));
  f.read();
  EXPECT_EQ(f.ip("a"), "10.0.0.1");
  EXPECT_TRUE(f.view.problems.empty());
  f.folder.put("a.yaml", kInvalid);
  f.read();
  EXPECT_EQ(f.ip("a"), "10.0.0.1");
  EXPECT_TRUE(f.any_error());
  EXPECT_EQ(f.count("LAST_GOOD"), 1u);
  f.read();                              // still so
  EXPECT_EQ(f.ip("a"), "10.0.0.1");
  f.folder.put("a.yaml", service("a", "10.0.0.3"));
  f.read();
  EXPECT_EQ(f.ip("a"), "10.0.0.3");
  EXPECT_TRUE(f.view.problems.empty());
}

TEST(Store, InvalidFromTheStart_IsLeftOut) {
  Followed f;
  f.folder.put("a.yaml", kInvalid);
  f.folder.put("b.yaml", service("b", "10.0.0.2"));
  f.read();
  EXPECT_EQ(f.ip("a"), "");
  EXPECT_EQ(f.ip("b"), "10.0.0.2");
  EXPECT_EQ(f.count("LAST_GOOD"), 0u);
}

TEST(Store, DeletedFile_RemovesItsObjects) {
  Followed f;
  f.folder.put("a.yaml", service("a", "10.0.0.1"));
  f.folder.put("b.yaml", service("b", "10.0.0.2"));
  f.read();
  f.folder.remove("a.yaml");
  f.read();
  EXPECT_EQ(f.ip("a"), "");
  EXPECT_EQ(f.ip("b"), "10.0.0.2");
}

TEST(Store, BrokenDocument_KeepsItsObjectButNotRemovedOnes) {
  Followed f;
  f.folder.put("all.yaml", service("a", "10.0.0.1") + "---\n" + service("b", "10.0.0.2") + "---\n" + service("c", "10.0.0.3"));
  f.read();
  // a changes, b breaks, c is taken out: all three in one file.
  f.folder.put("all.yaml", service("a", "10.0.0.9") + "---\n" + broken_service("b"));
  f.read();
  EXPECT_EQ(f.ip("a"), "10.0.0.9");
  EXPECT_EQ(f.ip("b"), "10.0.0.2");
  EXPECT_EQ(f.ip("c"), "");
  EXPECT_EQ(f.count("LAST_GOOD"), 1u);
  f.folder.remove("all.yaml");
  f.read();
  EXPECT_TRUE(f.view.good.empty());
}

TEST(Store, BrokenDocumentThatShowsNoName_KeepsTheWholeFile) {
  Followed f;
  f.folder.put("all.yaml", service("a", "10.0.0.1") + "---\n" + service("b", "10.0.0.2"));
  f.read();
  f.folder.put("all.yaml", "}\n");
  f.read();
  EXPECT_EQ(f.ip("a"), "10.0.0.1");
  EXPECT_EQ(f.ip("b"), "10.0.0.2");
  f.folder.put("more.yaml", service("a", "10.0.0.7"));   // defined elsewhere now
  f.read();
  EXPECT_EQ(f.ip("a"), "10.0.0.7");
  EXPECT_EQ(f.view.good.size(), 2u);
}

TEST(Store, ObjectLosesItsName_KeepsWhatTheFileHeld) {
  Followed f;
  f.folder.put("a.yaml", service("a", "10.0.0.1"));
  f.read();
  f.folder.put("a.yaml", "apiVersion: v1\nkind: Service\nmetadata: {labels: {app: a}}\nspec: {clusterIP: 10.0.0.2, ports: [{port: 80}]}\n");
  f.read();
  EXPECT_EQ(f.ip("a"), "10.0.0.1");
  EXPECT_TRUE(f.any_error());
}

TEST(Store, VolumeWithoutDataForAMoment_KeepsWhatItHeld) {
  Followed f;
  f.folder.swap(1, "a.yaml", service("a", "10.0.0.1"));
  f.read();
  f.folder.remove("..data");
  f.read();
  EXPECT_EQ(f.ip("a"), "10.0.0.1");
  f.folder.link("..2026_1", "..data");
  f.folder.swap(2, "a.yaml", service("a", "10.0.0.2"));
  f.read();
  EXPECT_EQ(f.ip("a"), "10.0.0.2");
  EXPECT_TRUE(f.view.problems.empty());
}

TEST(Store, SameObjectTwice_TheLastWins) {
  Followed f;
  f.folder.put("a.yaml", service("a", "10.0.0.1"));
  f.folder.put("b.yaml", service("a", "10.0.0.2"));
  f.read();
  EXPECT_EQ(f.ip("a"), "10.0.0.2");
  EXPECT_EQ(f.view.good.size(), 1u);
  EXPECT_EQ(f.count("DUPLICATE"), 1u);
  f.folder.remove("b.yaml");
  f.read();
  EXPECT_EQ(f.ip("a"), "10.0.0.1");
}

std::string mesh(const std::string& text) {
  return "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: istio\n  namespace: istio-system\ndata:\n  mesh: |\n    " + text + '\n';
}

TEST(Store, MeshConfig_FollowsItsConfigMapAndKeepsTheLastGood) {
  Followed f;
  f.read();
  EXPECT_EQ(f.view.mesh_config.outbound, api::OutboundPolicy::kAllowAny);
  f.folder.put("mesh.yaml", mesh("outboundTrafficPolicy: {mode: REGISTRY_ONLY}"));
  f.read();
  EXPECT_EQ(f.view.mesh_config.outbound, api::OutboundPolicy::kRegistryOnly);
  f.folder.put("mesh.yaml", mesh("outboundTrafficPolicy: {mode: ["));
  f.read();
  EXPECT_EQ(f.view.mesh_config.outbound, api::OutboundPolicy::kRegistryOnly);
  EXPECT_TRUE(f.any_error());
  EXPECT_EQ(f.count("LAST_GOOD"), 1u);
  f.folder.put("mesh.yaml", "kind: ConfigMap\nmetadata: {name: istio, namespace: istio-system\n");
  f.read();
  EXPECT_EQ(f.view.mesh_config.outbound, api::OutboundPolicy::kRegistryOnly);
  f.folder.remove("mesh.yaml");
  f.read();
  EXPECT_EQ(f.view.mesh_config.outbound, api::OutboundPolicy::kAllowAny);
}

}  // namespace
}  // namespace config
