#include "doc/reader.h"
#include "doc/writer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "doc/nearest.h"

namespace doc {
namespace {

using testing::HasSubstr;

TEST(Yaml, Values_KnowTheirPlaceAndQuotes) {
  const File file = read_yaml("a.yaml", "# head\na: 80\nb:\n  - \"80\"\n  - {c: ~}\n");
  ASSERT_EQ(file.problems.size(), 0u);
  ASSERT_EQ(file.documents.size(), 1u);
  const Node& root = file.documents[0].root;
  EXPECT_FALSE(root.find("a")->quoted);
  const Node& b = *root.find("b");
  EXPECT_TRUE(b.list[0].quoted);
  EXPECT_EQ(b.list[0].line, 4);
  EXPECT_EQ(b.list[0].column, 5);
  EXPECT_TRUE(b.list[1].find("c")->is_null());
  EXPECT_EQ(root.map[1].line, 3);
  EXPECT_EQ(file.documents[0].mark(b.list[0]).file_name(), "a.yaml");
}

TEST(Yaml, EmptyValue_StandsAtItsKeyOrDash) {
  const File file = read_yaml("a.yaml", "a:\nb:\n-\n- x\n");
  const Node& root = file.documents.at(0).root;
  EXPECT_EQ(root.find("a")->line, 1);
  EXPECT_EQ(root.find("b")->list.at(0).line, 3);
  EXPECT_EQ(root.find("b")->list[0].column, 1);
}

TEST(Yaml, ManyDocuments_KeepTrueLinesAndEmptyOnesAreLeftOut) {
  const File file = read_yaml("a.yaml", "\xEF\xBB\xBF%YAML 1.2\n---\r\na: 1\r\n---\n# nothing\n---\nb: |\n  x\n   --- y\n...\nc: 3\n--- {d: 4}\n");
  EXPECT_TRUE(file.problems.empty()) << line_of(file.problems[0]);
  ASSERT_EQ(file.documents.size(), 4u);
  EXPECT_EQ(file.documents[0].root.find("a")->line, 3);
  EXPECT_EQ(file.documents[1].root.find("b")->scalar, "x\n --- y\n");
  EXPECT_EQ(file.documents[2].root.find("c")->line, 11);
  EXPECT_EQ(file.documents[3].root.find("d")->line, 12);
}

TEST(Yaml, BrokenDocument_LeavesItsNeighboursAlone) {
  const File file = read_yaml("a.yaml", "a: 1\n---\nkind: Service\nmetadata:\n  name: web\nspec: {{{\n---\nb: 2\n");
  ASSERT_EQ(file.documents.size(), 2u);
  EXPECT_EQ(file.documents[1].root.find("b")->line, 8);
  ASSERT_EQ(file.problems.size(), 1u);
  EXPECT_EQ(file.problems[0].object, "Service/default/web");
  EXPECT_GE(file.problems[0].at.line, 6);
  EXPECT_EQ(file.problems[0].code, "YAML");
}

struct Refused {
  const char* what;
  std::string text;
  int line;
  const char* says;
};

class YamlRefused : public testing::TestWithParam<Refused> {};

TEST_P(YamlRefused, SaysWhatAndWhere) {
  const File file = read_yaml("bad.yaml", GetParam().text);
  ASSERT_EQ(file.problems.size(), 1u);
  EXPECT_THAT(file.problems[0].message, HasSubstr(GetParam().says));
  EXPECT_EQ(file.problems[0].at.line, GetParam().line) << line_of(file.problems[0]);
  EXPECT_TRUE(file.documents.empty());
}

std::string times(int n, std::string_view text) {
  std::string out;
  for (int i = 0; i < n; ++i) out += text;
  return out;
}

INSTANTIATE_TEST_SUITE_P(
    Kinds, YamlRefused,
    testing::Values(
        Refused{"anchor", "x: 1\na: &a [x]\n", 2, "anchors"}, Refused{"alias", "x: 1\na: *b\n", 2, ""},
        Refused{"merge", "a: {<<: {b: 1}}\n", 1, "merge keys"}, Refused{"tag", "a: !!binary aGk=\n", 1, "tags"},
        Refused{"custom tag", "a: !x {}\n", 1, "tags"}, Refused{"duplicate", "a: 1\nb: 2\na: 3\n", 3, "\"a\""},
        Refused{"duplicate among many", times(1, "k0: 0\nk1: 0\nk2: 0\nk3: 0\nk4: 0\nk5: 0\nk6: 0\nk7: 0\nk8: 0\nk9: 0\nka: 0\nkb: 0\nkc: 0\nkd: 0\nke: 0\nkf: 0\nkg: 0\nkh: 0\nkg: 0\n"), 19, "\"kg\""},
        Refused{"tab", "a:\n\tb: c\n", 2, "tab"}, Refused{"tab after blanks", "a:\n  b: 1\n \tc: 2\n", 3, "tab"},
        Refused{"not UTF-8", "a: 1\nb: \"\xFF\"\n", 2, "UTF-8"}, Refused{"UTF-16", std::string("\xFF\xFE" "h\0", 4), 1, "UTF-16"},
        Refused{"NUL", std::string("a: b\0c\n", 7), 1, "NUL"}, Refused{"control", "a: b\x01\n", 1, "0x01"},
        Refused{"deep blocks", times(100000, "- ") + "a", 1, "64 levels"}, Refused{"deep brackets", times(100, "[") + times(100, "]"), 1, "64 levels"},
        Refused{"open double quote", "a: 1\nb: \"x\n", 2, "never closed"}, Refused{"open single quote", "b: 'x''\n", 1, "never closed"},
        Refused{"escaped last quote", "b: \"x\\\"", 1, "never closed"}, Refused{"complex key", "? [a]\n: b\n", 1, "key must be text"},
        Refused{"indentation", "a:\n  b: 1\n c: 2\n", 3, "indentation"}, Refused{"huge", std::string((16 << 20) + 1, '#'), 0, "at most"},
        Refused{"many values", "[" + times(1000001, "1,") + "]", 1, "1000000"}),
    [](const auto& info) {
      std::string name = info.param.what;
      for (char& c : name) c = c == ' ' || c == '-' ? '_' : c;
      return name;
    });

TEST(Yaml, TabsThatAreNoIndentation_AreFine) {
  const File file = read_yaml("a.yaml", "a: |\n  x\n  \ty\nb:\t1\nc: {\n\t\"d\": 2,\n\t\"e\":[1]}\n");
  EXPECT_TRUE(file.problems.empty()) << line_of(file.problems[0]);
  EXPECT_EQ(file.documents.at(0).root.find("a")->scalar, "x\n\ty\n");
}

TEST(Yaml, MillionEmptyDocuments_CostLittle) {
  EXPECT_TRUE(read_yaml("a.yaml", times(1000000, "---\n")).documents.empty());
}

// Every prefix of a document either reads or is one problem: nothing crashes, hangs or is taken for complete inside a quote.
TEST(Yaml, EverySplitPoint_ReadsOrComplains) {
  const std::string text = "a: {b: [1, \"x: y\"], c: 'it''s'}\nd: |\n  line\n  more\ne:\n- f: >-\n    folded\n---\ng: !t h\n";
  for (size_t i = 0; i <= text.size(); ++i) {
    const File file = read_yaml("a.yaml", std::string_view(text).substr(0, i));
    EXPECT_LE(file.problems.size(), 1u) << i;
    for (const Document& document : file.documents) EXPECT_LE(document.end, i);
  }
}

TEST(Json, Values_KnowTheirPlace) {
  const File file = read_json("a.json", "{\"a\": [1, true,\n null, \"\\u00e9\\ud83d\\ude00\\n\"],\n \"b\": {}}\n");
  ASSERT_TRUE(file.problems.empty()) << line_of(file.problems[0]);
  const Node& a = *file.documents.at(0).root.find("a");
  ASSERT_EQ(a.list.size(), 4u);
  EXPECT_TRUE(a.list[2].is_null());
  EXPECT_EQ(a.list[3].scalar, "\xC3\xA9\xF0\x9F\x98\x80\n");
  EXPECT_EQ(a.list[3].line, 2);
  EXPECT_EQ(a.list[3].column, 8);
  EXPECT_TRUE(file.documents[0].root.find("b")->is_map());
}

TEST(Json, WrongText_OneProblemWithPlace) {
  struct Case {
    std::string text;
    int line, column;
    const char* says;
  };
  for (const Case& c : {Case{"{\"a\": 1,\n \"a\": 2}", 2, 2, "\"a\""}, Case{"{\"a\" 1}", 1, 6, "':'"}, Case{"[1, 2", 1, 6, "']'"},
                        Case{"[1,]", 1, 4, "missing"}, Case{"{\"a\": yes}", 1, 7, "yes"}, Case{"{a: 1}", 1, 2, "double quotes"},
                        Case{"[01]", 1, 2, "01"}, Case{"{} x", 1, 4, "follows"}, Case{"\"a\nb\"", 1, 1, "line end"},
                        Case{"[\"\\ud800\"]", 1, 2, "surrogate"}, Case{"[\"\\q\"]", 1, 2, "escape"}, Case{"\"abc", 1, 1, "never closed"},
                        Case{"[\"\xFF\"]", 1, 2, "UTF-8"}, Case{times(65, "["), 1, 65, "64 levels"}}) {
    const File file = read_json("a.json", c.text);
    ASSERT_EQ(file.problems.size(), 1u) << c.text;
    EXPECT_THAT(line_of(file.problems[0]), HasSubstr(c.says)) << c.text;
    EXPECT_EQ(file.problems[0].at.line, c.line) << c.text;
    EXPECT_EQ(file.problems[0].at.column, c.column) << c.text;
    EXPECT_TRUE(file.documents.empty());
  }
}

TEST(Read, EndingOfTheName_Decides) {
  EXPECT_EQ(read("a.json", "a: 1").problems.size(), 1u);
  EXPECT_EQ(read("a.yml", "a: 1").problems.size(), 0u);
}

TEST(Embedded, LiteralBlock_MarksPointIntoTheOuterFile) {
  const File outer = read_yaml("mesh.yaml", "kind: ConfigMap\ndata:\n  mesh: |\n\n    a: 1\n    b:\n      c: &x 2\n");
  ASSERT_TRUE(outer.problems.empty());
  const File inner = read_embedded(outer.documents[0], *outer.documents[0].root.at_path("data.mesh"));
  ASSERT_EQ(inner.problems.size(), 1u);
  EXPECT_EQ(inner.problems[0].at.line, 7);
  EXPECT_EQ(inner.problems[0].at.file_name(), "mesh.yaml");

  const File good = read_yaml("mesh.yaml", "data:\n  mesh: |-\n    a: 1\n    b: 2\n  other: \"a: 1\\nb: 2\"\n");
  const File block = read_embedded(good.documents[0], *good.documents[0].root.at_path("data.mesh"));
  ASSERT_EQ(block.documents.size(), 1u);
  EXPECT_EQ(block.documents[0].root.map[1].line, 4);
  EXPECT_EQ(block.documents[0].root.map[1].column, 5);
  const File quoted = read_embedded(good.documents[0], *good.documents[0].root.at_path("data.other"));
  ASSERT_EQ(quoted.documents.size(), 1u);
  EXPECT_EQ(quoted.documents[0].root.map[1].line, 5);
}

TEST(Problem, Line_IsOneLineAsLintPrintsIt) {
  Problem problem{Problem::Severity::kWarning, "IST0101", "VirtualService/default/a", "spec.hosts[0]", "no\nsuch", {std::make_shared<std::string>("x.yaml"), 3, 5}};
  EXPECT_EQ(line_of(problem), "x.yaml:3:5: warning IST0101 VirtualService/default/a spec.hosts[0]: no such");
  problem.field.clear();
  problem.object.clear();
  EXPECT_EQ(line_of(problem), "x.yaml:3:5: warning IST0101 -: no such");
}

TEST(Nearest, FindsTypingMistakes_NotEverything) {
  EXPECT_EQ(nearest("localgov1", {"v2", "Localgov1"}), "Localgov1");
  EXPECT_EQ(nearest("timout", {"retries", "timeout"}), "timeout");
  EXPECT_EQ(nearest("hsots", {"hosts", "http"}), "hosts");
  EXPECT_EQ(nearest("reviews", {"ratings", "details"}), "");
  EXPECT_EQ(nearest("v9", {"v1", "v2"}), "");
}

TEST(ReadYaml, EscapesOfSpaceAndLineEnd_AreWholeCharacters) {
  const File file = read_yaml("a.yaml", "a: \"x\\_y\"\nb: \"x\\Ny\"\n");
  ASSERT_EQ(file.documents.size(), 1u);
  EXPECT_EQ(file.documents[0].root.find("a")->text_or(), "x\xC2\xA0y");
  EXPECT_EQ(file.documents[0].root.find("b")->text_or(), "x\xC2\x85y");
  const File again = read_yaml("b.yaml", to_yaml(file.documents[0].root));
  ASSERT_EQ(again.documents.size(), 1u);
  EXPECT_TRUE(again.documents[0].root == file.documents[0].root);
}

}  // namespace
}  // namespace doc
