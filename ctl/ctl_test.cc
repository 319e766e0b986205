#include <cstdlib>
#include <filesystem>
#include <fstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <unistd.h>

#include "ctl/commands.h"
#include "ctl/demo_yaml.h"
#include "ctl/tour.h"
#include "doc/reader.h"

namespace ctl {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::SizeIs;
namespace fs = std::filesystem;

// A folder of its own that goes with the test.
class Folder {
 public:
  Folder() {
    std::string name = (fs::temp_directory_path() / "ctl-test-XXXXXX").string();
    path_ = ::mkdtemp(name.data());
  }
  ~Folder() { fs::remove_all(path_); }
  std::string write(const std::string& name, std::string_view text) const {
    std::ofstream(path_ / name) << text;
    return (path_ / name).string();
  }
  std::string path() const { return path_.string(); }

 private:
  fs::path path_;
};

template <class F>
std::pair<int, std::string> printed(F run) {
  ::testing::internal::CaptureStdout();
  const int status = run();
  return {status, ::testing::internal::GetCapturedStdout()};
}

constexpr const char* kWorld = R"(apiVersion: v1
kind: Pod
metadata: {name: shop, labels: {app: shop, version: v1}}
spec: {containers: [{name: shop, ports: [{containerPort: 8080}]}]}
status: {podIP: 10.244.0.10, phase: Running}
---
apiVersion: v1
kind: Service
metadata: {name: shop}
spec: {clusterIP: 10.96.0.9, selector: {app: shop}, ports: [{name: http, port: 80, targetPort: 8080}]}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: shop}
spec: {host: shop, subsets: [{name: v1, labels: {version: v1}}]}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: shop}
spec:
  hosts: [shop]
  http:
  - match: [{headers: {who: {exact: me}}}]
    route: [{destination: {host: shop, subset: v1}}]
  - match: [{uri: {prefix: /gone}}]
    route: [{destination: {host: shop, subset: v9}}]
  - match: [{uri: {prefix: /all}}]
    route: [{destination: {host: shop}}]
)";

std::string explained(const std::string& folder, const std::string& url, std::vector<std::string> headers = {}, bool json = true) {
  ExplainOptions options;
  options.url = url;
  options.config = {folder};
  options.from = "default/shop";
  options.headers = std::move(headers);
  options.json = json;
  const auto [status, text] = printed([&] { return explain(options); });
  EXPECT_EQ(status, kFine);
  return text;
}

TEST(Explain, MatchingHeader_NamesRuleDestinationAndEndpoint) {
  const Folder folder;
  folder.write("world.yaml", kWorld);
  const std::string text = explained(folder.path(), "http://shop/", {"Who: me"});
  const auto file = doc::read_json("answer", text);
  ASSERT_THAT(file.documents, SizeIs(1)) << text;
  const doc::Node& root = file.documents[0].root;
  EXPECT_EQ(root.at_path("matched.virtual_service")->scalar, "default/shop");
  EXPECT_EQ(root.at_path("matched.rule")->scalar, "0");
  EXPECT_EQ(root.at_path("matched.line")->scalar, "23");
  EXPECT_EQ(root.at_path("destination.subset")->scalar, "v1");
  EXPECT_EQ(root.at_path("destination.host")->scalar, "shop.default.svc.cluster.local");
  EXPECT_EQ(root.at_path("destination.endpoints")->list.at(0).scalar, "10.244.0.10:8080");
  EXPECT_TRUE(root.at_path("status")->is_null());
}

TEST(Explain, NoRuleMatches_Is404NrWithTheFirstFailedConditions) {
  const Folder folder;
  folder.write("world.yaml", kWorld);
  const std::string text = explained(folder.path(), "http://shop/other");
  EXPECT_THAT(text, HasSubstr("\"flags\": \"NR\""));
  EXPECT_THAT(text, HasSubstr("404"));
  EXPECT_THAT(explained(folder.path(), "http://shop/other", {}, false), HasSubstr("world.yaml:23"));
}

TEST(Explain, SubsetThatDoesNotExist_Is503Nc) {
  const Folder folder;
  folder.write("world.yaml", kWorld);
  EXPECT_THAT(explained(folder.path(), "http://shop/gone"), HasSubstr("\"flags\": \"NC\""));
}

TEST(Explain, UnknownPod_NamesTheKnownOnes) {
  const Folder folder;
  folder.write("world.yaml", kWorld);
  ExplainOptions options;
  options.url = "http://shop/";
  options.config = {folder.path()};
  options.from = "default/nobody";
  ::testing::internal::CaptureStderr();
  EXPECT_EQ(explain(options), kFailed);
  EXPECT_THAT(::testing::internal::GetCapturedStderr(), HasSubstr("default/shop"));
}

TEST(Lint, BrokenFile_IsALineWithItsPlaceAndExitOne) {
  const Folder folder;
  folder.write("bad.yaml",
               "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: v}\nspec:\n  hosts: [a]\n  http:\n  - route:\n  "
               "  - destination: {host: a}\n      weight: -5\n");
  LintOptions options;
  options.paths = {folder.path()};
  const auto [status, text] = printed([&] { return lint(options); });
  EXPECT_EQ(status, kFailed);
  EXPECT_THAT(text, HasSubstr("bad.yaml:9:15: error "));
  EXPECT_THAT(text, HasSubstr("VirtualService/default/v spec.http[0].route[0].weight: "));
  for (const char* format : {"json", "sarif"}) {
    options.output = format;
    const auto parsed = doc::read_json("out", printed([&] { return lint(options); }).second);
    EXPECT_THAT(parsed.documents, SizeIs(1)) << format;
  }
}

TEST(Lint, OwnDemo_HasNoErrorAndNoWarning) {
  const Folder folder;
  for (const auto& file : demo_files()) folder.write(std::string(file.name), file.text);
  LintOptions options;
  options.paths = {folder.path()};
  const auto [status, text] = printed([&] { return lint(options); });
  EXPECT_EQ(status, kFine) << text;
  EXPECT_THAT(text, Not(HasSubstr(": warning "))) << text;
}

TEST(Inject, OtherDocuments_StayAsTheyAre) {
  const Folder folder;
  InjectOptions options;
  options.file = folder.write("in.yaml",
                              "# a comment\napiVersion: v1\nkind: Service   # kept\nmetadata: {name: s}\n---\napiVersion: v1\nkind: "
                              "Pod\nmetadata: {name: p}\nspec: {containers: [{name: c}]}\n");
  const auto [status, text] = printed([&] { return inject(options); });
  EXPECT_EQ(status, kFine);
  EXPECT_THAT(text, HasSubstr("kind: Service   # kept\nmetadata: {name: s}\n---\n"));
  EXPECT_THAT(text, HasSubstr("sluice-init"));
}

TEST(Inject, RefusedPod_PrintsNothing) {
  const Folder folder;
  InjectOptions options;
  options.file = folder.write("in.yaml",
                              "apiVersion: v1\nkind: Pod\nmetadata: {name: p, annotations: {sidecar.istio.io/interceptionMode: X}}\nspec: "
                              "{containers: [{name: c}]}\n");
  ::testing::internal::CaptureStderr();
  const auto [status, text] = printed([&] { return inject(options); });
  EXPECT_THAT(::testing::internal::GetCapturedStderr(), HasSubstr("sidecar.istio.io/interceptionMode"));
  EXPECT_EQ(status, kFailed);
  EXPECT_EQ(text, "");
}

TEST(AccessLog, DefaultLine_IsTakenApart) {
  const LogFields fields = parse_access_log(
      "[2026-11-21T10:00:00.000Z] \"GET /a b HTTP/1.1\" 200 UF,URX via_upstream - \"-\" 0 314 0 0 \"-\" \"curl 8\" \"id\" \"reviews:9080\" "
      "\"10.0.0.1:9080\" "
      "outbound|9080|v2|reviews.default.svc.cluster.local 10.0.0.2:1 10.96.0.1:9080 10.0.0.2:2 - default");
  EXPECT_EQ(fields.status, "200");
  EXPECT_EQ(fields.flags, "UF,URX");
  EXPECT_EQ(fields.upstream_host, "10.0.0.1:9080");
  EXPECT_EQ(fields.cluster, "outbound|9080|v2|reviews.default.svc.cluster.local");
  EXPECT_EQ(fields.downstream_local, "10.96.0.1:9080");
  EXPECT_EQ(parse_access_log("2026 info ready").cluster, "");
}

}  // namespace
}  // namespace ctl
