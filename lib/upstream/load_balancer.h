#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/cluster_settings.h"

namespace upstream {

struct Random {
  virtual uint32_t below(uint32_t n) noexcept = 0;     // uniform in [0, n); n > 0

 protected:
  ~Random() = default;
};

// xorshift64*, seeded by the system: choosing among endpoints needs speed and spread, not secrecy.
class FastRandom final : public Random {
 public:
  FastRandom();
  uint32_t below(uint32_t n) noexcept override;

 private:
  uint64_t state_;
};

// What a load balancer knows of an endpoint.
struct Target {
  base::Endpoint endpoint;
  uint32_t active = 0;                                 // requests this worker has there, waiting ones included
  int64_t turn = 0;                                    // ROUND_ROBIN: how much it is owed (smooth weighted round robin)
};

// Chooses endpoints. Pure: no clock, no I/O; randomness comes in. A weight of 0 counts as 1.
// Istio: DestinationRule.trafficPolicy.loadBalancer.simple.
class LoadBalancer {
 public:
  LoadBalancer(base::LoadBalancer kind, Random& random) noexcept : random_(random), kind_(kind) {}

  void set_kind(base::LoadBalancer kind) noexcept { kind_ = kind; }
  // The endpoints from now on; not owned, must stay until the next call.
  void set_targets(std::vector<Target*> targets);
  std::span<Target* const> targets() const noexcept { return targets_; }

  // Null when no healthy endpoint exists. Endpoints in `avoid` are taken only when no healthy other is left.
  // LEAST_REQUEST: the less busy of two different random ones; with unequal weights, random in proportion to
  // weight / (active + 1), as Envoy's dynamic weights. ROUND_ROBIN: smooth weighted. RANDOM: weighted.
  Target* pick(std::span<const base::SocketAddress> avoid);

 private:
  Target* pick_among(std::span<Target* const> candidates);
  Target* least_request(std::span<Target* const> candidates);
  Target* round_robin(std::span<Target* const> candidates);
  Target* weighted(std::span<Target* const> candidates, bool by_load);

  Random& random_;
  base::LoadBalancer kind_;
  std::vector<Target*> targets_;
  std::vector<Target*> candidates_;                    // scratch of pick(), kept for its capacity
  bool equal_weights_ = true;
  bool all_healthy_ = true;
};

}  // namespace upstream
