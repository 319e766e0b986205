#include "doc/writer.h"

#include <gtest/gtest.h>

#include "doc/reader.h"

namespace doc {
namespace {

Node parse(std::string_view text) {
  File file = read_yaml("in.yaml", text);
  for (const Problem& problem : file.problems) ADD_FAILURE() << line_of(problem) << "\n" << text;
  return file.documents.empty() ? Node() : std::move(file.documents[0].root);
}

TEST(Writer, Yaml_ReadsBackEqual) {
  for (const char* text : {
           "a: 1\nb: \"1\"\nc: 'yes'\nd: true\ne: \"true\"\nf: null\ng: ''\nh: {}\ni: []\n",
           "- - a\n  - b\n- c: 1\n  d:\n  - e\n  - {f: [x, y]}\n-\n  - - deep\n",
           "cert: |\n  -----BEGIN-----\n  abc\n  -----END-----\nkeep: |-\n  a\n   b\n\n  c\nplus: |+\n  a\n\nlead: \"  x\\ny\"\n",
           "k: 'it''s: \"quoted\" # not a comment'\n'key: odd': 1\n? \"\"\n: 2\n\"a\\tb\": \"\\u0007\"\n",
           "t: 10.0.0.1\nu: 1.5.0\nv: 0x1F\nw: 1e3\nx: .5\ny: -1\nz: '0o7'\nn: '12:30:00'\n",
           "u: \"\\u2028x\\u00e9 日本\"\nslash: \"a\\\\b\"\nendspace: 'x '\ndash: '- a'\nq: '?'\ncolon: 'a:'\nnel: \"a\\nb \\nc\"\n",
           "\"...  x\": 1\n\"--- y\": 2\n", "[a, b, {c: d}]", "\"text\"", "80", "text"}) {
    const Node node = parse(text);
    const std::string written = to_yaml(node);
    EXPECT_TRUE(parse(written) == node) << written;
    EXPECT_EQ(to_yaml(parse(written)), written);
  }
}

TEST(Writer, Yaml_IsTheStyleThatPeopleWrite) {
  EXPECT_EQ(to_yaml(parse("{kind: Pod, metadata: {name: a, labels: {}}, list: [{a: '1', b: 2}, x], t: \"x\\ny\\n\"}")),
            "kind: Pod\nmetadata:\n  name: a\n  labels: {}\nlist:\n- a: \"1\"\n  b: 2\n- x\nt: |\n  x\n  y\n");
}

TEST(Writer, Equality_IsAboutMeaning) {
  EXPECT_TRUE(parse("a: x\nb: 1\n") == parse("b: 1\na: \"x\"\n"));
  EXPECT_FALSE(parse("a: 1\n") == parse("a: \"1\"\n"));
  EXPECT_FALSE(parse("a: [1, 2]\n") == parse("a: [2, 1]\n"));
}

TEST(Writer, Json_KeepsTypes) {
  EXPECT_EQ(to_json(parse("{a: 1, b: '1', c: True, d: ~, e: [x, 1.5], f: 0x10, g: {}}")),
            R"({"a":1,"b":"1","c":true,"d":null,"e":["x",1.5],"f":"0x10","g":{}})");
  EXPECT_EQ(to_json(parse("{a: [1], b: []}"), true), "{\n  \"a\": [\n    1\n  ],\n  \"b\": []\n}");
}

TEST(Writer, JsonString_EscapesAndReplacesWhatIsNoUtf8) {
  std::string out;
  append_json_string(out, "a\"\\\n\t\x01\x7F\xFF\xC3\xA9");
  EXPECT_EQ(out, "\"a\\\"\\\\\\n\\t\\u0001\\u007f\xEF\xBF\xBD\xC3\xA9\"");
}

TEST(JsonWriter, CommasAndLevels_AreItsBusiness) {
  JsonWriter json;
  json.begin_object().member("a", 1).key("b").begin_array().value("x").null().begin_object().end_object().end_array();
  json.member("c", true).member("d", 1.5).member("e", uint64_t{18446744073709551615u}).end_object();
  EXPECT_EQ(json.take(), R"({"a":1,"b":["x",null,{}],"c":true,"d":1.5,"e":18446744073709551615})");
  JsonWriter pretty(true);
  pretty.begin_object().member("a", "x").key("b").begin_array().end_array().end_object();
  EXPECT_EQ(pretty.take(), "{\n  \"a\": \"x\",\n  \"b\": []\n}");
}

}  // namespace
}  // namespace doc
