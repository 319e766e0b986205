#include "upstream/cluster.h"

#include <gtest/gtest.h>

#include <map>

#include "upstream/cluster_testing.h"

// What happens to connections and requests when the configuration changes, and the clusters that are not HTTP pools.
namespace upstream {
namespace {

using namespace std::chrono_literals;
using base::Code;
using testing::address;
using testing::Call;
using testing::kLeft;
using testing::settings;
using testing::World;

// ---- Configuration changes

TEST(Update, EndpointGone_IdleClosesBusyEndsNormally) {
  World world;
  Call idle, busy;
  world.run(idle);
  world.run(busy);
  world.serve(idle, 0);
  world.set_endpoints(1, 5);
  EXPECT_TRUE(world.dialer.peers[0]->peer_gone());
  EXPECT_FALSE(world.dialer.peers[1]->peer_gone());
  EXPECT_EQ(busy.lease->endpoint().address, address(1));
  world.serve(busy, 1);
  EXPECT_EQ(busy.status, 200);
  EXPECT_TRUE(world.dialer.peers[1]->peer_gone());
  EXPECT_EQ(world.connections(), 0u);
}

TEST(Update, IdleConnectionDiesAsItsEndpointGoes_IsCountedOnce) {
  World world;
  Call call;
  world.run(call);
  world.serve(call, 0);
  world.cluster->update_endpoints(std::make_shared<base::EndpointSet>());
  world.dialer.peers[0].reset();   // its watch sees the end before the connection's last turn
  world.worker.poll();
  EXPECT_EQ(world.connections(), 0u);
}

TEST(Update, EndpointGoneWhileWaitingForIt_TakesAnother) {
  World world(settings([](auto& s) { s.max_connections = 1; }));
  Call first, second;
  world.run(first);
  world.run(second);
  EXPECT_FALSE(second.done);
  world.set_endpoints(1, 2);
  ASSERT_TRUE(second.lease);
  EXPECT_EQ(second.lease->endpoint().address, address(2));
  EXPECT_EQ(second.picked, address(2));
}

TEST(Update, AllEndpointsGoneWhileWaiting_IsNoHealthyUpstream) {
  World world(settings([](auto& s) { s.max_connections = 1; }));
  Call first, second;
  world.run(first);
  world.run(second);
  world.set_endpoints(0);
  ASSERT_TRUE(second.error);
  EXPECT_EQ(second.error->code, Code::kNoHealthyUpstream);
}

TEST(Update, SameEndpoints_KeepTheirConnections) {
  World world({}, 2);
  Call first, second;
  const base::SocketAddress others[] = {address(2), address(3)};
  first.pick.already_tried = second.pick.already_tried = others;
  world.run(first);
  world.serve(first, 0);
  world.set_endpoints(3);
  EXPECT_EQ(world.cluster->view().endpoints.size(), 3u);
  EXPECT_FALSE(world.dialer.peers[0]->peer_gone());
  world.run(second);
  ASSERT_TRUE(second.lease);
  EXPECT_EQ(second.lease->endpoint().address, address(1));
  EXPECT_TRUE(second.lease->reused());
}

TEST(Update, OtherSourceAddress_OldConnectionsAreNotUsedAgain) {
  World world;
  Call idle, busy, next;
  world.run(idle);
  world.run(busy);
  world.serve(idle, 0);
  world.change([](auto& s) { s.from_inbound_address = true; });
  EXPECT_TRUE(world.dialer.peers[0]->peer_gone());
  world.serve(busy, 1);
  EXPECT_TRUE(world.dialer.peers[1]->peer_gone());
  world.run(next);
  EXPECT_TRUE(world.dialer.dialled.back().from_inbound_address);
}

TEST(Retire, LeaseOutAndOneWaiting_BothEndNormally) {
  World world(settings([](auto& s) { s.max_connections = 1; }));
  Call first, second;
  world.run(first);
  world.run(second);
  world.cluster.reset();
  world.worker.poll();
  EXPECT_FALSE(second.done);
  world.serve(first, 0);
  ASSERT_TRUE(second.lease);
  world.serve(second, world.dialer.peers.size() - 1);
  EXPECT_EQ(second.status, 200);
  EXPECT_EQ(world.connections(), 0u);
  EXPECT_EQ(world.pending(), 0u);
}

TEST(Retire, ClusterGoneWhileConnecting_AcquireStillSucceeds) {
  World world;
  world.dialer.wait = true;
  Call call;
  world.run(call);
  world.cluster.reset();
  world.dialer.finish_all();
  world.worker.poll();
  ASSERT_TRUE(call.lease);
  world.serve(call, 0);
  EXPECT_EQ(call.status, 200);
  EXPECT_EQ(world.connections(), 0u);
  EXPECT_TRUE(world.dialer.peers[0]->peer_gone());
}

// ---- Clusters

TEST(Clusters, Apply_KeepsPoolsOfTheSameNameAndDropsTheRest) {
  net::Worker worker{{.manual_clock = true}};
  testing::MemDialer dialer;
  std::map<std::string, std::shared_ptr<SharedLimits>> limits;
  const auto limits_of = [&](const std::string& name) { return limits[name] = std::make_shared<SharedLimits>(); };
  const auto named = [](std::string name, std::chrono::milliseconds timeout = 10s) {
    auto made = std::make_shared<base::ClusterSettings>();
    made->name = std::move(name);
    made->connect_timeout = timeout;
    return std::shared_ptr<const base::ClusterSettings>(std::move(made));
  };
  auto endpoints = std::make_shared<base::EndpointSet>();
  endpoints->list.push_back({.address = address(1), .weight = 1, .healthy = true, .workload = {}});
  {
    Clusters clusters(worker, limits_of, {.dialer = &dialer});
    const std::shared_ptr<const base::ClusterSettings> before[] = {named("a"), named("b")};
    clusters.apply(before);
    for (const char* name : {"a", "b"}) {
      clusters.update_endpoints(name, endpoints);
      Call call;
      worker.spawn(testing::acquire(*clusters.find(name), call, false));
      worker.poll();
      ASSERT_TRUE(call.lease);
      World::serve(worker, dialer, call, dialer.peers.size() - 1);
      ASSERT_EQ(call.status, 200);
    }
    clusters.update_endpoints("unknown", endpoints);
    Cluster* const a = clusters.find("a");
    const std::shared_ptr<const base::ClusterSettings> after[] = {named("a", 1s), named("c")};
    clusters.apply(after);
    worker.poll();
    EXPECT_EQ(clusters.find("a"), a);
    EXPECT_EQ(a->settings().connect_timeout, 1s);
    EXPECT_EQ(clusters.find("b"), nullptr);
    ASSERT_TRUE(clusters.find("c"));
    EXPECT_FALSE(dialer.peers[0]->peer_gone());
    EXPECT_TRUE(dialer.peers[1]->peer_gone());
    EXPECT_EQ(limits["a"]->connections, 1u);
    EXPECT_EQ(limits["b"]->connections, 0u);
    const auto views = clusters.view();
    ASSERT_EQ(views.size(), 2u);
    EXPECT_EQ(views[0].name, "a");
    EXPECT_EQ(views[1].name, "c");
  }
  worker.poll();
  EXPECT_EQ(limits["a"]->connections, 0u);
}

// ---- Original destination

TEST(OriginalDst, DialsWhatTheClientDialled_AndPoolsByAddress) {
  World world(settings([](auto& s) { s.original_dst = true; }), 0);
  Call nowhere, first, second, other;
  world.run(nowhere);
  ASSERT_TRUE(nowhere.error);
  EXPECT_EQ(nowhere.error->code, Code::kNoHealthyUpstream);
  first.pick.original_dst = second.pick.original_dst = address(7);
  other.pick.original_dst = address(8);
  world.run(first);
  ASSERT_TRUE(first.lease);
  EXPECT_EQ(first.lease->endpoint().address, address(7));
  world.serve(first, 0);
  world.run(other);
  ASSERT_TRUE(other.lease);
  EXPECT_EQ(other.lease->endpoint().address, address(8));
  world.run(second);
  ASSERT_TRUE(second.lease);
  EXPECT_TRUE(second.lease->reused());
}

TEST(OriginalDst, KeptSource_DialsFromItAndServesNobodyElse) {
  World world(settings([](auto& s) { s.original_dst = s.from_inbound_address = true; }), 0);
  Call first, other, plain, again;
  for (Call* call : {&first, &other, &plain, &again}) call->pick.original_dst = address(7);
  first.pick.source = again.pick.source = address(50).ip;
  other.pick.source = address(51).ip;
  world.run(first);
  ASSERT_TRUE(first.lease);
  EXPECT_EQ(world.dialer.dialled.back().source, address(50).ip);
  world.serve(first, 0);
  world.run(other);
  ASSERT_TRUE(other.lease);
  EXPECT_FALSE(other.lease->reused());
  EXPECT_EQ(world.dialer.dialled.back().source, address(51).ip);
  world.run(plain);
  ASSERT_TRUE(plain.lease);
  EXPECT_FALSE(plain.lease->reused());
  EXPECT_EQ(world.dialer.dialled.back().source, std::nullopt);
  world.run(again);
  ASSERT_TRUE(again.lease);
  EXPECT_TRUE(again.lease->reused());
  EXPECT_EQ(world.dialer.dialled.size(), 3u);
  const auto view = world.cluster->view();
  ASSERT_EQ(view.endpoints.size(), 1u);
  EXPECT_EQ(view.endpoints[0].connections_total, 3u);
}

TEST(OriginalDst, UnusedAddress_IsForgottenAfterAMinute) {
  World world(settings([](auto& s) { s.original_dst = true; }), 0);
  Call call;
  call.pick.original_dst = address(7);
  world.run(call);
  world.serve(call, 0);
  EXPECT_EQ(world.cluster->view().endpoints.size(), 1u);
  world.worker.advance(60s);
  EXPECT_TRUE(world.dialer.peers[0]->peer_gone());
  EXPECT_TRUE(world.cluster->view().endpoints.empty());
}

// Whoever is refused a place before he waits (--max-pending-requests) has only asked for what is idle.
TEST(OriginalDst, AskedForAnIdleOneOnly_IsNotListed) {
  for (const bool source : {false, true}) {
    World world(settings([](auto& s) { s.original_dst = true; }), 0);
    for (int i = 1; i <= 100; ++i) {
      Call call;
      call.pick.original_dst = address(i);
      if (source) call.pick.source = address(100 + i).ip;
      EXPECT_FALSE(world.cluster->acquire_idle(call.pick, &call.arena));
    }
    EXPECT_TRUE(world.cluster->view().endpoints.empty());
  }
}

TEST(OriginalDst, Refused_LeavesNothingBehind) {
  World world(settings([](auto& s) { s.original_dst = true; }), 0);
  world.dialer.refuse.insert(address(7));
  Call call;
  call.pick.original_dst = address(7);
  world.run(call);
  EXPECT_TRUE(call.error);
  EXPECT_TRUE(world.cluster->view().endpoints.empty());
}

// ---- TCP

struct TcpCall {
  AcquireCancel owner;
  PickContext pick{};
  std::optional<TcpLease> lease;
  std::optional<Error> error;
};

net::Task<> connect(Cluster& cluster, TcpCall& call) {
  auto got = co_await cluster.connect_tcp(call.pick, call.owner);
  if (got) call.lease.emplace(std::move(*got));
  else call.error = got.error();
}

TEST(Tcp, CountsUntilItEnds) {
  World world(settings([](auto& s) { s.max_connections = 1; }));
  TcpCall first, second, third;
  world.worker.spawn(connect(*world.cluster, first));
  world.worker.poll();
  ASSERT_TRUE(first.lease);
  EXPECT_EQ(first.lease->stream().peer(), address(1));
  EXPECT_EQ(first.lease->endpoint().address, address(1));
  EXPECT_EQ(world.cluster->view().connections_active, 1u);
  world.worker.spawn(connect(*world.cluster, second));
  world.worker.poll();
  ASSERT_TRUE(second.error);
  EXPECT_EQ(second.error->detail, base::Detail::kUpstreamOverflow);
  first.lease.reset();
  world.worker.poll();
  EXPECT_EQ(world.connections(), 0u);
  world.worker.spawn(connect(*world.cluster, third));
  world.worker.poll();
  EXPECT_TRUE(third.lease);
}

TEST(Tcp, OriginalDstIsRefused_IsNotListed) {
  World world(settings([](auto& s) {
                s.original_dst = true;
                s.max_connections = 1;
              }),
              0);
  TcpCall first;
  first.pick.original_dst = address(1);
  world.worker.spawn(connect(*world.cluster, first));
  world.worker.poll();
  ASSERT_TRUE(first.lease);
  for (int i = 2; i <= 100; ++i) {
    TcpCall refused;
    refused.pick.original_dst = address(i);
    world.worker.spawn(connect(*world.cluster, refused));
    world.worker.poll();
    ASSERT_TRUE(refused.error);
  }
  EXPECT_EQ(world.cluster->view().endpoints.size(), 1u);
}

TEST(Tcp, CancelledWhileConnecting_CountsNothing) {
  World world;
  world.dialer.wait = true;
  TcpCall call;
  world.worker.spawn(connect(*world.cluster, call));
  world.worker.poll();
  EXPECT_EQ(world.connections(), 1u);
  call.owner.cancel(kLeft);
  world.worker.poll();
  ASSERT_TRUE(call.error);
  EXPECT_EQ(*call.error, kLeft);
  EXPECT_EQ(world.connections(), 0u);
}

TEST(Tcp, OutlivesItsCluster) {
  World world;
  TcpCall call;
  world.worker.spawn(connect(*world.cluster, call));
  world.worker.poll();
  world.cluster.reset();
  world.worker.poll();
  EXPECT_FALSE(world.dialer.peers[0]->peer_gone());
  call.lease.reset();
  EXPECT_EQ(world.connections(), 0u);
}

}  // namespace
}  // namespace upstream
