#include "config/reader.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "base/generated_mark.h"
#include "config/files.h"
#include "config/test_folder.h"

namespace config {
namespace {

using test::broken_service;
using test::Folder;
using test::service;

std::vector<std::string> ids(const Listing& listing) {
  std::vector<std::string> all;
  for (const auto& resource : listing.resources) all.push_back(resource->meta.id());
  return all;
}
const doc::Problem* find(const doc::Problems& problems, std::string_view code) {
  const auto found = std::find_if(problems.begin(), problems.end(), [code](const doc::Problem& p) { return p.code == code; });
  return found == problems.end() ? nullptr : &*found;
}

TEST(Walk, NamesAndOrder_AsTheContractSays) {
  Folder folder;
  for (const char* name : {"a.yaml", "a/b.yml", "a-b.json", "ä.yaml", ".hidden.yaml", ".git/x.yaml", "a/.x/y.yaml", "notes.txt", "b.yaml~", "c.yaml.tmp"}) folder.put(name, "# x\n");
  std::vector<std::string> paths;
  const Walk found = walk(folder.path());
  for (const Found& one : found.files) paths.push_back(one.path);
  EXPECT_EQ(paths, (std::vector<std::string>{"a-b.json", "a.yaml", "a/b.yml", "ä.yaml"}));
  EXPECT_TRUE(found.problems.empty());
}

TEST(Walk, ConfigMapVolume_FilesAreReadOnce) {
  Folder folder;
  folder.swap(1, "vs.yaml", "# one\n");
  const Walk found = walk(folder.path());
  ASSERT_EQ(found.files.size(), 1u);
  EXPECT_EQ(found.files[0].path, "vs.yaml");
  EXPECT_EQ(read_file(found.files[0].real).bytes, "# one\n");
}

TEST(Walk, LinksInCircles_End) {
  Folder folder;
  folder.put("a/b/x.yaml", "# x\n");
  folder.link("..", "a/b/up");
  folder.link("loop.yaml", "loop.yaml");
  folder.link("nowhere", "gone.yaml");
  ASSERT_EQ(::mkfifo(folder.at("pipe.yaml").c_str(), 0600), 0);
  const Walk found = walk(folder.path());
  ASSERT_EQ(found.files.size(), 1u);
  EXPECT_EQ(found.files[0].path, "a/b/x.yaml");
  EXPECT_EQ(found.problems.size(), 3u);
  std::vector<std::string> unread = found.unread;
  std::sort(unread.begin(), unread.end());
  EXPECT_EQ(unread, (std::vector<std::string>{"gone.yaml", "loop.yaml", "pipe.yaml"}));
}

TEST(Walk, MissingRoot_IsSaid) {
  const Walk found = walk("/nonexistent/config");
  EXPECT_FALSE(found.exists);
  ASSERT_EQ(found.problems.size(), 1u);
  EXPECT_EQ(found.problems[0].at.file_name(), "/nonexistent/config");
}

TEST(ReadFile, TooLarge_IsRefusedUnread) {
  Folder folder;
  folder.put("big.yaml", "");
  std::filesystem::resize_file(folder.at("big.yaml"), kMostBytes);
  EXPECT_EQ(read_file(folder.at("big.yaml")).kind, Content::Kind::kRead);
  std::filesystem::resize_file(folder.at("big.yaml"), kMostBytes + 1);
  EXPECT_EQ(read_file(folder.at("big.yaml")).kind, Content::Kind::kFailed);
  EXPECT_EQ(read_file(folder.at("none.yaml")).kind, Content::Kind::kVanished);
  const Listing listing = read_roots({folder.path()});
  ASSERT_NE(find(listing.problems, "FILE"), nullptr);
  EXPECT_EQ(find(listing.problems, "FILE")->at.file_name(), "big.yaml");
  EXPECT_EQ(listing.digest, read_roots({}).digest);   // what nobody parsed is not in it
}

// The numbers come from Python: sha256 over name, NUL, contents, NUL.
TEST(Digest, IsTheContracts) {
  Folder folder, other;
  EXPECT_EQ(read_roots({folder.path()}).digest, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  folder.put("a.yaml", "# one\n");
  folder.put("a/b.yml", "# two\n");
  folder.put("a-b.json", "{}");
  folder.put("ä.yaml", "# three\n");
  folder.put(".new.yaml", "# not there\n");
  EXPECT_EQ(read_roots({folder.path() + '/'}).digest, "95c93fb9a4bb9f01e81df80e47e0d7b897b4549666fe5e66bd0a78aaae8106e7");
  EXPECT_EQ(digest_of_roots({folder.path()}), "95c93fb9a4bb9f01e81df80e47e0d7b897b4549666fe5e66bd0a78aaae8106e7");
  other.put("deep/one.yaml", "# four\n");             // a root that is a file goes by its name alone
  const std::vector<std::string> roots{folder.path(), other.at("deep/one.yaml")};
  EXPECT_EQ(read_roots(roots).digest, "6d3f3f206124a31bac2b26421df5521143ca0e6c7891cc5006b404baeb4eb578");
  EXPECT_EQ(digest_of_roots(roots), "6d3f3f206124a31bac2b26421df5521143ca0e6c7891cc5006b404baeb4eb578");
}

TEST(Reader, BrokenDocument_LeavesTheOthersAndIsNamed) {
  Folder folder;
  folder.put("all.yaml", service("a", "10.0.0.1") + "---\n" + broken_service("b") + "---\n" + service("c", "10.0.0.3"));
  const Listing listing = read_roots({folder.path()});
  EXPECT_EQ(ids(listing), (std::vector<std::string>{"Service/default/a", "Service/default/c"}));
  ASSERT_FALSE(listing.problems.empty());
  EXPECT_EQ(listing.problems[0].object, "Service/default/b");
  EXPECT_EQ(listing.problems[0].at.file_name(), "all.yaml");
  EXPECT_GT(listing.problems[0].at.line, 10);
  ASSERT_EQ(listing.broken.size(), 1u);
  EXPECT_EQ(listing.broken[0].object, "Service/default/b");
}

TEST(Reader, SameObjectTwice_OneWarningNamesBothPlaces) {
  Folder first, second;
  first.put("z.yaml", "# comment\n" + service("a", "10.0.0.1"));
  second.put("b.yaml", service("a", "10.0.0.2"));
  const Listing listing = read_roots({first.path(), second.path()});
  ASSERT_EQ(listing.resources.size(), 2u);
  EXPECT_EQ(listing.resources.back()->meta.at.file_name(), "b.yaml");
  ASSERT_EQ(listing.problems.size(), 1u);
  const doc::Problem& problem = listing.problems[0];
  EXPECT_EQ(problem.severity, doc::Problem::Severity::kWarning);
  EXPECT_EQ(problem.object, "Service/default/a");
  EXPECT_NE(problem.message.find("z.yaml:2"), std::string::npos) << problem.message;
  EXPECT_NE(problem.message.find("b.yaml:1"), std::string::npos) << problem.message;
}

TEST(Reader, GeneratedRoot_ReplacesWithOneLine) {
  Folder own, generated;
  own.put("a.yaml", service("a", "10.0.0.1") + "---\n" + service("b", "10.0.0.2") + "---\n" + service("c", "10.0.0.3"));
  own.put("b.yaml", service("c", "10.0.0.4"));
  generated.put("services.yaml", service("a", "10.96.0.1") + "---\n" + service("b", "10.96.0.2") + "---\n" + service("c", "10.96.0.3"));
  const auto lines = [&] {
    std::vector<std::string> all;
    for (const auto& problem : read_roots({own.path(), generated.path()}).problems) all.push_back(doc::line_of(problem));
    return all;
  };
  EXPECT_EQ(lines().size(), 4u) << "without the mark each replaced object is named";
  const std::string digest = read_roots({own.path(), generated.path()}).digest;
  generated.put(std::string(base::kGeneratedMark), "");
  const auto marked = lines();
  ASSERT_EQ(marked.size(), 2u);
  EXPECT_NE(marked[0].find("warning DUPLICATE Service/default/c: a.yaml:"), std::string::npos) << marked[0] << ": the user's own mistake is still said";
  EXPECT_NE(marked[1].find("info DUPLICATE"), std::string::npos) << marked[1];
  EXPECT_NE(marked[1].find(generated.path()), std::string::npos);
  EXPECT_EQ(read_roots({own.path(), generated.path()}).digest, digest);
  own.remove("b.yaml");
  own.put("a.yaml", service("z", "10.0.0.1"));
  EXPECT_TRUE(lines().empty());
}

TEST(Reader, UnchangedFile_IsNotParsedAgain) {
  Folder folder;
  folder.put("a.yaml", service("a", "10.0.0.1"));
  folder.put("b.yaml", service("b", "10.0.0.2"));
  Reader reader({folder.path()});
  const Listing before = reader.read();
  folder.put("a.yaml", service("a", "10.0.0.1"));     // a new file with the old bytes
  folder.put("b.yaml", service("b", "10.0.0.3"));
  const Listing after = reader.read();
  ASSERT_EQ(after.resources.size(), 2u);
  EXPECT_EQ(before.resources[0].get(), after.resources[0].get());
  EXPECT_NE(before.resources[1].get(), after.resources[1].get());
  EXPECT_NE(before.digest, after.digest);
}

TEST(Reader, RootDisappears_KeepsWhatItHeld) {
  Folder folder;
  folder.put("root/a.yaml", service("a", "10.0.0.1"));
  Reader reader({folder.at("root")});
  const Listing before = reader.read();
  EXPECT_TRUE(before.complete);
  std::filesystem::rename(folder.at("root"), folder.at("away"));
  const Listing gone = reader.read();
  EXPECT_FALSE(gone.complete);
  EXPECT_EQ(ids(gone), ids(before));
  EXPECT_EQ(gone.digest, before.digest);
  EXPECT_NE(find(gone.problems, "FILE"), nullptr);
  std::filesystem::rename(folder.at("away"), folder.at("root"));
  folder.remove("root/a.yaml");
  const Listing empty = reader.read();
  EXPECT_TRUE(empty.complete);
  EXPECT_TRUE(empty.resources.empty());
}

TEST(Reader, MeshConfig_IsFoundAlsoInAList) {
  Folder folder;
  const std::string map = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: istio, namespace: istio-system}\ndata:\n  mesh: |\n    accessLogFile: /dev/stdout\n";
  folder.put("a.yaml", map);
  ASSERT_NE(read_roots({folder.path()}).mesh_config, nullptr);
  folder.put("a.yaml", "apiVersion: v1\nkind: List\nitems:\n- apiVersion: v1\n  kind: ConfigMap\n  metadata: {name: istio, namespace: istio-system}\n  data: {mesh: 'rootNamespace: x'}\n");
  const Listing listing = read_roots({folder.path()});
  ASSERT_NE(listing.mesh_config, nullptr);
  EXPECT_NE(listing.mesh_config->root.at_path("data.mesh"), nullptr);
}

TEST(GuessIdentity, TextThatIsNoYaml) {
  const Identity yaml = guess_identity("apiVersion: v1\nkind: Gateway\nmetadata:\n  labels: {a: [}\n  namespace: 'edge'\n  name: \"web\"\n");
  EXPECT_EQ(yaml.kind, "Gateway");
  EXPECT_EQ(yaml.name_space, "edge");
  EXPECT_EQ(yaml.name, "web");
  const Identity flow = guess_identity("{\"kind\": \"Pod\", \"metadata\": {\"name\":\"p-1\" ");
  EXPECT_EQ(flow.kind, "Pod");
  EXPECT_EQ(flow.name, "p-1");
  EXPECT_TRUE(guess_identity("mankind: x\nnick-name: y\n").kind.empty());
  EXPECT_TRUE(guess_identity("kind:").kind.empty());
}

TEST(DocumentAt, EveryLine) {
  const std::string text = "a\n---\nb\nc\n--- # d\ne";
  EXPECT_EQ(document_at(text, 1), "a\n");
  EXPECT_EQ(document_at(text, 2), "---\nb\nc\n");
  EXPECT_EQ(document_at(text, 4), "---\nb\nc\n");
  EXPECT_EQ(document_at(text, 5), "--- # d\ne");
  EXPECT_EQ(document_at(text, 60), "--- # d\ne");
  EXPECT_EQ(document_at("", 1), "");
}

}  // namespace
}  // namespace config
