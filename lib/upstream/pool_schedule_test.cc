#include <gtest/gtest.h>

#include <algorithm>
#include <deque>
#include <random>

#include "upstream/cluster_testing.h"

// Random schedules: whatever happens in whatever order, nobody waits for ever, and every counter comes back to zero.
namespace upstream {
namespace {

using namespace std::chrono_literals;
using testing::address;
using testing::Call;
using testing::World;

class Schedule {
 public:
  explicit Schedule(unsigned seed) : random_(seed), world_(limits(), 3) { world_.dialer.wait = true; }

  void step() {
    switch (below(14)) {
      case 0:
      case 1:
      case 2:
      case 3: begin(); break;
      case 4: finish_one_dial(); break;
      case 5: world_.dialer.finish_all(); break;
      case 6: end_a_lease(true); break;
      case 7: end_a_lease(false); break;
      case 8: cancel_one(); break;
      case 9: change_endpoints(); break;
      case 10: world_.change([&](auto& s) { s.max_connections = 1 + below(3); }); return;
      case 11: world_.dialer.wait = below(2) == 0; break;
      case 12: kill_a_peer(); break;
      case 13: world_.worker.advance(std::chrono::milliseconds(below(2000))); break;
    }
    // Mostly one thing after the other, sometimes several in one turn.
    if (below(3)) world_.worker.poll();
  }

  // No more cancelling: everybody who waits must be served or told why not.
  bool settle() {
    world_.dialer.refuse.clear();
    for (int round = 0; round < 300; ++round) {
      world_.worker.poll();
      if (std::ranges::all_of(calls_, &Call::done)) break;
      world_.dialer.finish_all();
      world_.worker.poll();
      end_a_lease(round % 2 == 0);
    }
    world_.worker.poll();
    return std::ranges::all_of(calls_, &Call::done);
  }

  void end() {
    if (below(2)) world_.cluster.reset();
    for (Call& call : calls_) call.lease.reset();
    world_.cluster.reset();
    world_.worker.poll();
  }

  World& world() { return world_; }
  size_t served() const { return static_cast<size_t>(std::ranges::count(calls_, 200, &Call::status)); }

 private:
  static base::ClusterSettings limits() {
    base::ClusterSettings settings;
    settings.max_connections = 2;
    settings.max_pending = 6;
    settings.max_requests = 4;
    settings.max_requests_per_connection = 3;
    settings.idle_timeout = 3s;
    return settings;
  }
  uint32_t below(uint32_t n) { return static_cast<uint32_t>(random_() % n); }

  void begin() { world_.start(calls_.emplace_back(), below(5) == 0); }

  void finish_one_dial() {
    if (world_.dialer.open.empty()) return;
    const auto attempt = std::next(world_.dialer.open.begin(), below(static_cast<uint32_t>(world_.dialer.open.size())));
    if (below(3) == 0) world_.dialer.refuse.insert((*attempt)->to.to);
    (*attempt)->finish();
    world_.dialer.refuse.clear();
  }

  void end_a_lease(bool whole) {
    const auto call = std::ranges::find_if(calls_, [](const Call& c) { return c.lease.has_value(); });
    if (call == calls_.end()) return;
    if (!whole) {
      call->lease.reset();
      return;
    }
    world_.worker.poll();
    world_.worker.spawn(testing::exchange(*call));
    world_.worker.poll();
    // Whichever server got the request answers it.
    for (auto& peer : world_.dialer.peers) {
      if (!peer || peer->unread_bytes() == 0) continue;
      std::string request;
      world_.worker.spawn(testing::read_once(*peer, request));
      world_.worker.spawn(testing::say(*peer, testing::kOk));
      world_.worker.poll();
    }
    call->lease.reset();
  }

  void cancel_one() {
    const auto call = std::ranges::find_if(calls_, [](const Call& c) { return !c.done; });
    if (call != calls_.end()) call->owner.cancel(testing::kLeft);
  }

  void change_endpoints() {
    auto set = std::make_shared<base::EndpointSet>();
    for (int i = 1; i <= 4; ++i) {
      if (below(3)) set->list.push_back({.address = address(i), .weight = 1 + below(3), .healthy = below(5) != 0, .workload = {}});
    }
    world_.cluster->update_endpoints(set);
  }

  // Only idle ones: a request in flight on a dead connection is the codec's test, not ours.
  void kill_a_peer() {
    if (std::ranges::any_of(calls_, [](const Call& c) { return c.lease.has_value() || !c.done; })) return;
    for (auto& peer : world_.dialer.peers) {
      if (!peer) continue;
      peer.reset();
      return;
    }
  }

  std::mt19937 random_;
  World world_;
  std::deque<Call> calls_;
};

TEST(PoolSchedule, AnyOrder_NobodyIsStuckAndNothingIsLost) {
  size_t served = 0;
  for (unsigned seed = 1; seed <= 200; ++seed) {
    SCOPED_TRACE(seed);
    Schedule schedule(seed);
    for (int i = 0; i < 150; ++i) schedule.step();
    ASSERT_TRUE(schedule.settle());
    served += schedule.served();
    schedule.end();
    EXPECT_EQ(schedule.world().connections(), 0u);
    EXPECT_EQ(schedule.world().pending(), 0u);
    EXPECT_EQ(schedule.world().requests(), 0u);
    for (const auto& peer : schedule.world().dialer.peers) EXPECT_TRUE(!peer || peer->peer_gone());
    EXPECT_EQ(schedule.world().worker.tasks(), 0u);
    if (HasFailure()) return;
  }
  EXPECT_GT(served, 1000u) << "the schedules must let requests through, or they test nothing";
}

}  // namespace
}  // namespace upstream
