#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace routing {

struct Route;
struct MatchInput;

// Finds the first route that fits without trying them all. Routes are grouped by what their path asks for: exact paths and
// prefixes are looked up by hash, regexes by the literal text they begin with; what has none is tried in order. The lowest
// number wins, so the answer is the one that a walk over the list would give. Below a handful of routes the walk is cheaper and is what happens.
class RuleIndex {
 public:
  static constexpr uint32_t kNone = ~0u;
  void build(std::span<const Route> routes);
  // `routes` are those that it was built from. Allocates nothing.
  uint32_t find(std::span<const Route> routes, const MatchInput& in) const;

 private:
  using Numbers = std::vector<uint32_t>;                         // ascending
  using Bucket = std::unordered_map<std::string_view, Numbers>;  // keys live in the routes' matches
  struct Prefixes {
    size_t length;
    Bucket bucket;
  };
  Bucket exact_;
  std::vector<Prefixes> prefixes_;       // one per length that occurs
  Numbers rest_;                         // no path, or one that the hash cannot answer
  bool linear_ = true;
};

}  // namespace routing
