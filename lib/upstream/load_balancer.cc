#include "upstream/load_balancer.h"

#include <algorithm>
#include <iterator>
#include <random>
#include <utility>

namespace upstream {
namespace {

uint64_t weight_of(const Target& target) noexcept { return std::max(target.endpoint.weight, 1u); }

// Uniform in [0, n) for sums that may not fit 32 bits: the draw is scaled, which is exact enough for weights.
uint64_t draw(Random& random, uint64_t n) noexcept {
  if (n <= ~uint32_t{0}) return random.below(static_cast<uint32_t>(n));
  const uint64_t high = random.below(~uint32_t{0}), low = random.below(~uint32_t{0});
  return (high << 32 | low) % n;
}

}  // namespace

FastRandom::FastRandom() {
  std::random_device device;
  state_ = uint64_t{device()} << 32 | device() | 1;   // never zero
}

uint32_t FastRandom::below(uint32_t n) noexcept {
  state_ ^= state_ >> 12;
  state_ ^= state_ << 25;
  state_ ^= state_ >> 27;
  return static_cast<uint32_t>((state_ * 0x2545F4914F6CDD1Dull >> 32) * n >> 32);
}

void LoadBalancer::set_targets(std::vector<Target*> targets) {
  const bool first = targets_.empty();
  targets_ = std::move(targets);
  equal_weights_ = std::ranges::all_of(targets_, [&](const Target* t) { return weight_of(*t) == weight_of(*targets_.front()); });
  all_healthy_ = std::ranges::all_of(targets_, [](const Target* t) { return t->endpoint.healthy; });
  // Everybody begins somewhere else, or the first endpoint of every list in the mesh would get the first requests of all.
  if (first && targets_.size() > 1) targets_[random_.below(static_cast<uint32_t>(targets_.size()))]->turn += 1;
}

Target* LoadBalancer::pick(std::span<const base::SocketAddress> avoid) {
  if (all_healthy_ && avoid.empty()) return pick_among(targets_);
  const auto tried = [&](const Target* t) { return std::ranges::find(avoid, t->endpoint.address) != avoid.end(); };
  candidates_.clear();
  std::ranges::copy_if(targets_, std::back_inserter(candidates_), [&](const Target* t) { return t->endpoint.healthy && !tried(t); });
  if (candidates_.empty()) {
    std::ranges::copy_if(targets_, std::back_inserter(candidates_), [](const Target* t) { return t->endpoint.healthy; });
  }
  return pick_among(candidates_);
}

Target* LoadBalancer::pick_among(std::span<Target* const> candidates) {
  if (candidates.empty()) return nullptr;
  if (candidates.size() == 1) return candidates.front();
  switch (kind_) {
    case base::LoadBalancer::kRoundRobin: return round_robin(candidates);
    case base::LoadBalancer::kRandom: return weighted(candidates, false);
    case base::LoadBalancer::kLeastRequest:
    case base::LoadBalancer::kPassthrough: break;   // passthrough clusters dial the original destination and never ask
  }
  return equal_weights_ ? least_request(candidates) : weighted(candidates, true);
}

// Two different choices: drawing the same endpoint twice would send it a request however busy it is.
Target* LoadBalancer::least_request(std::span<Target* const> candidates) {
  const auto n = static_cast<uint32_t>(candidates.size());
  const uint32_t first = random_.below(n);
  uint32_t second = random_.below(n - 1);
  if (second >= first) ++second;
  return candidates[second]->active < candidates[first]->active ? candidates[second] : candidates[first];
}

// Everybody is owed its weight per pick; who is owed most goes first and pays the round. Endpoints that are left out (unhealthy,
// tried) earn nothing meanwhile, so they do not come back with a burst.
Target* LoadBalancer::round_robin(std::span<Target* const> candidates) {
  Target* best = nullptr;
  int64_t round = 0;
  for (Target* target : candidates) {
    const auto weight = static_cast<int64_t>(weight_of(*target));
    target->turn += weight;
    round += weight;
    if (!best || target->turn > best->turn) best = target;
  }
  best->turn -= round;
  return best;
}

Target* LoadBalancer::weighted(std::span<Target* const> candidates, bool by_load) {
  constexpr uint64_t kScale = 1 << 16;   // so that dividing by the load keeps enough digits
  const auto share = [by_load](const Target& t) { return by_load ? std::max<uint64_t>(weight_of(t) * kScale / (t.active + 1), 1) : weight_of(t); };
  uint64_t total = 0;
  for (const Target* target : candidates) total += share(*target);
  uint64_t at = draw(random_, total);
  for (Target* target : candidates) {
    const uint64_t mine = share(*target);
    if (at < mine) return target;
    at -= mine;
  }
  return candidates.back();
}

}  // namespace upstream
