#pragma once

#include <algorithm>
#include <deque>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

#include "api/resource.h"
#include "doc/reader.h"
#include "net/mem_stream.h"
#include "proxy/serve.h"
#include "upstream/dialer.h"
#include "upstream/load_balancer.h"

// The proxy in one process for tests and fuzzers: memory streams on both sides, a manual clock. Whoever uses it plays the
// clients and the servers. It knows nothing of gtest, so that a fuzz target may link it.
namespace proxy::in_memory {
using namespace std::chrono_literals;

// Every dial makes a pipe; the far end waits in `servers` for the test to play the server, unless the dial is refused.
class MemDialer final : public upstream::Dialer {
 public:
  struct Server {
    base::SocketAddress address;
    std::unique_ptr<net::MemStream> stream;
  };
  // Packets vanish until the test lets one of them through: only cancelling ends it before.
  class Silent final : public upstream::Dial, net::Op {
   public:
    Silent(MemDialer& dialer, net::Worker& worker, const base::SocketAddress& to)
        : net::Op([](net::Op& op) noexcept { static_cast<Silent&>(op).waiter_.wake(); }), dialer_(dialer), worker_(worker), to_(to) {
      dialer_.waiting.push_back(this);
    }
    ~Silent() override { std::erase(dialer_.waiting, this); }
    void accept() { finish(dialer_.connect(to_)); }
    void refuse() { finish(std::unexpected(kRefused)); }

   private:
    void finish(Result<std::unique_ptr<net::Stream>> result) {
      if (result_ || cancelled()) return;
      result_ = std::move(result);
      worker_.ready(*this);
    }
    void on_cancel() noexcept override {
      if (!result_) worker_.ready(*this);
    }
    bool start() override { return cancelled(); }
    void wait(net::Waiter waiter) noexcept override { waiter_ = waiter; }
    Result<std::unique_ptr<net::Stream>> take() override {
      if (result_) return std::move(*result_);
      return std::unexpected(why());
    }
    MemDialer& dialer_;
    net::Worker& worker_;
    const base::SocketAddress to_;
    net::Waiter waiter_;
    std::optional<Result<std::unique_ptr<net::Stream>>> result_;
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
    dialled.push_back(to.to);
    if (refuse > 0) {
      --refuse;
      return std::make_unique<Ready>(std::unexpected(refusal));
    }
    if (silent) return std::make_unique<Silent>(*this, worker_, to.to);
    return std::make_unique<Ready>(connect(to.to));
  }
  void accept_waiting() {
    for (Silent* dial : std::vector(waiting)) dial->accept();
  }
  void refuse_waiting() {
    for (Silent* dial : std::vector(waiting)) dial->refuse();
  }
  int refuse = 0;
  Error refusal = kRefused;
  bool silent = false;
  size_t capacity = 64 * 1024;
  bool splices = false;
  std::vector<base::SocketAddress> dialled;
  std::deque<Server> servers;
  std::vector<Silent*> waiting;

 private:
  static constexpr Error kRefused{.code = base::Code::kConnect, .origin = base::Origin::kUpstream, .retry = base::Retry::kAlways,
                                  .detail = base::Detail::kUpstreamConnectFailure, .sys = 111};
  std::unique_ptr<net::Stream> connect(const base::SocketAddress& to) {
    auto [ours, theirs] = net::mem_pipe(worker_, {.capacity = capacity, .splices = splices, .a_address = {}, .b_address = to});
    servers.push_back({to, std::move(theirs)});
    return std::move(ours);
  }
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

// One end of a pipe as the test plays it. It is no task of the worker, so that Worker::tasks() counts the proxy's alone. What
// the pipe does not take waits its turn, and the FIN waits behind it.
struct Peer {
  Peer(net::Worker& w, std::unique_ptr<net::MemStream> s) : worker(w), stream(std::move(s)) {}
  Peer(const Peer&) = delete;
  // From now on collects what arrives.
  void listen() {
    if (!listening) read_on();
    listening = true;
  }
  // Takes what is there, once; for who does not listen.
  size_t sip() {
    auto read = stream->read();
    const bool there = read.start();
    const size_t bytes = there && read.result ? read.result->size() : 0;
    worker.poll();
    return bytes;
  }
  // Hands bytes to the pipe without letting the proxy react.
  void put(std::string text) {
    outbox_.push_back(std::move(text));
    if (!write_) write_on();
  }
  void put_fin() {
    fin_ = true;
    if (!write_) write_on();
  }
  void say(std::string text) {
    put(std::move(text));
    worker.poll();
  }
  net::Worker& worker;
  std::unique_ptr<net::MemStream> stream;
  std::string got;
  bool listening = false, ended = false, broken = false, send_failed = false;

 private:
  void read_on() {
    for (;;) {
      read_.emplace(stream.get());
      read_->waiter = net::Waiter::to<&Peer::on_read>(*this);
      if (!read_->start() || !take()) return;
    }
  }
  void on_read() {
    if (take()) read_on();
  }
  bool take() {
    Result<net::Borrowed> piece = std::move(read_->result);
    read_.reset();
    if (piece && !piece->empty()) {
      got += net::text_of(piece->bytes());
      return true;
    }
    ended = true;
    broken = !piece;
    return false;
  }
  void write_on() {
    while (!outbox_.empty()) {
      const std::string text = std::move(outbox_.front());   // the pipe copies what it cannot take
      outbox_.pop_front();
      write_.emplace(stream.get(), net::Slice{}, net::Borrowed::of_static(text));
      write_->waiter = net::Waiter::to<&Peer::on_written>(*this);
      if (!write_->start()) return;
      written();
    }
    if (fin_) stream->shutdown_write();
  }
  void on_written() {
    written();
    write_on();
  }
  void written() {
    send_failed |= !write_->result;
    write_.reset();
  }
  std::optional<net::ReadOp> read_;
  std::optional<net::WriteOp> write_;
  std::deque<std::string> outbox_;
  bool fin_ = false;
};

// What the proxy is told; compiled once, published as often as wanted.
struct Configuration {
  std::shared_ptr<routing::Snapshot> snapshot;
  std::shared_ptr<const routing::Endpoints> endpoints;
};

// `yaml` holds the pod default/me, whose proxy this is. Throws when the text is broken: that is a fault of the test.
inline Configuration configuration(std::string_view yaml, uint64_t version = 1,
                                   routing::Proxy::Role role = routing::Proxy::Role::kSidecar) {
  const auto file = doc::read_yaml("mesh.yaml", yaml);
  if (!file.problems.empty()) throw std::runtime_error(doc::line_of(file.problems.front()));
  std::vector<std::shared_ptr<const api::Resource>> resources;
  for (const auto& document : file.documents)
    for (auto& resource : api::decode(document)) resources.push_back(resource);
  const api::Mesh mesh = api::make_mesh(std::move(resources), {});
  const api::Pod* pod = mesh.pod("default", "me");
  if (!pod) throw std::runtime_error("no pod default/me");
  auto compiled = routing::compile(mesh, routing::proxy_of(*pod, role, mesh.config));
  compiled.snapshot->version = version;
  return {compiled.snapshot, std::make_shared<const routing::Endpoints>(std::move(compiled.endpoints))};
}

class World {
 public:
  explicit World(const Options& options = {})
      : dialer_(worker_), shared_(options), state_(worker_, shared_, registry_.make_shard(), {.dialer = &dialer_, .random = &chance_}),
        publisher_({&worker_}, [this](net::Worker&, config::SnapshotHandle snapshot, std::shared_ptr<const routing::Endpoints> endpoints) {
          state_.apply(std::move(snapshot), *endpoints);
          state_.log = &lines_;   // in the place of accessLogFile
          state_.log_format = log_format_;
        }) {
    state_.random = Xoshiro({1, 2, 3, 4});
  }
  World(const World&) = delete;
  ~World() { end(); }

 protected:
  // Everybody leaves. Afterwards no task may be left.
  void end() {
    for (auto& client : clients_) client->stream->reset();
    for (auto& server : servers_) server->stream->reset();
    dialer_.refuse_waiting();
    dialer_.servers.clear();
    settle();
    worker_.advance(10min);
    state_.cancel_all();
    settle();
    dialer_.servers.clear();
    state_.clusters.apply({});
    settle();
    state_.snapshot = {};
  }

  void publish(const Configuration& next) { publisher_.publish(next.snapshot, next.endpoints); }
  void publish(std::string_view yaml) {
    publish(configuration(yaml, ++version_));
    settle();
  }

  void settle() { worker_.poll(); }

  using Serve = net::Task<> (*)(net::Worker&, std::unique_ptr<net::Stream>, void*);
  // A connection from outside, at the proxy's end served by `serve`; nobody reads at the client's end yet.
  Peer& connect(Serve serve, const net::MemPipe& pipe) {
    auto [ours, theirs] = net::mem_pipe(worker_, pipe);
    clients_.push_back(std::make_unique<Peer>(worker_, std::move(theirs)));
    worker_.spawn(serve(worker_, std::move(ours), nullptr));
    return *clients_.back();
  }
  Peer& client(uint16_t port = 80, const char* ip = "10.96.0.9") {
    Peer& peer = silent_client(port, ip);
    peer.listen();
    settle();
    return peer;
  }
  // Nobody reads at its end, and only so much fits into the pipe.
  Peer& silent_client(uint16_t port = 80, const char* ip = "10.96.0.9", size_t capacity = net::MemPipe{}.capacity) {
    net::MemPipe pipe;
    pipe.capacity = capacity;
    pipe.a_address = {*base::Ip::parse("10.0.0.1"), 15001};
    pipe.b_address = {*base::Ip::parse("10.0.0.1"), 40000};
    pipe.original_dst = {{*base::Ip::parse(ip), port}, true};
    Peer& peer = connect(&serve_outbound, pipe);
    settle();
    return peer;
  }
  Peer& inbound_client() {
    net::MemPipe pipe;
    pipe.a_address = {*base::Ip::parse("10.0.0.1"), 15006};
    pipe.b_address = {*base::Ip::parse("10.0.0.9"), 40000};
    pipe.original_dst = {{*base::Ip::parse("10.0.0.1"), 8080}, true};
    Peer& peer = connect(&serve_inbound, pipe);
    peer.listen();
    settle();
    return peer;
  }
  uint64_t limit_reached(const char* which) { return state_.shard.counter("sluice_limit_reached_total", {{"limit", which}}).value(); }
  // The next connection that was dialled, as the test's server; nobody reads there yet.
  Peer& accept() {
    settle();
    if (dialer_.servers.empty()) {
      const std::string logged = lines_.lines.empty() ? "nothing" : lines_.lines.back();
      throw std::runtime_error("nobody was dialled; last logged: " + logged);
    }
    servers_.push_back(std::make_unique<Peer>(worker_, std::move(dialer_.servers.front().stream)));
    dialer_.servers.pop_front();
    return *servers_.back();
  }
  Peer& server() {
    Peer& peer = accept();
    peer.listen();
    settle();
    return peer;
  }
  std::string get(std::string_view path, std::string_view extra = "", std::string_view host = "shop") {
    return "GET " + std::string(path) + " HTTP/1.1\r\nHost: " + std::string(host) + "\r\n" + std::string(extra) + "\r\n";
  }

  net::Worker worker_{net::Worker::Options{.index = 0, .manual_clock = true}};
  // Chance of the load balancers: the same in every run.
  struct Chance final : upstream::Random {
    uint32_t below(uint32_t n) noexcept override { return source.below(n); }
    Xoshiro source{{5, 6, 7, 8}};
  };
  MemDialer dialer_;
  Chance chance_;
  stats::Registry registry_;
  Shared shared_;
  WorkerState state_;
  std::shared_ptr<const telemetry::AccessLogFormat> log_format_ =
      std::make_shared<const telemetry::AccessLogFormat>(telemetry::AccessLogFormat::istio_text());
  config::Publisher publisher_;
  Lines lines_;
  std::vector<std::unique_ptr<Peer>> clients_, servers_;
  uint64_t version_ = 0;
};

inline bool has(const std::string& text, std::string_view part) { return text.find(part) != std::string::npos; }

}  // namespace proxy::in_memory
