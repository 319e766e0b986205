#include "upstream/load_balancer.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <deque>
#include <map>
#include <memory>

namespace upstream {
namespace {

using base::SocketAddress;

// Gives what the test wrote down, then goes round.
struct Script final : Random {
  std::deque<uint32_t> draws;
  uint32_t next = 0;
  uint32_t below(uint32_t n) noexcept override {
    uint32_t value = next++;
    if (!draws.empty()) {
      value = draws.front();
      draws.pop_front();
    }
    return value % n;
  }
};

SocketAddress address(int i) { return *SocketAddress::parse("10.0.0." + std::to_string(i + 1) + ":80"); }

struct Balance {
  Balance(base::LoadBalancer kind, std::initializer_list<uint32_t> weights, Random& random) : balancer(kind, random) {
    for (const uint32_t weight : weights) {
      targets.push_back(std::make_unique<Target>());
      targets.back()->endpoint = {.address = address(static_cast<int>(targets.size()) - 1), .weight = weight, .healthy = true, .workload = {}};
    }
    set();
  }
  void set() {
    std::vector<Target*> list;
    for (auto& target : targets) list.push_back(target.get());
    balancer.set_targets(list);
  }
  int pick(std::vector<SocketAddress> avoid = {}) {
    const Target* target = balancer.pick(avoid);
    for (size_t i = 0; i < targets.size(); ++i) {
      if (targets[i].get() == target) return static_cast<int>(i);
    }
    return -1;
  }
  std::map<int, int> picks(int n) {
    std::map<int, int> count;
    for (int i = 0; i < n; ++i) ++count[pick()];
    return count;
  }
  std::vector<std::unique_ptr<Target>> targets;
  LoadBalancer balancer;
};

TEST(LoadBalancer, NoEndpoints_GivesNone) {
  Script random;
  Balance balance(base::LoadBalancer::kLeastRequest, {}, random);
  EXPECT_EQ(balance.pick(), -1);
}

TEST(LoadBalancer, LeastRequest_TakesLessBusyOfTwo) {
  Script random;
  Balance balance(base::LoadBalancer::kLeastRequest, {1, 1, 1}, random);
  balance.targets[0]->active = 5;
  balance.targets[1]->active = 1;
  balance.targets[2]->active = 3;
  random.draws = {0, 0};   // first 0; second is drawn among the others: 1
  EXPECT_EQ(balance.pick(), 1);
  random.draws = {0, 1};   // 0 and 2
  EXPECT_EQ(balance.pick(), 2);
  random.draws = {2, 0};   // 2 and 0
  EXPECT_EQ(balance.pick(), 2);
}

TEST(LoadBalancer, LeastRequest_BusyEndpointOfThree_IsNeverTheLesser) {
  FastRandom random;
  Balance balance(base::LoadBalancer::kLeastRequest, {1, 1, 1}, random);
  balance.targets[2]->active = 100;
  const auto count = balance.picks(1000);
  EXPECT_FALSE(count.contains(2));
  EXPECT_GT(count.at(0), 300);
  EXPECT_GT(count.at(1), 300);
}

TEST(LoadBalancer, LeastRequest_UnequalWeights_FollowWeightAndLoad) {
  FastRandom random;
  Balance balance(base::LoadBalancer::kLeastRequest, {1, 3}, random);
  EXPECT_NEAR(balance.picks(8000)[1], 6000, 300);
  balance.targets[1]->active = 2;   // 3 / (2 + 1) is as much as 1 / (0 + 1)
  EXPECT_NEAR(balance.picks(8000)[1], 4000, 300);
}

TEST(LoadBalancer, RoundRobin_EqualWeights_TakesTurns) {
  Script random;
  Balance balance(base::LoadBalancer::kRoundRobin, {1, 1, 1}, random);
  int last = -1;
  std::map<int, int> count;
  for (int i = 0; i < 300; ++i) {
    const int now = balance.pick();
    EXPECT_NE(now, last);
    last = now;
    ++count[now];
  }
  EXPECT_EQ(count, (std::map<int, int>{{0, 100}, {1, 100}, {2, 100}}));
}

TEST(LoadBalancer, RoundRobin_Weights_AreMixedSmoothly) {
  Script random;
  random.draws = {1};   // who begins
  Balance balance(base::LoadBalancer::kRoundRobin, {5, 1, 1}, random);
  std::vector<int> order;
  for (int i = 0; i < 7; ++i) order.push_back(balance.pick());
  EXPECT_EQ(std::ranges::count(order, 0), 5);
  EXPECT_NE(order, (std::vector<int>{0, 0, 0, 0, 0, 1, 2}));
  EXPECT_EQ(balance.picks(700), (std::map<int, int>{{0, 500}, {1, 100}, {2, 100}}));
}

TEST(LoadBalancer, RoundRobin_NewEndpointList_GoesOnWhereItWas) {
  Script random;
  Balance balance(base::LoadBalancer::kRoundRobin, {1, 1}, random);
  const int first = balance.pick();
  balance.set();
  EXPECT_NE(balance.pick(), first);
}

TEST(LoadBalancer, Random_FollowsWeights) {
  FastRandom random;
  Balance balance(base::LoadBalancer::kRandom, {1, 1, 2}, random);
  auto count = balance.picks(8000);
  EXPECT_NEAR(count[0], 2000, 250);
  EXPECT_NEAR(count[2], 4000, 300);
}

TEST(LoadBalancer, WeightZero_CountsAsOne) {
  FastRandom random;
  Balance balance(base::LoadBalancer::kRandom, {0, 1}, random);
  EXPECT_NEAR(balance.picks(4000)[0], 2000, 250);
}

TEST(LoadBalancer, Unhealthy_IsSkipped) {
  for (const auto kind : {base::LoadBalancer::kLeastRequest, base::LoadBalancer::kRoundRobin, base::LoadBalancer::kRandom}) {
    FastRandom random;
    Balance balance(kind, {1, 1, 1}, random);
    balance.targets[1]->endpoint.healthy = false;
    balance.set();
    EXPECT_FALSE(balance.picks(200).contains(1));
    balance.targets[0]->endpoint.healthy = balance.targets[2]->endpoint.healthy = false;
    balance.set();
    EXPECT_EQ(balance.pick(), -1);
  }
}

TEST(LoadBalancer, Tried_IsAvoidedWhileOthersAreLeft) {
  for (const auto kind : {base::LoadBalancer::kLeastRequest, base::LoadBalancer::kRoundRobin, base::LoadBalancer::kRandom}) {
    FastRandom random;
    Balance balance(kind, {1, 1, 1}, random);
    for (int i = 0; i < 50; ++i) {
      EXPECT_EQ(balance.pick({address(0), address(2)}), 1);
      EXPECT_NE(balance.pick({address(0), address(1), address(2)}), -1);
    }
    balance.targets[1]->endpoint.healthy = false;
    balance.set();
    EXPECT_NE(balance.pick({address(0), address(2)}), 1) << "unhealthy ones are no way out";
  }
}

TEST(FastRandom, Below_StaysInRangeAndReachesAll) {
  FastRandom random;
  std::map<uint32_t, int> count;
  for (int i = 0; i < 6000; ++i) ++count[random.below(6)];
  ASSERT_EQ(count.size(), 6u);
  for (const auto& [value, n] : count) {
    EXPECT_LT(value, 6u);
    EXPECT_NEAR(n, 1000, 200);
  }
}

}  // namespace
}  // namespace upstream
