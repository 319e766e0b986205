#include <algorithm>

#include <fmt/format.h>

#include "validate/checks.h"

namespace validate {
namespace {

using api::HttpMatch;
using api::StringMatch;

bool same(const std::optional<StringMatch>& a, const std::optional<StringMatch>& b) {
  if (!a || !b) return !a && !b;
  return a->kind == b->kind && a->value == b->value;
}

bool same(const std::vector<std::pair<std::string, StringMatch>>& a, const std::vector<std::pair<std::string, StringMatch>>& b) {
  if (a.size() != b.size()) return false;
  return std::all_of(a.begin(), a.end(), [&b](const auto& mine) {
    return std::any_of(b.begin(), b.end(), [&mine](const auto& other) { return other.first == mine.first && same(std::optional(mine.second), std::optional(other.second)); });
  });
}

bool same_gateways(const HttpMatch& a, const HttpMatch& b) {
  return std::equal(a.gateways.begin(), a.gateways.end(), b.gateways.begin(), b.gateways.end(), [](const api::Text& x, const api::Text& y) { return x.value == y.value; });
}

// Everything but the path.
bool same_conditions(const HttpMatch& a, const HttpMatch& b) {
  return same(a.scheme, b.scheme) && same(a.method, b.method) && same(a.authority, b.authority) && same(a.headers, b.headers) &&
         same(a.without_headers, b.without_headers) && same(a.query_params, b.query_params) && a.port == b.port && a.source_labels == b.source_labels &&
         a.source_namespace == b.source_namespace && same_gateways(a, b);
}

bool any_path(const HttpMatch& match) {
  if (!match.uri) return true;
  const StringMatch& uri = *match.uri;
  return uri.kind == StringMatch::Kind::kPresent || (uri.kind == StringMatch::Kind::kPrefix && uri.value == "/") || (uri.kind == StringMatch::Kind::kRegex && uri.value == ".*");
}

bool catches_all(const HttpMatch& match) { return any_path(match) && same_conditions(match, HttpMatch()); }

bool catches_all(const api::HttpRoute& rule) {
  return rule.match.empty() || std::any_of(rule.match.begin(), rule.match.end(), [](const HttpMatch& match) { return catches_all(match); });
}

// The earlier match takes every request of the later one.
bool takes(const HttpMatch& earlier, const HttpMatch& later) {
  if (!same_conditions(earlier, later)) return false;
  if (same(earlier.uri, later.uri)) return earlier.ignore_uri_case == later.ignore_uri_case || earlier.ignore_uri_case;
  if (!earlier.uri || !later.uri || earlier.ignore_uri_case || later.ignore_uri_case) return false;
  if (earlier.uri->kind != StringMatch::Kind::kPrefix) return false;
  if (later.uri->kind != StringMatch::Kind::kPrefix && later.uri->kind != StringMatch::Kind::kExact) return false;
  return later.uri->value.starts_with(earlier.uri->value);
}

std::string named(const api::HttpRoute& rule, size_t index) {
  return rule.name.empty() ? fmt::format("spec.http[{}]", index) : fmt::format("spec.http[{}] ({})", index, rule.name);
}

// Files of thousands of rules exist; comparing each with each stops being worth it.
constexpr size_t kMostMatches = 2'000;

void check_matches(const api::VirtualService& service, size_t rules, doc::Problems& out) {
  struct Seen {
    const HttpMatch* match;
    size_t rule;
  };
  std::vector<Seen> seen;
  for (size_t i = 0; i < rules; ++i) {
    const size_t before = seen.size();
    for (size_t j = 0; j < service.http[i].match.size(); ++j) {
      const HttpMatch& match = service.http[i].match[j];
      for (size_t k = 0; k < before; ++k) {
        if (!takes(*seen[k].match, match)) continue;
        out.push_back(warning("IST0131", service.meta, fmt::format("spec.http[{}].match[{}]", i, j), match.at,
                              fmt::format("this match never gets a request: {} takes them first", named(service.http[seen[k].rule], seen[k].rule))));
        break;
      }
      if (seen.size() < kMostMatches) seen.push_back({&match, i});
    }
  }
}

}  // namespace

void check_rule_order(const api::Mesh& mesh, doc::Problems& out) {
  for (const api::VirtualService* service : mesh.virtual_services) {
    size_t reachable = 0;
    while (reachable < service->http.size() && !catches_all(service->http[reachable])) ++reachable;
    reachable = std::min(reachable + 1, service->http.size());
    for (size_t i = reachable; i < service->http.size(); ++i)
      out.push_back(warning("IST0130", service->meta, fmt::format("spec.http[{}]", i), service->http[i].at,
                            fmt::format("this rule is unreachable: {} takes every request; move that rule to the end", named(service->http[reachable - 1], reachable - 1))));
    check_matches(*service, reachable, out);
  }
}

}  // namespace validate
