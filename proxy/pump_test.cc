#include "proxy/pump.h"

#include <gtest/gtest.h>

#include <deque>
#include <string>

#include "api/resource.h"
#include "doc/reader.h"
#include "net/mem_stream.h"
#include "proxy/serve.h"
#include "upstream/dialer.h"

namespace proxy {
namespace {
using namespace std::chrono_literals;

constexpr std::string_view kMesh = R"(
apiVersion: v1
kind: Pod
metadata: {name: me, namespace: default, labels: {app: me}}
spec: {containers: [{name: app}]}
status: {phase: Running, podIP: 10.0.0.1}
---
apiVersion: v1
kind: Service
metadata: {name: shop, namespace: default}
spec: {clusterIP: 10.96.0.9, ports: [{name: http, port: 80}, {name: tcp-raw, port: 90}, {name: plain, port: 91}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: shop-1, namespace: default, labels: {kubernetes.io/service-name: shop}}
addressType: IPv4
endpoints: [{addresses: [10.0.1.1]}, {addresses: [10.0.1.2]}, {addresses: [10.0.1.3]}]
ports: [{name: http, port: 80}, {name: tcp-raw, port: 90}, {name: plain, port: 91}]
---
apiVersion: v1
kind: Service
metadata: {name: one, namespace: default}
spec: {clusterIP: 10.96.0.7, ports: [{name: http, port: 80}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: one-1, namespace: default, labels: {kubernetes.io/service-name: one}}
addressType: IPv4
endpoints: [{addresses: [10.0.2.1]}]
ports: [{name: http, port: 80}]
---
apiVersion: v1
kind: Service
metadata: {name: empty, namespace: default}
spec: {clusterIP: 10.96.0.8, ports: [{name: http, port: 80}]}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: shop, namespace: default}
spec:
  hosts: [shop]
  http:
  - {match: [{uri: {prefix: /nosubset}}], route: [{destination: {host: shop, subset: v9}}]}
  - {match: [{uri: {prefix: /slow}}], timeout: 2s, route: [{destination: {host: shop}}]}
  - {match: [{uri: {prefix: /}}], route: [{destination: {host: shop}}]}
)";

// Every dial makes a pipe; the far end waits in `servers` for the test to play the server, unless the dial is refused.
class MemDialer final : public upstream::Dialer {
 public:
  struct Server {
    base::SocketAddress address;
    std::unique_ptr<net::MemStream> stream;
  };
  explicit MemDialer(net::Worker& worker) : worker_(worker) {}
  std::unique_ptr<upstream::Dial> dial(net::Worker&, const net::ConnectTo& to) override {
    class Ready final : public upstream::Dial {
     public:
      explicit Ready(Result<std::unique_ptr<net::Stream>> result) : result_(std::move(result)) {}

     private:
      void on_cancel() noexcept override {}
      bool start() override { return true; }
      void wait(net::Waiter) noexcept override {}
      Result<std::unique_ptr<net::Stream>> take() override { return std::move(result_); }
      Result<std::unique_ptr<net::Stream>> result_;
    };
    // Packets vanish: only cancelling ends it.
    class Silent final : public upstream::Dial, net::Op {
     public:
      explicit Silent(net::Worker& worker) : net::Op([](net::Op& op) noexcept { static_cast<Silent&>(op).waiter_.wake(); }), worker_(worker) {}

     private:
      void on_cancel() noexcept override { worker_.ready(*this); }
      bool start() override { return cancelled(); }
      void wait(net::Waiter waiter) noexcept override { waiter_ = waiter; }
      Result<std::unique_ptr<net::Stream>> take() override { return std::unexpected(why()); }
      net::Worker& worker_;
      net::Waiter waiter_;
    };
    dialled.push_back(to.to);
    if (silent) return std::make_unique<Silent>(worker_);
    if (refuse > 0) {
      --refuse;
      return std::make_unique<Ready>(std::unexpected(Error{.code = base::Code::kConnect, .origin = base::Origin::kUpstream,
                                                           .retry = base::Retry::kAlways, .detail = base::Detail::kUpstreamConnectFailure,
                                                           .sys = 111}));
    }
    auto [ours, theirs] = net::mem_pipe(worker_, {.capacity = capacity, .a_address = {}, .b_address = to.to});
    servers.push_back({to.to, std::move(theirs)});
    return std::make_unique<Ready>(std::unique_ptr<net::Stream>(std::move(ours)));
  }
  int refuse = 0;
  bool silent = false;
  size_t capacity = 64 * 1024;
  std::vector<base::SocketAddress> dialled;
  std::deque<Server> servers;

 private:
  net::Worker& worker_;
};

class Lines final : public logs::Sink {
 public:
  void write(std::string_view line) noexcept override { lines.emplace_back(line); }
  uint64_t dropped() const noexcept override { return 0; }
  uint64_t written() const noexcept override { return lines.size(); }
  void reopen() noexcept override {}
  std::vector<std::string> lines;
};

// One end of a pipe as the test plays it: collects what arrives.
struct Peer {
  explicit Peer(net::Worker& w, std::unique_ptr<net::MemStream> s) : worker(w), stream(std::move(s)) {}
  static net::Task<> collect(Peer& peer) {
    for (;;) {
      auto piece = co_await peer.stream->read();
      if (!piece || piece->empty()) {
        peer.ended = true;
        peer.broken = !piece;
        co_return;
      }
      peer.got += net::text_of(piece->bytes());
    }
  }
  static net::Task<> send(Peer& peer, std::string text) {
    const auto sent = co_await peer.stream->write(net::Borrowed::of_static(text));
    peer.send_failed |= !sent;
  }
  void listen() { worker.spawn(collect(*this)); }
  void say(std::string text) {
    worker.spawn(send(*this, std::move(text)));
    worker.poll();
  }
  net::Worker& worker;
  std::unique_ptr<net::MemStream> stream;
  std::string got;
  bool ended = false, broken = false, send_failed = false;
};

class Pump : public testing::Test {
 protected:
  explicit Pump(const Options& options = {}) : dialer_(worker_), shared_(options), state_(worker_, shared_, registry_.make_shard(), {.dialer = &dialer_, .random = nullptr}),
           publisher_({&worker_}, [this](net::Worker&, config::SnapshotHandle snapshot, std::shared_ptr<const routing::Endpoints> endpoints) {
             state_.apply(std::move(snapshot), *endpoints);
           }) {
    publish(kMesh);
  }
  ~Pump() override {
    for (auto& client : clients_) client->stream->reset();
    for (auto& server : servers_) server->stream->reset();
    dialer_.servers.clear();
    settle();
    worker_.advance(10min);
    state_.cancel_all();
    settle();
    EXPECT_EQ(worker_.tasks(), 0u) << "somebody still waits";
    state_.clusters.apply({});
    settle();
    state_.snapshot = {};
  }

  void publish(std::string_view yaml) {
    const auto file = doc::read_yaml("mesh.yaml", yaml);
    ASSERT_TRUE(file.problems.empty());
    std::vector<std::shared_ptr<const api::Resource>> resources;
    for (const auto& document : file.documents)
      for (auto& resource : api::decode(document)) resources.push_back(resource);
    const api::Mesh mesh = api::make_mesh(std::move(resources), {});
    const api::Pod* pod = mesh.pod("default", "me");
    ASSERT_NE(pod, nullptr);
    auto compiled = routing::compile(mesh, routing::proxy_of(*pod, routing::Proxy::Role::kSidecar, mesh.config));
    compiled.snapshot->version = ++version_;
    publisher_.publish(compiled.snapshot, std::make_shared<const routing::Endpoints>(std::move(compiled.endpoints)));
    settle();
    state_.log = &lines_;   // in the place of accessLogFile
    state_.log_format = std::make_shared<const telemetry::AccessLogFormat>(telemetry::AccessLogFormat::istio_text());
  }

  void settle() { worker_.poll(); }

  Peer& client(uint16_t port = 80, const char* ip = "10.96.0.9") {
    net::MemPipe pipe;
    pipe.a_address = {*base::Ip::parse("10.0.0.1"), 15001};
    pipe.b_address = {*base::Ip::parse("10.0.0.1"), 40000};
    pipe.original_dst = {{*base::Ip::parse(ip), port}, true};
    auto [ours, theirs] = net::mem_pipe(worker_, pipe);
    clients_.push_back(std::make_unique<Peer>(worker_, std::move(theirs)));
    clients_.back()->listen();
    worker_.spawn(serve_outbound(worker_, std::move(ours), nullptr));
    settle();
    return *clients_.back();
  }
  Peer& inbound_client() {
    net::MemPipe pipe;
    pipe.a_address = {*base::Ip::parse("10.0.0.1"), 15006};
    pipe.b_address = {*base::Ip::parse("10.0.0.9"), 40000};
    pipe.original_dst = {{*base::Ip::parse("10.0.0.1"), 8080}, true};
    auto [ours, theirs] = net::mem_pipe(worker_, pipe);
    clients_.push_back(std::make_unique<Peer>(worker_, std::move(theirs)));
    clients_.back()->listen();
    worker_.spawn(serve_inbound(worker_, std::move(ours), nullptr));
    settle();
    return *clients_.back();
  }
  uint64_t limit_reached(const char* which) { return state_.shard.counter("sluice_limit_reached_total", {{"limit", which}}).value(); }
  // The next connection that was dialled, as the test's server.
  Peer& server() {
    settle();
    if (dialer_.servers.empty()) throw std::runtime_error("nobody was dialled");
    servers_.push_back(std::make_unique<Peer>(worker_, std::move(dialer_.servers.front().stream)));
    dialer_.servers.pop_front();
    servers_.back()->listen();
    settle();
    return *servers_.back();
  }
  // `one` has a single endpoint, so that the pool is hit.
  std::string get(std::string_view path, std::string_view extra = "", std::string_view host = "shop") {
    return "GET " + std::string(path) + " HTTP/1.1\r\nHost: " + std::string(host) + "\r\n" + std::string(extra) + "\r\n";
  }

  net::Worker worker_{net::Worker::Options{.index = 0, .manual_clock = true}};
  MemDialer dialer_;
  stats::Registry registry_;
  Shared shared_;
  WorkerState state_;
  config::Publisher publisher_;
  Lines lines_;
  std::vector<std::unique_ptr<Peer>> clients_, servers_;
  uint64_t version_ = 0;
};

bool has(const std::string& text, std::string_view part) { return text.find(part) != std::string::npos; }

TEST_F(Pump, Get_IsForwardedAndAnswered_WithIstiosHeaders) {
  Peer& c = client();
  c.say(get("/a?b=c", "X-End-User: jason\r\nConnection: x-hop\r\nX-Hop: 1\r\n"));
  Peer& s = server();
  EXPECT_TRUE(s.got.starts_with("GET /a?b=c HTTP/1.1\r\n")) << s.got;
  EXPECT_TRUE(has(s.got, "host: shop\r\n")) << s.got;
  EXPECT_TRUE(has(s.got, "x-end-user: jason\r\n"));
  EXPECT_TRUE(has(s.got, "x-envoy-attempt-count: 1\r\n"));
  EXPECT_TRUE(has(s.got, "x-request-id: "));
  EXPECT_TRUE(has(s.got, "x-forwarded-proto: http\r\n"));
  EXPECT_FALSE(has(s.got, "x-hop"));
  s.say("HTTP/1.1 200 OK\r\nServer: app\r\nContent-Length: 5\r\n\r\nhello");
  EXPECT_TRUE(c.got.starts_with("HTTP/1.1 200 OK\r\n")) << c.got;
  EXPECT_TRUE(has(c.got, "server: envoy\r\n"));
  EXPECT_TRUE(has(c.got, "date: "));
  EXPECT_TRUE(has(c.got, "x-envoy-upstream-service-time: 0\r\n"));
  EXPECT_TRUE(c.got.ends_with("\r\n\r\nhello"));
  ASSERT_EQ(lines_.lines.size(), 1u);
  EXPECT_TRUE(has(lines_.lines[0], "\"GET /a?b=c HTTP/1.1\" 200 - via_upstream")) << lines_.lines[0];
  EXPECT_TRUE(has(lines_.lines[0], "outbound|80||shop.default.svc.cluster.local"));
}

TEST_F(Pump, KeepAlive_ReusesTheUpstreamConnection) {
  Peer& c = client();
  c.say(get("/1", "", "one"));
  Peer& s = server();
  s.say("HTTP/1.1 204 No Content\r\n\r\n");
  c.say(get("/2", "", "one") + get("/3", "", "one"));
  settle();
  EXPECT_EQ(dialer_.dialled.size(), 1u);
  EXPECT_TRUE(has(s.got, "GET /2"));
  EXPECT_FALSE(has(s.got, "GET /3")) << "one exchange at a time";
  s.say("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n2");
  EXPECT_TRUE(has(s.got, "GET /3"));
  s.say("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n3");
  EXPECT_TRUE(c.got.ends_with("\r\n\r\n3"));
  EXPECT_EQ(lines_.lines.size(), 3u);
}

TEST_F(Pump, ConnectRefused_GoesToAnotherEndpoint) {
  dialer_.refuse = 1;
  Peer& c = client();
  c.say(get("/"));
  worker_.advance(1s);   // the back-off
  Peer& s = server();
  ASSERT_EQ(dialer_.dialled.size(), 2u);
  EXPECT_NE(dialer_.dialled[0], dialer_.dialled[1]);
  EXPECT_TRUE(has(s.got, "x-envoy-attempt-count: 2\r\n"));
  s.say("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
  EXPECT_TRUE(has(c.got, "200 OK"));
}

TEST_F(Pump, ConnectRefusedEverywhere_503_URX_UF) {
  dialer_.refuse = 10;
  Peer& c = client();
  c.say(get("/"));
  for (int i = 0; i < 5; ++i) worker_.advance(1s);
  EXPECT_EQ(dialer_.dialled.size(), 3u) << "Istio's default: two retries";
  EXPECT_TRUE(c.got.starts_with("HTTP/1.1 503 ")) << c.got;
  EXPECT_TRUE(has(c.got, "retried and the latest reset reason: remote connection failure"));
  ASSERT_EQ(lines_.lines.size(), 1u);
  EXPECT_TRUE(has(lines_.lines[0], " 503 URX,UF ")) << lines_.lines[0];
}

TEST_F(Pump, IdleConnectionDiesUnderARequest_OneSafeReplay) {
  Peer& c = client();
  c.say(get("/1", "", "one"));
  Peer& s = server();
  s.say("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
  c.say(get("/2", "", "one"));
  ASSERT_TRUE(has(s.got, "GET /2"));
  s.stream->shutdown_write();   // the server had closed when the request crossed it
  Peer& again = server();
  EXPECT_TRUE(has(again.got, "GET /2"));
  EXPECT_TRUE(has(again.got, "x-envoy-attempt-count: 1\r\n")) << "no retry of anybody's count";
  again.say("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
  EXPECT_TRUE(c.got.ends_with("ok"));
}

TEST_F(Pump, PostOnADyingConnection_IsNotRepeated) {
  Peer& c = client();
  c.say(get("/1", "", "one"));
  Peer& s = server();
  s.say("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
  c.say("POST /2 HTTP/1.1\r\nHost: one\r\nContent-Length: 2\r\n\r\nhi");
  s.stream->shutdown_write();
  settle();
  EXPECT_EQ(dialer_.dialled.size(), 1u);
  EXPECT_TRUE(has(c.got, "503 ")) << c.got;
  EXPECT_TRUE(has(lines_.lines.back(), " 503 UC ")) << lines_.lines.back();
}

TEST_F(Pump, ClientLeavesWhileUpstreamThinks_RequestIsCancelled_DC) {
  Peer& c = client();
  c.say(get("/"));
  Peer& s = server();
  c.stream->reset();
  settle();
  EXPECT_TRUE(s.ended);
  ASSERT_EQ(lines_.lines.size(), 1u);
  EXPECT_TRUE(has(lines_.lines[0], " 0 DC downstream_remote_disconnect")) << lines_.lines[0];
}

TEST_F(Pump, ClientShutsDownItsSendingSide_StillGetsItsAnswer) {
  Peer& c = client();
  c.say(get("/"));
  Peer& s = server();
  c.stream->shutdown_write();
  worker_.advance(400ms);
  s.say("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
  EXPECT_TRUE(c.got.ends_with("ok")) << c.got;
}

TEST_F(Pump, NobodyAnswersInTime_504_UT) {
  Peer& c = client();
  c.say(get("/slow"));
  Peer& s = server();
  worker_.advance(1999ms);
  EXPECT_EQ(c.got, "");
  worker_.advance(2ms);
  EXPECT_TRUE(c.got.starts_with("HTTP/1.1 504 ")) << c.got;
  EXPECT_TRUE(has(c.got, "upstream request timeout"));
  EXPECT_TRUE(has(lines_.lines.at(0), " 504 UT response_timeout"));
  EXPECT_TRUE(s.ended) << "the upstream request is cancelled";
}

TEST_F(Pump, TimeLimit_CoversConnecting) {
  dialer_.silent = true;
  Peer& c = client();
  c.say(get("/slow"));
  worker_.advance(2001ms);
  EXPECT_TRUE(c.got.starts_with("HTTP/1.1 504 ")) << c.got;
  EXPECT_TRUE(has(lines_.lines.at(0), " 504 UT response_timeout")) << lines_.lines[0];
}

TEST_F(Pump, TimeLimit_EndsAnAnswerNobodyReads) {
  auto [ours, theirs] = net::mem_pipe(worker_, {.capacity = 1024, .a_address = {}, .b_address = {}, .original_dst = {{*base::Ip::parse("10.96.0.9"), 80}, true}});
  clients_.push_back(std::make_unique<Peer>(worker_, std::move(theirs)));   // never listens
  worker_.spawn(serve_outbound(worker_, std::move(ours), nullptr));
  clients_.back()->say(get("/slow"));
  Peer& s = server();
  s.say("HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n" + std::string(100'000, 'x'));
  worker_.advance(2001ms);
  ASSERT_EQ(lines_.lines.size(), 1u);
  EXPECT_TRUE(has(lines_.lines[0], " 200 UT ")) << lines_.lines[0];
  EXPECT_TRUE(s.ended);
}

TEST_F(Pump, ClientLeavesWhileUpstreamTakesNothing_DC) {
  dialer_.capacity = 4096;
  Peer& c = client();
  c.say("POST /u HTTP/1.1\r\nHost: shop\r\nContent-Length: 1000000\r\n\r\n" + std::string(30'000, 'x'));
  ASSERT_EQ(dialer_.servers.size(), 1u);
  c.stream->reset();
  settle();
  worker_.advance(1s);
  ASSERT_EQ(lines_.lines.size(), 1u);
  EXPECT_TRUE(has(lines_.lines[0], " 0 DC downstream_remote_disconnect")) << lines_.lines[0];
}

TEST_F(Pump, ClientEndsInsideItsBody_DC) {
  Peer& c = client();
  c.say("POST /u HTTP/1.1\r\nHost: shop\r\nContent-Length: 10\r\n\r\nabc");
  Peer& s = server();
  c.stream->shutdown_write();
  settle();
  EXPECT_TRUE(s.ended);
  ASSERT_EQ(lines_.lines.size(), 1u);
  EXPECT_TRUE(has(lines_.lines[0], " 0 DC downstream_remote_disconnect")) << lines_.lines[0];
}

TEST_F(Pump, ServiceGoesWhileARequestWaits_NothingIsTouchedAfterwards) {
  Peer& c = client();
  c.say(get("/1", "", "one"));
  Peer& s = server();
  s.say("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
  c.say(get("/2", "", "one"));
  std::string without(kMesh);
  const auto begin = without.find("---\napiVersion: v1\nkind: Service\nmetadata: {name: one,");
  without.erase(begin, without.find("---", begin + 4) - begin);
  publish(without);
  s.stream->shutdown_write();
  settle();
  EXPECT_TRUE(has(c.got, "HTTP/1.1 503 ")) << c.got;
}

TEST_F(Pump, ConfigurationChangesWhileAClientThinks_BytesGoWhereItDialled) {
  Peer& c = client(91);
  std::string more(kMesh);
  for (int i = 0; i < 5; ++i)   // services that come first in every order: all numbers move
    more = "apiVersion: v1\nkind: Service\nmetadata: {name: aa" + std::to_string(i) + ", namespace: default}\nspec: {clusterIP: 10.96.1." +
           std::to_string(i + 1) + ", ports: [{name: http, port: 80}, {name: tcp-x, port: 90}]}\n---\n" + more;
  publish(more);
  c.say("\x01\x02 no http at all\r\n");
  worker_.advance(6ms);
  Peer& s = server();
  EXPECT_EQ(s.got, "\x01\x02 no http at all\r\n");
  EXPECT_EQ(dialer_.dialled.back().port, 91);
}

TEST_F(Pump, LocalReplies_SpeakIstio) {
  Peer& c = client();
  c.say(get("/nosubset"));
  EXPECT_TRUE(c.got.starts_with("HTTP/1.1 503 ")) << c.got;
  EXPECT_TRUE(has(lines_.lines.at(0), " 503 NC cluster_not_found")) << lines_.lines[0];
  Peer& e = client(80, "10.96.0.8");
  e.say("GET / HTTP/1.1\r\nHost: empty\r\n\r\n");
  EXPECT_TRUE(e.got.ends_with("no healthy upstream")) << e.got;
  EXPECT_TRUE(has(lines_.lines.at(1), " 503 UH no_healthy_upstream")) << lines_.lines[1];
}

TEST_F(Pump, RefusedHead_One400_AndClosed) {
  Peer& c = client();
  c.say("GET / HTTP/1.1\r\nHost: shop\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n");
  EXPECT_TRUE(c.got.starts_with("HTTP/1.1 400 ")) << c.got;
  EXPECT_TRUE(has(c.got, "connection: close\r\n"));
  EXPECT_TRUE(dialer_.dialled.empty());
  ASSERT_EQ(lines_.lines.size(), 1u);
  EXPECT_TRUE(has(lines_.lines[0], " 400 DPE http1."));
}

TEST_F(Pump, UploadIsStreamed_AndChunksArriveWhole) {
  Peer& c = client();
  c.say("POST /u HTTP/1.1\r\nHost: shop\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n");
  Peer& s = server();
  EXPECT_TRUE(has(s.got, "transfer-encoding: chunked\r\n"));
  EXPECT_TRUE(has(s.got, "abc"));
  c.say("4\r\ndefg\r\n0\r\n\r\n");
  EXPECT_TRUE(s.got.ends_with("0\r\n\r\n")) << s.got;
  s.say("HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n");
  EXPECT_TRUE(has(c.got, "201 Created"));
}

TEST_F(Pump, EarlyAnswerToAnUnfinishedUpload_IsDeliveredAndCloses) {
  Peer& c = client();
  c.say("POST /u HTTP/1.1\r\nHost: shop\r\nContent-Length: 1000\r\n\r\nabc");
  Peer& s = server();
  s.say("HTTP/1.1 413 Content Too Large\r\nContent-Length: 3\r\n\r\nbig");
  EXPECT_TRUE(c.got.ends_with("big")) << c.got;
  EXPECT_TRUE(has(c.got, "connection: close\r\n"));
  EXPECT_TRUE(has(lines_.lines.at(0), " 413 "));
}

TEST_F(Pump, AnswerThatBreaksOff_IsNeverCompleted) {
  Peer& c = client();
  c.say(get("/"));
  Peer& s = server();
  s.say("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n");
  s.stream->reset();
  settle();
  EXPECT_TRUE(has(c.got, "hello"));
  EXPECT_FALSE(c.got.ends_with("0\r\n\r\n")) << c.got;
  EXPECT_TRUE(c.ended);
  EXPECT_TRUE(has(lines_.lines.at(0), " 200 UC upstream_reset_after_response_started")) << lines_.lines[0];
}

TEST_F(Pump, UploadThatBreaksOff_IsNeverCompletedUpstream) {
  Peer& c = client();
  c.say("POST /u HTTP/1.1\r\nHost: shop\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nxyz");
  Peer& s = server();
  settle();
  EXPECT_FALSE(has(s.got, "0\r\n\r\n")) << s.got;
  EXPECT_TRUE(s.ended);
  EXPECT_TRUE(has(c.got, "400 Bad Request")) << c.got;
}

TEST_F(Pump, Continue_IsRelayed) {
  Peer& c = client();
  c.say("POST /u HTTP/1.1\r\nHost: shop\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n");
  Peer& s = server();
  EXPECT_TRUE(has(s.got, "expect: 100-continue\r\n"));
  s.say("HTTP/1.1 100 Continue\r\n\r\n");
  EXPECT_TRUE(c.got.starts_with("HTTP/1.1 100 Continue\r\n")) << c.got;
  c.say("hi");
  EXPECT_TRUE(s.got.ends_with("hi"));
  s.say("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
  EXPECT_TRUE(has(c.got, "200 OK"));
}

TEST_F(Pump, Websocket_BecomesATunnelThatSurvivesASwap) {
  Peer& c = client();
  c.say(get("/ws", "Connection: Upgrade\r\nUpgrade: websocket\r\n"));
  Peer& s = server();
  EXPECT_TRUE(has(s.got, "upgrade: websocket\r\n")) << s.got;
  s.say("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nfirst");
  EXPECT_TRUE(c.got.ends_with("first")) << c.got;
  publish(kMesh);
  c.say("ping");
  EXPECT_TRUE(s.got.ends_with("ping")) << s.got;
  s.say("pong");
  EXPECT_TRUE(c.got.ends_with("pong"));
  s.stream->shutdown_write();
  c.stream->shutdown_write();
  settle();
  EXPECT_TRUE(c.ended);
  EXPECT_TRUE(has(lines_.lines.at(0), " 101 "));
}

TEST_F(Pump, Websocket_BreakOfEitherSide_EndsBoth) {
  for (const bool server_breaks : {true, false}) {
    Peer& c = client();
    c.say(get("/ws", "Connection: Upgrade\r\nUpgrade: websocket\r\n"));
    Peer& s = server();
    s.say("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n");
    (server_breaks ? s : c).stream->reset();
    settle();
    EXPECT_TRUE(c.ended);
    EXPECT_TRUE(s.ended);
  }
  EXPECT_EQ(lines_.lines.size(), 2u);
}

TEST_F(Pump, EarlyAnswerWhileUpstreamReadsNothing_DoesNotHang) {
  dialer_.capacity = 4096;
  Peer& c = client();
  c.say("POST /u HTTP/1.1\r\nHost: shop\r\nContent-Length: 1000000\r\n\r\n" + std::string(200'000, 'x'));
  servers_.push_back(std::make_unique<Peer>(worker_, std::move(dialer_.servers.front().stream)));   // never reads
  dialer_.servers.pop_front();
  servers_.back()->say("HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n");
  EXPECT_TRUE(has(c.got, "401 Unauthorized")) << c.got;
  EXPECT_EQ(lines_.lines.size(), 1u);
}

TEST_F(Pump, ServerSentEvents_HeadDoesNotWaitForABody) {
  Peer& c = client();
  c.say(get("/events"));
  Peer& s = server();
  s.say("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n");
  EXPECT_TRUE(has(c.got, "text/event-stream")) << c.got;
}

TEST_F(Pump, Tcp_HalfCloseIsKept) {
  Peer& c = client(90);
  Peer& s = server();
  c.say("question");
  c.stream->shutdown_write();
  settle();
  EXPECT_EQ(s.got, "question");
  EXPECT_TRUE(s.ended);
  s.say("answer");
  s.stream->shutdown_write();
  settle();
  EXPECT_EQ(c.got, "answer");
  EXPECT_TRUE(c.ended);
  ASSERT_EQ(lines_.lines.size(), 1u);
  EXPECT_TRUE(has(lines_.lines[0], "outbound|90||shop.default.svc.cluster.local"));
}

TEST_F(Pump, Tcp_ResetTravelsOn) {
  Peer& c = client(90);
  Peer& s = server();
  c.say("x");
  s.stream->reset();
  settle();
  EXPECT_TRUE(c.ended);
  EXPECT_TRUE(c.broken);
}

TEST_F(Pump, UndeclaredPort_WhoeverSpeaksFirstDecides) {
  Peer& silent = client(91);
  EXPECT_TRUE(dialer_.dialled.empty()) << "no dial before the patience is over";
  worker_.advance(6ms);
  Peer& s = server();
  s.say("220 ready\r\n");
  EXPECT_EQ(silent.got, "220 ready\r\n");
  silent.say("HELO x\r\n");
  EXPECT_EQ(s.got, "HELO x\r\n");

  Peer& talker = client(91);
  talker.say("GET / HTTP/1.1\r\nHost: shop\r\n\r\n");
  Peer& web = server();
  EXPECT_TRUE(has(web.got, "x-request-id")) << "HTTP was recognised: " << web.got;
}

TEST_F(Pump, LateHttpClientOnAnUndeclaredPort_IsStillHttp) {
  Peer& c = client(91);
  worker_.advance(6ms);
  Peer& early = server();
  c.say("GET / HTTP/1.1\r\nHost: shop\r\n\r\n");
  settle();
  EXPECT_EQ(early.got, "") << "the early connection carries no raw bytes";
  Peer& web = server();
  EXPECT_TRUE(has(web.got, "x-request-id")) << web.got;
}

TEST_F(Pump, SlowReader_StopsTheServer) {
  dialer_.capacity = 4096;
  Peer& c = client();
  c.say(get("/big"));
  Peer& s = server();
  const std::string megabyte(1 << 20, 'x');
  s.say("HTTP/1.1 200 OK\r\nContent-Length: 1048576\r\n\r\n" + megabyte);
  for (int i = 0; i < 3; ++i) settle();
  EXPECT_EQ(c.got.size() - c.got.find("\r\n\r\n") - 4, megabyte.size());
}

TEST_F(Pump, MemoryRunsOut_503_OM_AndIdleConnectionsClose) {
  Peer& idle = client();
  idle.say(get("/before"));
  server().say("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
  Peer& silent = client();
  Peer& busy = client();
  busy.say(get("/slowly", "", "one"));
  Peer& s = server();
  const auto dialled = dialer_.dialled.size();
  state_.shed(true);
  settle();
  EXPECT_TRUE(idle.ended);
  EXPECT_TRUE(silent.ended);
  EXPECT_FALSE(busy.ended) << "what is served already goes on";
  s.say("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
  EXPECT_TRUE(busy.got.ends_with("ok")) << busy.got;
  Peer& refused = client();
  refused.say(get("/"));
  EXPECT_TRUE(refused.got.starts_with("HTTP/1.1 503 ")) << refused.got;
  EXPECT_TRUE(has(refused.got, "connection: close\r\n"));
  EXPECT_TRUE(refused.got.ends_with("\r\n\r\nenvoy overloaded"));
  EXPECT_TRUE(has(lines_.lines.back(), " 503 OM overload ")) << lines_.lines.back();
  EXPECT_EQ(limit_reached("memory"), 1u);
  Peer& tcp = client(90);
  tcp.say("x");
  EXPECT_TRUE(tcp.ended);
  EXPECT_EQ(dialer_.dialled.size(), dialled);
  state_.shed(false);
  Peer& welcome = client();
  welcome.say(get("/"));
  server().say("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
  EXPECT_TRUE(has(welcome.got, "200 OK"));
}

class LimitedPump : public Pump {
 protected:
  static Options limits() {
    Options options;
    options.limits.stream_idle = 10s;
    options.limits.pending_requests = 2;
    options.limits.worker_connections = 3;
    options.limits.http.fields = 5;
    options.limits.http.body_idle_time = 20s;
    return options;
  }
  LimitedPump() : Pump(limits()) {}
};

TEST_F(LimitedPump, UpstreamThinksTooLong_504_SI) {
  Peer& c = client();
  c.say(get("/"));
  Peer& s = server();
  worker_.advance(9s);
  EXPECT_EQ(c.got, "");
  worker_.advance(1s);
  EXPECT_TRUE(c.got.starts_with("HTTP/1.1 504 ")) << c.got;
  EXPECT_TRUE(c.got.ends_with("stream timeout"));
  EXPECT_TRUE(s.ended);
  EXPECT_TRUE(has(lines_.lines.back(), " 504 SI stream_idle_timeout")) << lines_.lines.back();
  EXPECT_EQ(limit_reached("stream_idle"), 1u);
}

TEST_F(LimitedPump, UploadStandsStill_408_SI) {
  Peer& c = client();
  c.say("POST / HTTP/1.1\r\nHost: shop\r\nContent-Length: 10\r\n\r\nabc");
  Peer& s = server();
  worker_.advance(8s);
  c.say("de");
  worker_.advance(9s);
  EXPECT_EQ(c.got, "") << "each piece begins the time anew";
  worker_.advance(1s);
  EXPECT_TRUE(c.got.starts_with("HTTP/1.1 408 ")) << c.got;
  EXPECT_TRUE(s.ended);
  EXPECT_TRUE(has(lines_.lines.back(), " 408 SI stream_idle_timeout")) << lines_.lines.back();
}

TEST_F(LimitedPump, AnswerStandsStill_IsCut_SI) {
  Peer& c = client();
  c.say(get("/"));
  Peer& s = server();
  s.say("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc");
  worker_.advance(9s);
  s.say("de");
  worker_.advance(9s);
  EXPECT_FALSE(c.ended);
  worker_.advance(1s);
  EXPECT_TRUE(c.ended);
  EXPECT_TRUE(has(lines_.lines.back(), " 200 SI stream_idle_timeout")) << lines_.lines.back();
}

TEST_F(LimitedPump, TunnelStandsStill_BothSidesEnd_SI) {
  Peer& c = client();
  c.say(get("/ws", "Connection: upgrade\r\nUpgrade: websocket\r\n"));
  Peer& s = server();
  s.say("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n");
  for (int i = 0; i < 3; ++i) {
    worker_.advance(8s);
    c.say("ping");
    s.say("pong");
  }
  EXPECT_TRUE(s.got.ends_with("pingpingping"));
  EXPECT_FALSE(c.ended);
  worker_.advance(10s);
  EXPECT_TRUE(c.ended);
  EXPECT_TRUE(s.ended);
  EXPECT_TRUE(has(lines_.lines.back(), " 101 SI ")) << lines_.lines.back();
}

TEST_F(LimitedPump, AnswerHasBegun_UploadIsInNoHurry) {
  Peer& c = client();
  c.say("POST / HTTP/1.1\r\nHost: shop\r\nContent-Length: 10\r\n\r\nabc");
  Peer& s = server();
  s.say("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nx");
  for (int i = 0; i < 4; ++i) {
    worker_.advance(9s);
    s.say("x");
  }
  EXPECT_TRUE(c.got.ends_with("xxxxx")) << c.got;
}

TEST_F(LimitedPump, TooManyWaitForUpstream_503_UO) {
  state_.pending = 2;   // as requests to endpoints that do not answer the dial
  Peer& c = client();
  c.say(get("/"));
  EXPECT_TRUE(c.got.starts_with("HTTP/1.1 503 ")) << c.got;
  EXPECT_TRUE(has(c.got, "x-envoy-overloaded: true\r\n"));
  EXPECT_TRUE(has(lines_.lines.back(), " 503 UO ")) << lines_.lines.back();
  EXPECT_EQ(limit_reached("pending_requests"), 1u);
  EXPECT_TRUE(dialer_.dialled.empty());
  state_.pending = 1;
  c.say(get("/"));
  server().say("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
  EXPECT_TRUE(has(c.got, "200 OK"));
  EXPECT_EQ(state_.pending, 1u) << "the place is given back";
}

TEST_F(LimitedPump, MoreConnectionsThanAWorkerMayHave_AreClosed) {
  for (int i = 0; i < 3; ++i) client();
  Peer& more = client();
  EXPECT_TRUE(more.ended);
  EXPECT_EQ(limit_reached("worker_connections"), 1u);
  clients_[0]->stream->reset();
  settle();
  Peer& again = client();
  EXPECT_FALSE(again.ended);
}

TEST_F(LimitedPump, TooManyFields_431_Counted) {
  Peer& c = client();
  c.say(get("/", "A: 1\r\nB: 2\r\nC: 3\r\nD: 4\r\nE: 5\r\n"));
  EXPECT_TRUE(c.got.starts_with("HTTP/1.1 431 ")) << c.got;
  EXPECT_EQ(limit_reached("header_fields"), 1u);
}

TEST_F(Pump, Draining_IdleConnectionIsServedOnce_AndAnnouncesItsEnd) {
  publish(std::string(kMesh) + R"(
---
apiVersion: v1
kind: Service
metadata: {name: me, namespace: default}
spec: {clusterIP: 10.96.0.6, selector: {app: me}, ports: [{name: http, port: 8080}]}
)");
  Peer& idle = inbound_client();
  Peer& busy = inbound_client();
  busy.say(get("/busy"));
  Peer& s = server();
  state_.begin_drain();
  settle();
  EXPECT_FALSE(idle.ended) << "a request may be on its way";
  s.say("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
  EXPECT_TRUE(has(busy.got, "connection: close\r\n")) << busy.got;
  idle.say(get("/late"));
  EXPECT_TRUE(has(s.got, "GET /late"));
  s.say("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
  EXPECT_TRUE(has(idle.got, "connection: close\r\n")) << idle.got;
  Peer& rest = inbound_client();
  state_.close_idle();
  settle();
  EXPECT_TRUE(rest.ended);
}

}  // namespace
}  // namespace proxy
