#pragma once

#include <gtest/gtest.h>

#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "api/resource.h"
#include "doc/reader.h"
#include "net/mem_stream.h"
#include "proxy/serve.h"
#include "upstream/dialer.h"

// The proxy in one process for tests: memory streams on both sides, a manual clock, a small mesh in YAML. The test plays the
// clients and the servers.
namespace proxy::in_memory {
using namespace std::chrono_literals;

inline constexpr std::string_view kMesh = R"(
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

inline bool has(const std::string& text, std::string_view part) { return text.find(part) != std::string::npos; }

}  // namespace proxy::in_memory
