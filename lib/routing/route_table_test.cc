#include "routing/route_table.h"

#include <random>

#include <gtest/gtest.h>

namespace routing {
namespace {
TEST(HostTable, Order_ExactThenLongestSuffixThenPrefixThenAny) {
  HostTable table;
  EXPECT_TRUE(table.add("a.example.com", 0));
  EXPECT_TRUE(table.add("*.example.com", 1));
  EXPECT_TRUE(table.add("*.b.example.com", 2));
  EXPECT_TRUE(table.add("pre.*", 3));
  EXPECT_TRUE(table.add("*", 4));
  EXPECT_EQ(table.find("a.example.com"), 0u);
  EXPECT_EQ(table.find("A.Example.COM:8080"), 0u);
  EXPECT_EQ(table.find("x.example.com"), 1u);
  EXPECT_EQ(table.find("x.b.example.com"), 2u);
  EXPECT_EQ(table.find("b.example.com"), 1u);
  EXPECT_EQ(table.find("example.com"), 4u);
  EXPECT_EQ(table.find(".example.com"), 4u) << "the wildcard stands for something";
  EXPECT_EQ(table.find("pre.x"), 3u);
  EXPECT_EQ(table.find(""), 4u);
  EXPECT_EQ(table.find(std::string(5000, 'x') + ".example.com"), 1u);
}
TEST(HostTable, Domain_BelongsToTheFirst) {
  HostTable table;
  for (const char* domain : {"a", "*.a", "a.*", "*"}) {
    EXPECT_TRUE(table.add(domain, 0)) << domain;
    EXPECT_FALSE(table.add(domain, 1)) << domain;
  }
  EXPECT_FALSE(table.add("A", 1));
  EXPECT_EQ(HostTable().find("a"), HostTable::kNone);
}
TEST(RouteTable, VirtualHost_KeepsTheDomainsNobodyHas) {
  RouteTable table;
  table.add({"one", {"a", "b"}, {}, {}});
  table.add({"two", {"b", "c"}, {}, {}});
  table.add({"three", {"a"}, {}, {}});
  ASSERT_EQ(table.hosts.size(), 2u);
  EXPECT_EQ(table.hosts[1].domains, std::vector<std::string>{"c"});
  EXPECT_EQ(table.lookup.find("c"), 1u);
}

api::StringMatch text(api::StringMatch::Kind kind, std::string value) {
  api::StringMatch out{.kind = kind, .value = value, .regex = {}, .at = {}};
  if (kind == api::StringMatch::Kind::kRegex) out.regex = *base::Regex::compile(value);
  return out;
}
RequestView request(std::string_view path, std::string_view method = "GET") {
  return {.method = method, .scheme = "http", .authority = "h", .path = path, .fields = nullptr, .sni = {}};
}

// Random rules over a small alphabet, so that they overlap: the index must give what a walk over the list gives.
TEST(RuleIndex, Find_GivesWhatAWalkGives) {
  std::mt19937 random(7);   // a fixed seed: the same rules in every run
  using Kind = api::StringMatch::Kind;
  const auto path = [&] {
    std::string out;
    for (size_t n = random() % 4; n > 0; --n) out += "/" + std::string(1, static_cast<char>('a' + random() % 3));
    return out.empty() ? std::string("/") : out;
  };
  for (int round = 0; round < 200; ++round) {
    std::vector<Route> routes;
    for (size_t n = 1 + random() % 60; n > 0; --n) {
      api::HttpMatch match;
      switch (random() % 5) {
        case 0: match.uri = text(Kind::kExact, path()); break;
        case 1: match.uri = text(Kind::kPrefix, path()); break;
        case 2: match.uri = text(Kind::kRegex, path() + (random() % 2 == 0 ? "/.*" : random() % 2 == 0 ? "?(/[ab])*" : "|/a.*")); break;
        case 3: match.uri = text(Kind::kPrefix, path()), match.ignore_uri_case = true; break;
        default: break;
      }
      if (random() % 2 == 0) match.method = text(Kind::kExact, random() % 2 == 0 ? "GET" : "POST");
      Route route;
      if (random() % 20 != 0) route.match = std::make_shared<const Match>(match);
      routes.push_back(std::move(route));
    }
    RuleIndex index;
    index.build(routes);
    for (int i = 0; i < 50; ++i) {
      const std::string wanted = path() + (random() % 3 == 0 ? "?q=/a" : "");
      const RequestView view = request(wanted, random() % 2 == 0 ? "GET" : "PUT");
      const MatchInput in(view);
      uint32_t walked = RuleIndex::kNone;
      for (uint32_t k = 0; k < routes.size() && walked == RuleIndex::kNone; ++k)
        if (!routes[k].match || routes[k].match->fits(in)) walked = k;
      ASSERT_EQ(index.find(routes, in), walked) << wanted << " among " << routes.size();
    }
  }
}
TEST(Match, LiteralPrefix_NeverClaimsTooMuch) {
  EXPECT_EQ(literal_prefix("/api/v[0-9]+"), "/api/v");
  EXPECT_EQ(literal_prefix("/a\\.b/.*"), "/a.b/");
  EXPECT_EQ(literal_prefix("/ab?c"), "/a");
  EXPECT_EQ(literal_prefix("/ab*"), "/a");
  EXPECT_EQ(literal_prefix("/ab{0,2}"), "/a");
  EXPECT_EQ(literal_prefix("/ab+"), "/ab");
  EXPECT_EQ(literal_prefix("/a\\d"), "/a");
  EXPECT_EQ(literal_prefix("/a\\.?"), "/a");
  EXPECT_EQ(literal_prefix("(?i)/a"), "");
  EXPECT_EQ(literal_prefix("/a|/b"), "");
  EXPECT_EQ(literal_prefix("/\\Qa*\\E"), "");
  EXPECT_EQ(literal_prefix(".*"), "");
  EXPECT_EQ(literal_prefix(""), "");
}
TEST(Match, IgnoreCase_HoldsForExactAndPrefixOnly) {
  using Kind = api::StringMatch::Kind;
  const auto fits = [](Kind kind, const char* value, const char* path) {
    api::HttpMatch match;
    match.uri = text(kind, value);
    match.ignore_uri_case = true;
    const RequestView view = request(path);
    return Match(match).fits(MatchInput(view));
  };
  EXPECT_TRUE(fits(Kind::kExact, "/Ab", "/aB"));
  EXPECT_TRUE(fits(Kind::kPrefix, "/Ab", "/aB/c"));
  EXPECT_FALSE(fits(Kind::kPrefix, "/Ab", "/a"));
  EXPECT_FALSE(fits(Kind::kRegex, "/Ab", "/aB"));
}
TEST(Match, Input_CutsQueryAndFragment) {
  const RequestView a = request("/p?x=1#f"), b = request("/p#f?x");
  EXPECT_EQ(MatchInput(a).path, "/p");
  EXPECT_EQ(MatchInput(a).query, "x=1");
  EXPECT_EQ(MatchInput(b).path, "/p");
  EXPECT_EQ(MatchInput(b).query, "");
}
}  // namespace
}  // namespace routing
