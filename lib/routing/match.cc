#include "routing/match.h"

#include <algorithm>

#include <fmt/format.h>

#include "routing/names.h"

namespace routing {
namespace {
using Kind = api::StringMatch::Kind;

char lower(char c) noexcept { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + ('a' - 'A')) : c; }
// `lower_value` is lower-case already.
bool equal_ignoring_case(std::string_view text, std::string_view lower_value) noexcept {
  return text.size() == lower_value.size() && std::ranges::equal(text, lower_value, {}, lower);
}

// Envoy lets header conditions name the pseudo headers; everything else is a row of the table.
std::optional<std::string_view> pseudo_header(const RequestView& request, std::string_view name) noexcept {
  if (name == ":method") return request.method;
  if (name == ":authority" || name == "host") return request.authority;
  if (name == ":path") return request.path;
  if (name == ":scheme") return request.scheme;
  return std::nullopt;
}

struct HeaderTest {
  bool present = false, fits = false;
  std::string_view seen;                 // the first value
};
// A repeated header fits when any of its values does (traffic.md §0-22).
HeaderTest test_header(const RequestView& request, std::string_view name, const api::StringMatch& wanted) {
  HeaderTest out;
  const auto look = [&](std::string_view value) {
    if (!out.present) out.seen = value;
    out.present = true;
    out.fits = out.fits || wanted.matches(value);
  };
  if (const auto pseudo = pseudo_header(request, name)) {
    look(*pseudo);
    return out;
  }
  if (!request.fields) return out;
  const uint32_t hash = base::name_hash(name);
  for (const auto& field : request.fields->all())
    if (field.hash == hash && field.name == name) look(field.value);
  return out;
}

// The value of the first parameter of that name, not decoded; a parameter without '=' has an empty one.
std::optional<std::string_view> query_parameter(std::string_view query, std::string_view name) noexcept {
  while (!query.empty()) {
    const size_t end = std::min(query.find('&'), query.size());
    const std::string_view part = query.substr(0, end);
    const size_t equals = std::min(part.find('='), part.size());
    if (part.substr(0, equals) == name) return equals == part.size() ? std::string_view{} : part.substr(equals + 1);
    query.remove_prefix(std::min(end + 1, query.size()));
  }
  return std::nullopt;
}

bool text_fits(const std::optional<api::StringMatch>& wanted, std::string_view name, std::string_view text, std::string* why) {
  if (!wanted || wanted->matches(text)) return true;
  if (why) *why = fmt::format("{} {}: {} is {}", name, words_of(*wanted), name, text.empty() ? "empty" : text);
  return false;
}
}  // namespace

std::string words_of(const api::StringMatch& match) {
  switch (match.kind) {
    case Kind::kExact: return "exact " + match.value;
    case Kind::kPrefix: return "prefix " + match.value;
    case Kind::kRegex: return "regex " + match.value;
    case Kind::kPresent: break;
  }
  return "present";
}

std::string literal_prefix(std::string_view pattern) {
  // An alternative may begin differently, and \Q…\E changes what the characters in it mean: both are rare, so they get nothing.
  if (pattern.find('|') != pattern.npos || pattern.find("\\Q") != pattern.npos) return {};
  std::string out;
  for (size_t i = 0; i < pattern.size(); ++i) {
    char c = pattern[i];
    if (c == '*' || c == '?' || c == '{') {   // what stands before may occur no time
      if (!out.empty()) out.pop_back();
      break;
    }
    if (c == '\\') {
      constexpr std::string_view kPunctuation = R"(.+*?()[]{}|^$\/-_~!@#%&=:;,<>"'` )";
      if (i + 1 == pattern.size() || kPunctuation.find(pattern[i + 1]) == kPunctuation.npos) break;
      c = pattern[++i];
    } else if (std::string_view(".+()[]^$}").find(c) != std::string_view::npos || static_cast<unsigned char>(c) >= 0x80) {
      break;                             // a letter of several bytes could lose only its last byte to a quantifier
    }
    out += c;
  }
  return out;
}

MatchInput::MatchInput(const RequestView& r) noexcept : request(r), path(r.path) {
  path = path.substr(0, path.find('#'));
  const size_t mark = path.find('?');
  if (mark == path.npos) return;
  query = path.substr(mark + 1);
  path = path.substr(0, mark);
}

Match::Match(const api::HttpMatch& match) : match_(match) {
  const auto is_claim = [](const auto& header) { return header.first.starts_with('@'); };
  claims_ = std::ranges::any_of(match_.headers, is_claim) || std::ranges::any_of(match_.without_headers, is_claim);
  if (!match_.uri || match_.uri->kind == Kind::kPresent) return;
  const auto& uri = *match_.uri;
  path_ = uri.kind == Kind::kExact ? Path::kExact : uri.kind == Kind::kPrefix ? Path::kPrefix : Path::kRegex;
  ignore_case_ = match_.ignore_uri_case && path_ != Path::kRegex;   // a regex says (?i) itself
  value_ = ignore_case_ ? lower_case(uri.value) : uri.value;
  if (path_ == Path::kPrefix && value_.empty()) path_ = Path::kAny;
  if (path_ == Path::kRegex) regex_prefix_ = literal_prefix(value_);
}

bool Match::catch_all() const noexcept {
  const bool any_path = path_ == Path::kAny || (path_ == Path::kPrefix && value_ == "/") || (path_ == Path::kRegex && value_ == ".*");
  return any_path && !match_.scheme && !match_.method && !match_.authority && match_.headers.empty() && match_.without_headers.empty() &&
         match_.query_params.empty();
}

bool Match::path_fits(std::string_view path) const {
  switch (path_) {
    case Path::kAny: return true;
    case Path::kExact: return ignore_case_ ? equal_ignoring_case(path, value_) : path == value_;
    case Path::kPrefix: return ignore_case_ ? equal_ignoring_case(path.substr(0, value_.size()), value_) : path.starts_with(value_);
    case Path::kRegex: return match_.uri->matches(path);
  }
  return false;
}

bool Match::fits(const MatchInput& in, std::string* why) const {
  if (!path_fits(in.path)) {
    if (why) *why = fmt::format("uri {}{}: path is {}", words_of(*match_.uri), ignore_case_ ? " (any case)" : "", in.path);
    return false;
  }
  return rest_fits(in, why);
}

bool Match::rest_fits(const MatchInput& in, std::string* why) const {
  if (claims_) {
    if (why) *why = "asks for a claim of a validated token, which is not implemented yet";
    return false;
  }
  return text_fits(match_.scheme, "scheme", in.request.scheme, why) && text_fits(match_.method, "method", in.request.method, why) &&
         text_fits(match_.authority, "authority", in.request.authority, why) && headers_fit(in, why) && absent_headers_fit(in, why) &&
         query_fits(in, why);
}

bool Match::headers_fit(const MatchInput& in, std::string* why) const {
  for (const auto& [name, wanted] : match_.headers) {
    const HeaderTest test = test_header(in.request, name, wanted);
    if (test.fits) continue;
    if (why) *why = fmt::format("header {} {}: {}{}", name, words_of(wanted), test.present ? "it is " : "it is absent", test.seen);
    return false;
  }
  return true;
}

bool Match::absent_headers_fit(const MatchInput& in, std::string* why) const {
  for (const auto& [name, unwanted] : match_.without_headers) {
    const HeaderTest test = test_header(in.request, name, unwanted);
    // A missing header counts as an empty value, except where presence itself is asked for.
    const bool hit = test.present ? test.fits : unwanted.kind != Kind::kPresent && unwanted.matches({});
    if (!hit) continue;
    if (why) *why = fmt::format("without header {} {}: {}{}", name, words_of(unwanted), test.present ? "it is " : "it is absent, which counts as empty", test.seen);
    return false;
  }
  return true;
}

bool Match::query_fits(const MatchInput& in, std::string* why) const {
  for (const auto& [name, wanted] : match_.query_params) {
    const auto value = query_parameter(in.query, name);
    if (value && wanted.matches(*value)) continue;
    if (why) *why = fmt::format("query parameter {} {}: {}{}", name, words_of(wanted), value ? "it is " : "it is absent", value.value_or(""));
    return false;
  }
  return true;
}

}  // namespace routing
