#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "api/networking.h"
#include "routing/engine.h"

namespace routing {

// A request as conditions look at it: the path already cut from its query.
struct MatchInput {
  explicit MatchInput(const RequestView& request) noexcept;
  const RequestView& request;
  std::string_view path, query;          // without '?', fragment dropped
};

// The conditions of one entry of http[].match that are left after static filtering (traffic.md §2.1.3). Immutable, shared by
// all route tables in which the rule stands. Evaluating allocates nothing unless asked why.
class Match {
 public:
  enum class Path : uint8_t { kAny, kExact, kPrefix, kRegex };
  explicit Match(const api::HttpMatch& match);

  // All conditions hold. `why`, when given, gets the first one that does not.
  bool fits(const MatchInput& in, std::string* why = nullptr) const;
  // The same without the path: for an index that has compared it already.
  bool rest_fits(const MatchInput& in, std::string* why = nullptr) const;

  Path path_kind() const noexcept { return path_; }
  // A path that the index may look up by its bytes: exact or prefix, compared with case.
  const std::string& path_value() const noexcept { return value_; }
  bool ignores_case() const noexcept { return ignore_case_; }
  // Text with which every path that a regex fits begins; empty when unknown.
  const std::string& regex_prefix() const noexcept { return regex_prefix_; }
  // Takes every request: what stands behind it in the same VirtualService is never reached (§2.1.1).
  bool catch_all() const noexcept;
  const api::HttpMatch& source() const noexcept { return match_; }

 private:
  bool path_fits(std::string_view path) const;
  bool headers_fit(const MatchInput& in, std::string* why) const;
  bool absent_headers_fit(const MatchInput& in, std::string* why) const;
  bool query_fits(const MatchInput& in, std::string* why) const;

  api::HttpMatch match_;
  Path path_ = Path::kAny;
  std::string value_;                    // lower-case when ignore_case_
  std::string regex_prefix_;
  bool ignore_case_ = false;
  bool claims_ = false;                  // asks for claims of a token: never fits until tokens are validated
};

// What every text that the pattern matches as a whole begins with. Errs on the short side.
std::string literal_prefix(std::string_view pattern);

// "exact jason", "prefix /v2", "regex a.*" or "present": how a condition is told to people.
std::string words_of(const api::StringMatch& match);

}  // namespace routing
