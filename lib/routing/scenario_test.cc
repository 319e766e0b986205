#include "routing/scenario.h"

#include <filesystem>
#include <fstream>
#include <sstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "doc/reader.h"

// Every scenario of testdata/*.yaml is a test of its own, named FILE/SCENARIO.
namespace routing {
namespace {
std::string slurp(const std::filesystem::path& path) {
  std::ostringstream out;
  out << std::ifstream(path, std::ios::binary).rdbuf();
  return std::move(out).str();
}

class ScenarioTest : public testing::Test {
 public:
  explicit ScenarioTest(ScenarioResult result) : result_(std::move(result)) {}
  void TestBody() override { EXPECT_THAT(result_.failures, testing::IsEmpty()); }

 private:
  ScenarioResult result_;
};

// Runs before main(), as RegisterTest must; a file that cannot be read becomes a test that fails.
const int registered = [] {
  const std::filesystem::path folder = SLUICE_SOURCE_DIR "/lib/routing/testdata";
  std::vector<std::filesystem::path> files;
  for (const auto& entry : std::filesystem::directory_iterator(folder))
    if (entry.path().extension() == ".yaml") files.push_back(entry.path());
  std::ranges::sort(files);
  int count = 0;
  const auto add = [&](const std::filesystem::path& path, const ScenarioResult& result) {
    const std::string suite = "Scenario_" + path.stem().string();
    testing::RegisterTest(suite.c_str(), result.name.c_str(), nullptr, nullptr, __FILE__, __LINE__, [result] { return new ScenarioTest(result); });
    ++count;
  };
  for (const auto& path : files) {
    const auto file = doc::read(path.filename().string(), slurp(path));
    for (const auto& problem : file.problems) add(path, {"readable", {doc::line_of(problem)}});
    for (const auto& document : file.documents)
      for (const auto& result : run_scenarios(document)) add(path, result);
  }
  return count;
}();

TEST(Scenarios, Files_AreFound) { EXPECT_GT(registered, 40); }

// The runner itself must be able to fail: each of these would pass if a check were forgotten.
TEST(Scenarios, WrongExpectations_AreFailures) {
  const char* text = R"(
resources: |
  apiVersion: v1
  kind: Pod
  metadata: {name: a, namespace: default}
  status: {podIP: 10.0.0.1}
  ---
  apiVersion: v1
  kind: Service
  metadata: {name: s, namespace: default}
  spec: {clusterIP: 10.1.0.1, ports: [{name: http, port: 80}]}
scenarios:
- {name: status, from: default/a, calls: [{to: 's:80', expect: {status: 404}}]}
- {name: cluster, from: default/a, calls: [{to: 's:80', expect: {cluster: other}}]}
- {name: kind, from: default/a, calls: [{to: 's:80', expect: {kind: tcp}}]}
- {name: rule, from: default/a, calls: [{to: 's:80', expect: {rule: 'default/s[0]'}}]}
- {name: why, from: default/a, calls: [{to: 's:80', expect: {why: nothing like it}}]}
- {name: endpoints, from: default/a, calls: [{to: 's:80', expect: {endpoints: ['1.2.3.4:5']}}]}
- {name: problem, from: default/a, problems: [{code: X}]}
- {name: key, from: default/a, callz: []}
- {name: pod, from: default/b}
- {name: listener, from: default/a, listeners: [nobody]}
)";
  const auto file = doc::read_yaml("self.yaml", text);
  ASSERT_EQ(file.documents.size(), 1u) << (file.problems.empty() ? "" : doc::line_of(file.problems[0]));
  const auto results = run_scenarios(file.documents[0]);
  ASSERT_EQ(results.size(), 10u);
  for (const auto& result : results) EXPECT_EQ(result.failures.size(), 1u) << result.name;
}
}  // namespace
}  // namespace routing
