#include "upstream/dialer.h"

#include <gtest/gtest.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>

#include "upstream/cluster_testing.h"

// The pool over real sockets on loopback.
namespace upstream {
namespace {

using namespace std::chrono_literals;
using testing::Call;

net::Task<> echo_once(net::Worker&, std::unique_ptr<net::Stream> stream, void*) {
  for (;;) {
    auto piece = co_await stream->read();
    if (!piece || piece->empty()) co_return;
    const auto written = co_await stream->write(net::Borrowed::of_static(testing::kOk));
    if (!written) co_return;
  }
}

net::Task<> two_requests(net::Worker& worker, Cluster& cluster, Call& first, Call& second, bool& reused) {
  co_await testing::acquire(cluster, first, false);
  if (first.lease) co_await testing::exchange(first);
  first.lease.reset();
  co_await testing::acquire(cluster, second, false);
  if (second.lease) {
    reused = second.lease->reused();
    co_await testing::exchange(second);
  }
  second.lease.reset();
  worker.stop();
}

net::Task<> one_request(net::Worker& worker, Cluster& cluster, Call& call) {
  co_await testing::acquire(cluster, call, false);
  worker.stop();
}

std::shared_ptr<const base::EndpointSet> only(base::SocketAddress at) {
  auto set = std::make_shared<base::EndpointSet>();
  set->list.push_back({.address = at, .weight = 1, .healthy = true, .workload = {}});
  return set;
}

std::unique_ptr<net::Listener> listen(net::Worker& worker, net::Listener::Serve serve = echo_once, void* context = nullptr) {
  const std::array<net::Worker*, 1> workers{&worker};
  auto opened = net::Listener::open(workers, {.ip = base::Ip::loopback(true), .port = 0}, serve, context, {});
  return opened ? std::move(*opened) : nullptr;
}

struct Sockets {
  explicit Sockets(std::chrono::milliseconds connect_timeout = 10s, uint32_t max_connections = ~0u) {
    base::ClusterSettings with;
    with.connect_timeout = connect_timeout;
    with.max_connections = max_connections;
    cluster.emplace(worker, std::make_shared<const base::ClusterSettings>(with), limits);
  }
  net::Worker worker{{}};
  std::shared_ptr<SharedLimits> limits = std::make_shared<SharedLimits>();
  std::optional<Cluster> cluster;
};

TEST(Sockets, TwoRequests_OneConnection) {
  Sockets sockets;
  const auto listener = listen(sockets.worker);
  ASSERT_TRUE(listener);
  listener->start();
  sockets.cluster->update_endpoints(only(listener->address()));
  Call first, second;
  bool reused = false;
  sockets.worker.spawn(two_requests(sockets.worker, *sockets.cluster, first, second, reused));
  sockets.worker.run();
  EXPECT_EQ(first.status, 200);
  EXPECT_EQ(second.status, 200);
  EXPECT_TRUE(reused);
  EXPECT_EQ(sockets.limits->connections, 1u);
  listener->close();
  sockets.cluster.reset();
  sockets.worker.when_idle([&] { sockets.worker.stop(); });   // once the server has seen the end of the connection
  sockets.worker.run();
  EXPECT_EQ(sockets.limits->connections, 0u);
}

net::Task<> echo_seen(net::Worker& worker, std::unique_ptr<net::Stream> stream, void* latest) {
  *static_cast<net::Stream**>(latest) = stream.get();
  return echo_once(worker, std::move(stream), nullptr);
}

// The server says something nobody asked for, in the very turn in which the connection's next user takes it over.
net::Task<> answered_twice(net::Worker& worker, Cluster& cluster, Call& first, Call& second, net::Stream*& server, bool& said) {
  co_await testing::acquire(cluster, first, false);
  worker.spawn(one_request(worker, cluster, second));    // waits for the only connection
  co_await testing::exchange(first);
  said = ::send(server->raw_fd(), testing::kOk.data(), testing::kOk.size(), MSG_NOSIGNAL) > 0;
  first.lease.reset();
}

// The same for a client that pipelines: its next request takes the connection in the turn in which it comes back.
net::Task<> pipelined(net::Worker& worker, Cluster& cluster, Call& first, Call& second, net::Stream*& server, bool& said) {
  co_await testing::acquire(cluster, first, false);
  co_await testing::exchange(first);
  said = ::send(server->raw_fd(), testing::kOk.data(), testing::kOk.size(), MSG_NOSIGNAL) > 0;
  first.lease.reset();
  co_await one_request(worker, cluster, second);
}

using Story = net::Task<> (*)(net::Worker&, Cluster&, Call&, Call&, net::Stream*&, bool&);

void second_gets_a_fresh_one(Story story) {
  Sockets sockets(10s, 1);
  net::Stream* server = nullptr;
  const auto listener = listen(sockets.worker, echo_seen, &server);
  ASSERT_TRUE(listener);
  listener->start();
  sockets.cluster->update_endpoints(only(listener->address()));
  Call first, second;
  bool said = false;
  sockets.worker.spawn(story(sockets.worker, *sockets.cluster, first, second, server, said));
  sockets.worker.run();
  ASSERT_TRUE(said);
  EXPECT_EQ(first.status, 200);
  ASSERT_TRUE(second.lease);
  EXPECT_FALSE(second.lease->reused()) << "the stray bytes would be its answer";
  second.lease.reset();
  listener->close();
  sockets.cluster.reset();
  sockets.worker.when_idle([&] { sockets.worker.stop(); });
  sockets.worker.run();
  EXPECT_EQ(sockets.limits->connections, 0u);
}

TEST(Sockets, BytesBehindAnAnswer_AreNoAnswerForWhoWaits) { second_gets_a_fresh_one(&answered_twice); }
TEST(Sockets, BytesBehindAnAnswer_AreNoAnswerForWhoPipelines) { second_gets_a_fresh_one(&pipelined); }

TEST(Sockets, NobodyListens_IsAConnectFailureThatMayBeRetried) {
  Sockets sockets;
  base::SocketAddress closed;
  {
    const auto listener = listen(sockets.worker);
    ASSERT_TRUE(listener);
    closed = listener->address();
    listener->close();
    sockets.worker.poll();
  }
  sockets.cluster->update_endpoints(only(closed));
  Call call;
  sockets.worker.spawn(one_request(sockets.worker, *sockets.cluster, call));
  sockets.worker.run();
  ASSERT_TRUE(call.error);
  EXPECT_EQ(call.error->code, base::Code::kConnect);
  EXPECT_EQ(call.error->origin, base::Origin::kUpstream);
  EXPECT_EQ(call.error->retry, base::Retry::kAlways);
  EXPECT_EQ(call.error->detail, base::Detail::kUpstreamConnectFailure);
  EXPECT_EQ(call.error->sys, ECONNREFUSED);
  EXPECT_EQ(sockets.limits->connections, 0u);
}

}  // namespace
}  // namespace upstream
