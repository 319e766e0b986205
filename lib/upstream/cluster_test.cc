#include "upstream/cluster.h"

#include <gtest/gtest.h>

#include <map>

#include "upstream/cluster_testing.h"

namespace upstream {
namespace {

using namespace std::chrono_literals;
using base::Code;
using testing::address;
using testing::Call;
using testing::kLeft;
using testing::settings;
using testing::World;

// ---- Pool

TEST(Pool, NoEndpoints_IsNoHealthyUpstream) {
  World world({}, 0);
  Call call;
  world.run(call);
  ASSERT_TRUE(call.error);
  EXPECT_EQ(call.error->code, Code::kNoHealthyUpstream);
  EXPECT_EQ(call.error->detail, base::Detail::kNoHealthyUpstream);
  EXPECT_FALSE(call.picked);
  EXPECT_EQ(world.pending(), 0u);
}

TEST(Pool, CompleteExchange_ConnectionServesAgain) {
  World world;
  Call first, second;
  world.run(first);
  ASSERT_TRUE(first.lease);
  EXPECT_FALSE(first.lease->reused());
  EXPECT_EQ(first.lease->endpoint().address, address(1));
  EXPECT_EQ(first.lease->local(), address(200));
  EXPECT_EQ(first.picked, address(1));
  world.serve(first, 0);
  EXPECT_EQ(first.status, 200);
  world.run(second);
  ASSERT_TRUE(second.lease);
  EXPECT_TRUE(second.lease->reused());
  EXPECT_EQ(world.dialer.dialled.size(), 1u);
  world.serve(second, 0);
  const auto view = world.cluster->view();
  EXPECT_EQ(view.requests_total, 2u);
  EXPECT_EQ(view.connections_total, 1u);
  ASSERT_EQ(view.endpoints.size(), 1u);
  EXPECT_EQ(view.endpoints[0].connections_idle, 1u);
  EXPECT_EQ(view.endpoints[0].connections_active, 0u);
}

struct Flag final : net::Op {
  Flag() : net::Op([](net::Op& op) noexcept { static_cast<Flag&>(op).ran = true; }) {}
  bool ran = false;
};

net::Task<> acquire_in_one_turn(net::Worker& worker, Cluster& cluster, Call& call, bool& same_turn) {
  Flag next_turn;
  worker.ready(next_turn);
  auto got = co_await cluster.acquire(call.pick, call.owner, &call.arena);
  same_turn = !next_turn.ran;
  if (got) call.lease.emplace(std::move(*got));
}

TEST(Pool, Hit_DoesNotSuspend) {
  World world;
  Call first, second;
  world.run(first);
  world.serve(first, 0);
  bool same_turn = false;
  world.worker.spawn(acquire_in_one_turn(world.worker, *world.cluster, second, same_turn));
  world.worker.poll();
  EXPECT_TRUE(second.lease);
  EXPECT_TRUE(same_turn);
}

TEST(Pool, NothingIdle_AcquireGoesWhereTheQuickWayLooked) {
  World world(settings([](auto& s) { s.load_balancer = base::LoadBalancer::kRoundRobin; }), 2);
  Call calls[2];
  for (Call& call : calls) world.run(call);
  ASSERT_TRUE(calls[0].picked && calls[1].picked);
  EXPECT_NE(*calls[0].picked, *calls[1].picked) << "a request took two turns of the round";
}

TEST(Pool, SeveralIdle_LastUsedGoesFirst) {
  World world;
  Call calls[3];
  for (Call& call : calls) world.run(call);
  ASSERT_EQ(world.dialer.peers.size(), 3u);
  for (const size_t i : {0u, 2u, 1u}) world.serve(calls[i], i);
  Call next;
  world.run(next);
  world.serve(next, 1);
  EXPECT_EQ(next.status, 200);
  EXPECT_EQ(world.cluster->view().endpoints[0].connections_idle, 3u);
}

TEST(Pool, AbandonedExchange_ResetsTheConnection) {
  World world;
  Call call;
  world.run(call);
  world.worker.spawn(testing::exchange(call));
  world.worker.poll();
  world.say_on(0, "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf");
  call.lease->exchange().cancel(kLeft);
  world.worker.poll();
  call.lease.reset();
  world.worker.poll();
  EXPECT_TRUE(world.dialer.peers[0]->got_reset());
  EXPECT_EQ(world.connections(), 0u);
}

TEST(Pool, ConnectionClose_IsNotUsedAgain) {
  World world;
  Call first, second;
  world.run(first);
  world.serve(first, 0, "HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
  EXPECT_TRUE(world.dialer.peers[0]->peer_gone());
  EXPECT_EQ(world.connections(), 0u);
  world.run(second);
  EXPECT_EQ(world.dialer.dialled.size(), 2u);
}

TEST(Pool, IdleConnectionDies_LeavesAtOnce) {
  World world;
  Call first, second;
  world.run(first);
  world.serve(first, 0);
  EXPECT_EQ(world.connections(), 1u);
  world.dialer.peers[0].reset();
  world.worker.poll();
  EXPECT_EQ(world.connections(), 0u);
  world.run(second);
  ASSERT_TRUE(second.lease);
  EXPECT_FALSE(second.lease->reused());
}

TEST(Pool, IdleConnectionTalks_IsClosed) {
  World world;
  Call first, second;
  world.run(first);
  world.serve(first, 0);
  world.say_on(0, "HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\npoison");
  EXPECT_TRUE(world.dialer.peers[0]->peer_gone());
  EXPECT_EQ(world.connections(), 0u);
  world.run(second);
  world.serve(second, 1);
  EXPECT_EQ(second.status, 200);
}

TEST(Pool, IdleTimeout_ClosesOnlyWhatIsIdle) {
  World world(settings([](auto& s) { s.idle_timeout = 5s; }));
  Call idle, busy;
  world.run(idle);
  world.run(busy);
  world.serve(idle, 0);
  world.worker.advance(4999ms);
  EXPECT_EQ(world.connections(), 2u);
  world.worker.advance(1ms);
  EXPECT_EQ(world.connections(), 1u);
  EXPECT_TRUE(world.dialer.peers[0]->peer_gone());
  EXPECT_FALSE(world.dialer.peers[1]->peer_gone());
}

TEST(Pool, Reuse_StartsIdleTimeAnew) {
  World world(settings([](auto& s) { s.idle_timeout = 5s; }));
  for (int i = 0; i < 4; ++i) {
    Call call;
    world.run(call);
    world.serve(call, 0);
    ASSERT_EQ(call.status, 200);
    world.worker.advance(4s);
  }
  EXPECT_EQ(world.dialer.dialled.size(), 1u);
}

TEST(Pool, MaxRequestsPerConnection_ClosesAfterThem) {
  World world(settings([](auto& s) { s.max_requests_per_connection = 2; }));
  for (int i = 0; i < 4; ++i) {
    Call call;
    world.run(call);
    world.serve(call, static_cast<size_t>(i / 2));
    ASSERT_EQ(call.status, 200);
  }
  EXPECT_EQ(world.dialer.dialled.size(), 2u);
  EXPECT_EQ(world.connections(), 0u);
}

TEST(Pool, ConnectRefused_SaysSoAndCountsNothing) {
  World world;
  world.dialer.refuse.insert(address(1));
  Call call;
  world.run(call);
  ASSERT_TRUE(call.error);
  EXPECT_EQ(*call.error, testing::kRefused);
  EXPECT_EQ(call.picked, address(1));
  EXPECT_EQ(world.connections(), 0u);
  EXPECT_EQ(world.pending(), 0u);
  const auto view = world.cluster->view();
  EXPECT_EQ(view.connect_failures, 1u);
  EXPECT_EQ(view.endpoints[0].connect_failures, 1u);
  EXPECT_EQ(view.connections_active, 0u);
}

TEST(Pool, AlreadyTried_GoesElsewhere) {
  World world({}, 2);
  for (int i = 0; i < 20; ++i) {
    Call call;
    const base::SocketAddress tried[] = {address(1)};
    call.pick.already_tried = tried;
    world.run(call);
    ASSERT_TRUE(call.lease);
    EXPECT_EQ(call.lease->endpoint().address, address(2));
  }
}

TEST(Pool, Connect_UsesTheSettings) {
  World world(settings([](auto& s) {
    s.connect_timeout = 300ms;
    s.from_inbound_address = true;
  }));
  Call call;
  world.run(call);
  ASSERT_EQ(world.dialer.dialled.size(), 1u);
  EXPECT_EQ(world.dialer.dialled[0].within, 300ms);
  EXPECT_TRUE(world.dialer.dialled[0].from_inbound_address);
}

TEST(Pool, Fresh_DoesNotUseIdleConnections) {
  World world;
  Call first, second;
  world.run(first);
  world.serve(first, 0);
  world.run(second, true);
  ASSERT_TRUE(second.lease);
  EXPECT_FALSE(second.lease->reused());
  EXPECT_EQ(world.dialer.dialled.size(), 2u);
}

TEST(Pool, FreshAtMaxConnections_ReplacesAnIdleOne) {
  World world(settings([](auto& s) { s.max_connections = 1; }));
  Call first, second;
  world.run(first);
  world.serve(first, 0);
  world.run(second, true);
  ASSERT_TRUE(second.lease);
  EXPECT_FALSE(second.lease->reused());
  EXPECT_TRUE(world.dialer.peers[0]->peer_gone());
  EXPECT_EQ(world.connections(), 1u);
}

// ---- Limits

TEST(Limits, MaxConnections_NextWaitsForTheFirst) {
  World world(settings([](auto& s) { s.max_connections = 1; }));
  Call first, second, third;
  world.run(first);
  world.run(second);
  world.run(third);
  EXPECT_FALSE(second.done);
  EXPECT_EQ(world.pending(), 2u);
  EXPECT_EQ(world.cluster->view().pending, 2u);
  world.serve(first, 0);
  ASSERT_TRUE(second.lease);
  EXPECT_TRUE(second.lease->reused());
  EXPECT_FALSE(third.done) << "first come first served";
  EXPECT_EQ(world.pending(), 1u);
  world.serve(second, 0);
  ASSERT_TRUE(third.lease);
  EXPECT_EQ(world.dialer.dialled.size(), 1u);
  EXPECT_EQ(world.pending(), 0u);
  EXPECT_EQ(world.connections(), 1u);
}

TEST(Limits, MaxPending_OverflowsAtOnce) {
  World world(settings([](auto& s) {
    s.max_connections = 1;
    s.max_pending = 1;
  }));
  Call active, waiting, over[8];
  world.run(active);
  world.run(waiting);
  for (Call& call : over) {
    world.run(call);
    ASSERT_TRUE(call.error);
    EXPECT_EQ(call.error->code, Code::kOverflow);
    EXPECT_EQ(call.error->detail, base::Detail::kUpstreamOverflow);
    EXPECT_EQ(call.error->retry, base::Retry::kNever);
  }
  EXPECT_FALSE(waiting.done);
  EXPECT_EQ(world.cluster->view().pending_overflow, 8u);
  world.serve(active, 0);
  ASSERT_TRUE(waiting.lease);
  EXPECT_EQ(world.pending(), 0u);
}

TEST(Limits, BusyConnectionCloses_WaiterOpensItsOwn) {
  World world(settings([](auto& s) { s.max_connections = 1; }));
  Call first, second;
  world.run(first);
  world.run(second);
  world.serve(first, 0, "HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
  ASSERT_TRUE(second.lease);
  EXPECT_FALSE(second.lease->reused());
  EXPECT_EQ(world.dialer.dialled.size(), 2u);
  EXPECT_EQ(world.connections(), 1u);
}

TEST(Limits, ConnectFails_NextWaiterTriesItself) {
  World world(settings([](auto& s) { s.max_connections = 1; }));
  world.dialer.wait = true;
  Call first, second;
  world.run(first);
  world.run(second);
  EXPECT_EQ(world.dialer.open.size(), 1u);
  world.dialer.refuse.insert(address(1));
  world.dialer.finish_all();
  world.worker.poll();
  EXPECT_TRUE(first.error);
  EXPECT_FALSE(second.done);
  world.dialer.refuse.clear();
  world.dialer.finish_all();
  world.worker.poll();
  EXPECT_TRUE(second.lease);
  EXPECT_EQ(world.connections(), 1u);
}

TEST(Limits, OtherEndpointWithoutConnection_MayAlwaysOpenOne) {
  World world(settings([](auto& s) {
    s.max_connections = 1;
    s.load_balancer = base::LoadBalancer::kRoundRobin;
  }), 2);
  Call first, second, third;
  world.run(first);
  world.run(second);
  ASSERT_TRUE(second.lease);
  EXPECT_EQ(world.connections(), 2u);
  world.run(third);
  EXPECT_FALSE(third.done);
  world.serve(first, 0);
  EXPECT_TRUE(third.lease);
}

TEST(Limits, MaxRetries_PlacesComeBack) {
  World world(settings([](auto& s) { s.max_retries = 2; }));
  std::optional<RetryPlace> first(std::in_place, *world.cluster), second(std::in_place, *world.cluster);
  EXPECT_TRUE(*first && *second);
  EXPECT_FALSE(RetryPlace(*world.cluster));
  EXPECT_EQ(world.cluster->view().retry_overflow, 1u);
  EXPECT_EQ(world.limits->retries.load(), 2u);
  second.reset();
  EXPECT_TRUE(RetryPlace(*world.cluster));
  world.cluster.reset();   // a place may outlive its cluster
  first.reset();
  EXPECT_EQ(world.limits->retries.load(), 0u);
}

TEST(Pool, MaxConnectionDuration_EndsIdleAndUsedConnections) {
  World world(settings([](auto& s) { s.max_connection_duration = 10s; }));
  Call first, second, third;
  world.run(first);
  world.worker.advance(6s);
  world.serve(first, 0);
  world.run(second);
  EXPECT_TRUE(second.lease->reused());
  world.worker.advance(5s);   // over in the middle of an exchange, which ends normally
  world.serve(second, 0);
  EXPECT_EQ(second.status, 200);
  EXPECT_EQ(world.connections(), 0u);
  world.run(third);
  EXPECT_FALSE(third.lease->reused());
  world.worker.advance(4s);
  world.serve(third, 1);
  EXPECT_EQ(world.connections(), 1u);
  world.worker.advance(5999ms);
  EXPECT_EQ(world.connections(), 1u);
  world.worker.advance(2ms);
  EXPECT_EQ(world.connections(), 0u) << "an idle one does not wait for its next request";
}

TEST(Limits, MaxRequests_OverflowsWithoutConnecting) {
  World world(settings([](auto& s) { s.max_requests = 1; }));
  Call first, second, third;
  world.run(first);
  EXPECT_EQ(world.requests(), 1u);
  world.run(second);
  ASSERT_TRUE(second.error);
  EXPECT_EQ(second.error->detail, base::Detail::kUpstreamOverflow);
  EXPECT_EQ(world.cluster->view().pending_overflow, 1u);
  EXPECT_EQ(world.dialer.dialled.size(), 1u);
  world.serve(first, 0);
  EXPECT_EQ(world.requests(), 0u);
  world.run(third);
  EXPECT_TRUE(third.lease);
}

TEST(Limits, MaxRequestsTakenElsewhere_HitGoesBackToThePool) {
  World world(settings([](auto& s) { s.max_requests = 1; }));
  Call first, second, third;
  world.run(first);
  world.serve(first, 0);
  world.limits->requests = 1;   // another worker's
  world.run(second);
  EXPECT_TRUE(second.error);
  world.limits->requests = 0;
  world.run(third);
  ASSERT_TRUE(third.lease);
  EXPECT_TRUE(third.lease->reused());
  EXPECT_EQ(world.requests(), 1u);
}

TEST(Limits, Raised_WaitersGoOn) {
  World world(settings([](auto& s) { s.max_connections = 1; }));
  Call first, second;
  world.run(first);
  world.run(second);
  EXPECT_FALSE(second.done);
  world.change([](auto& s) { s.max_connections = 2; });
  EXPECT_TRUE(second.lease);
}

// ---- Owner

TEST(Owner, CancelledBefore_NothingHappens) {
  World world;
  Call call;
  call.owner.cancel(kLeft);
  world.run(call);
  ASSERT_TRUE(call.error);
  EXPECT_EQ(*call.error, kLeft);
  EXPECT_TRUE(world.dialer.dialled.empty());
}

TEST(Owner, CancelledWhileConnecting_EndsWithItsReason) {
  World world;
  world.dialer.wait = true;
  Call call;
  world.run(call);
  call.owner.cancel(kLeft);
  EXPECT_FALSE(call.done) << "nobody is resumed in the canceller's stack";
  world.worker.poll();
  ASSERT_TRUE(call.error);
  EXPECT_EQ(*call.error, kLeft);
  EXPECT_TRUE(world.dialer.open.empty());
  EXPECT_EQ(world.connections(), 0u);
  EXPECT_EQ(world.pending(), 0u);
  EXPECT_EQ(world.cluster->view().connect_failures, 0u);
}

TEST(Owner, CancelledAsTheConnectionComes_NextOneGetsIt) {
  World world;
  world.dialer.wait = true;
  Call first, second;
  world.run(first);
  world.dialer.finish_all();
  first.owner.cancel(kLeft);
  world.worker.poll();
  EXPECT_TRUE(first.error);
  world.run(second);
  ASSERT_TRUE(second.lease);
  EXPECT_FALSE(second.lease->reused()) << "it has not served anybody";
  EXPECT_EQ(world.dialer.dialled.size(), 1u);
}

TEST(Owner, CancelledWhileWaiting_LeavesTheQueue) {
  World world(settings([](auto& s) { s.max_connections = 1; }));
  Call first, second, third;
  world.run(first);
  world.run(second);
  world.run(third);
  second.owner.cancel(kLeft);
  world.worker.poll();
  ASSERT_TRUE(second.error);
  EXPECT_EQ(*second.error, kLeft);
  EXPECT_EQ(world.pending(), 1u);
  world.serve(first, 0);
  EXPECT_TRUE(third.lease);
}

TEST(Owner, CancelledAsItsTurnComes_NextOneGetsTheConnection) {
  World world(settings([](auto& s) { s.max_connections = 1; }));
  Call first, second, third;
  world.run(first);
  world.run(second);
  world.run(third);
  world.worker.spawn(testing::exchange(first));
  world.worker.poll();
  world.say_on(0, testing::kOk);
  first.lease.reset();          // gives the connection to the second …
  second.owner.cancel(kLeft);   // … which leaves before it has seen it
  world.worker.poll();
  EXPECT_TRUE(second.error);
  ASSERT_TRUE(third.lease);
  EXPECT_EQ(world.connections(), 1u);
}

TEST(Owner, DeadlineAsCanceller_Works) {
  World world;
  world.dialer.wait = true;
  Call call;
  net::Deadline deadline(world.worker, call.owner);
  deadline.arm(50ms, {.code = Code::kTimeout});
  world.run(call);
  world.worker.advance(50ms);
  ASSERT_TRUE(call.error);
  EXPECT_EQ(call.error->code, Code::kTimeout);
}

}  // namespace
}  // namespace upstream
