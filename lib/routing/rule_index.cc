#include "routing/rule_index.h"

#include <algorithm>

#include "routing/route_table.h"

namespace routing {
namespace {
// Hashing the path once per prefix length costs about as much as comparing this many rules.
constexpr size_t kWorthIndexing = 9;
}  // namespace

void RuleIndex::build(std::span<const Route> routes) {
  linear_ = routes.size() < kWorthIndexing;
  if (linear_) return;
  for (uint32_t i = 0; i < routes.size(); ++i) {
    const Match* match = routes[i].match.get();
    const auto kind = match ? match->path_kind() : Match::Path::kAny;
    const bool regex = kind == Match::Path::kRegex && !match->regex_prefix().empty();
    const bool hashed = (kind == Match::Path::kExact || kind == Match::Path::kPrefix) && !match->ignores_case();
    if (!hashed && !regex) {
      rest_.push_back(i);
      continue;
    }
    const std::string_view value = regex ? match->regex_prefix() : match->path_value();
    if (kind == Match::Path::kExact) {
      exact_[value].push_back(i);
      continue;
    }
    auto place = std::ranges::find(prefixes_, value.size(), &Prefixes::length);
    if (place == prefixes_.end()) place = prefixes_.insert(place, {value.size(), {}});
    place->bucket[value].push_back(i);
  }
  std::ranges::sort(prefixes_, {}, &Prefixes::length);
}

uint32_t RuleIndex::find(std::span<const Route> routes, const MatchInput& in) const {
  if (linear_) {
    for (uint32_t i = 0; i < routes.size(); ++i)
      if (!routes[i].match || routes[i].match->fits(in)) return i;
    return kNone;
  }
  uint32_t best = kNone;
  // Paths in these lists fit already, regexes excepted; each list is ascending, so its first that fits is its lowest.
  const auto try_list = [&](const Bucket& bucket, std::string_view key) {
    const auto found = bucket.find(key);
    if (found == bucket.end()) return;
    for (const uint32_t i : found->second) {
      if (i >= best) return;
      const Match& match = *routes[i].match;
      if (match.path_kind() == Match::Path::kRegex ? match.fits(in) : match.rest_fits(in)) best = i;
    }
  };
  try_list(exact_, in.path);
  for (const auto& group : prefixes_) {
    if (group.length > in.path.size()) break;
    try_list(group.bucket, in.path.substr(0, group.length));
  }
  for (const uint32_t i : rest_) {       // last: most of these stand behind the best so far
    if (i >= best) break;
    if (!routes[i].match || routes[i].match->fits(in)) return i;
  }
  return best;
}

}  // namespace routing
