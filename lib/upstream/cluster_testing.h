#pragma once

#include <chrono>
#include <deque>
#include <functional>
#include <memory>
#include <memory_resource>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "net/mem_stream.h"
#include "net/worker.h"
#include "upstream/cluster.h"
#include "upstream/dialer.h"
#include "upstream/load_balancer.h"

// What the tests of this room put in the place of the network.
namespace upstream::testing {

inline base::SocketAddress address(int i) { return *base::SocketAddress::parse("10.0.0." + std::to_string(i) + ":80"); }

inline constexpr Error kRefused{.code = base::Code::kConnect, .origin = base::Origin::kUpstream, .retry = base::Retry::kAlways,
                                .detail = base::Detail::kUpstreamConnectFailure, .sys = 111};
inline constexpr Error kLeft{.code = base::Code::kEof, .origin = base::Origin::kDownstream, .detail = base::Detail::kDownstreamDisconnect};

// Connects through memory. Attempts succeed at once unless told to wait or to fail.
class MemDialer final : public Dialer {
 public:
  struct Attempt final : public Dial, private net::Op {
    Attempt(MemDialer& its_dialer, net::Worker& worker, const net::ConnectTo& its_to) : to(its_to), dialer_(its_dialer), worker_(worker) {
      step = [](net::Op& op) noexcept { static_cast<Attempt&>(op).waiter_.wake(); };
      dialer_.open.insert(this);
    }
    ~Attempt() override { dialer_.open.erase(this); }
    void finish() {
      result_ = dialer_.connect(worker_, to);
      worker_.ready(*this);
    }
    const net::ConnectTo to;

   private:
    bool start() override {
      if (dialer_.wait) return false;
      result_ = dialer_.connect(worker_, to);
      return true;
    }
    void wait(net::Waiter waiter) noexcept override { waiter_ = waiter; }
    Result<std::unique_ptr<net::Stream>> take() override { return std::move(result_); }
    void on_cancel() noexcept override {
      if (queued) return;   // it has ended already
      result_ = std::unexpected(why());
      worker_.ready(*this);
    }
    MemDialer& dialer_;
    net::Worker& worker_;
    net::Waiter waiter_;
    Result<std::unique_ptr<net::Stream>> result_{};
  };

  std::unique_ptr<Dial> dial(net::Worker& worker, const net::ConnectTo& to) override {
    dialled.push_back(to);
    return std::make_unique<Attempt>(*this, worker, to);
  }
  Result<std::unique_ptr<net::Stream>> connect(net::Worker& worker, const net::ConnectTo& to) {
    if (refuse.contains(to.to)) return std::unexpected(kRefused);
    auto [ours, theirs] = net::mem_pipe(worker, {.a_address = address(200), .b_address = to.to});
    peers.push_back(std::move(theirs));
    return Result<std::unique_ptr<net::Stream>>(std::move(ours));
  }
  void finish_all() {
    for (Attempt* attempt : std::set(open)) attempt->finish();
  }

  bool wait = false;                                   // attempts wait for finish()
  std::set<base::SocketAddress> refuse;
  std::vector<net::ConnectTo> dialled;
  std::vector<std::unique_ptr<net::MemStream>> peers;  // the servers' ends, in the order of connecting
  std::set<Attempt*> open;
};

// One request's acquire(), and what came of it.
struct Call {
  AcquireCancel owner;
  std::pmr::monotonic_buffer_resource arena;
  PickContext pick;
  std::optional<base::SocketAddress> picked;
  std::optional<Lease> lease;
  std::optional<Error> error;
  bool done = false;
  uint16_t status = 0;
};

// As the pump does it.
inline net::Task<> acquire(Cluster& cluster, Call& call, bool fresh) {
  call.pick.picked = &call.picked;
  if (!fresh && !call.owner.cancelled()) {
    if (auto pooled = cluster.acquire_idle(call.pick, &call.arena)) {
      call.lease.emplace(std::move(*pooled));
      call.done = true;
      co_return;
    }
  }
  auto got = co_await cluster.acquire(call.pick, call.owner, &call.arena, fresh);
  if (got) call.lease.emplace(std::move(*got));
  else call.error = got.error();
  call.done = true;
}

// Sends a request without body and reads the answer to its end.
inline net::Task<> exchange(Call& call) {
  http::RequestHead head(&call.arena);
  head.method = "GET";
  head.scheme = "http";
  head.authority = "reviews";
  head.path = "/";
  http::UpstreamExchange& exchange = call.lease->exchange();
  const auto sent = co_await exchange.request().head(head, {}, true);
  if (!sent) {
    call.error = sent.error();
    co_return;
  }
  const auto answer = co_await exchange.read_head();
  if (!answer) {
    call.error = answer.error();
    co_return;
  }
  call.status = (*answer)->status;
  for (;;) {
    auto piece = co_await exchange.response_body().next();
    if (!piece) call.error = piece.error();
    if (!piece || piece->empty()) break;
  }
}

inline net::Task<> say(net::Stream& stream, std::string_view text) {
  (void)co_await stream.write(net::Borrowed::of_static(text));
}
inline net::Task<> read_once(net::Stream& stream, std::string& into) {
  auto piece = co_await stream.read();
  if (piece) into += net::text_of(piece->bytes());
}

inline base::ClusterSettings settings(auto change) {
  base::ClusterSettings made;
  change(made);
  return made;
}

inline constexpr std::string_view kOk = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

// One worker, one cluster, a network in memory.
struct World {
  explicit World(base::ClusterSettings with = {}, int endpoints = 1) {
    with.name = "outbound|80||reviews";
    settings = std::make_shared<const base::ClusterSettings>(std::move(with));
    limits = std::make_shared<SharedLimits>();
    cluster.emplace(worker, settings, limits, ClusterSeams{.dialer = &dialer, .random = &random});
    set_endpoints(endpoints);
  }
  ~World() {
    cluster.reset();
    worker.poll();
  }
  void set_endpoints(int n, int from = 1) {
    auto set = std::make_shared<base::EndpointSet>();
    for (int i = 0; i < n; ++i) set->list.push_back({.address = address(from + i), .weight = 1, .healthy = true, .workload = {}});
    cluster->update_endpoints(set);
    worker.poll();
  }
  void change(std::function<void(base::ClusterSettings&)> change) {
    auto next = std::make_shared<base::ClusterSettings>(cluster->settings());
    change(*next);
    cluster->update_settings(next);
    worker.poll();
  }
  void start(Call& call, bool fresh = false) { worker.spawn(acquire(*cluster, call, fresh)); }
  void run(Call& call, bool fresh = false) {
    start(call, fresh);
    worker.poll();
  }
  // A whole request through `call`, answered by the server's end of connection `peer`; the lease ends.
  void serve(Call& call, size_t peer, std::string_view answer = kOk) { serve(worker, dialer, call, peer, answer); }
  static void serve(net::Worker& worker, MemDialer& dialer, Call& call, size_t peer, std::string_view answer = kOk) {
    worker.spawn(exchange(call));
    worker.poll();
    std::string request;
    worker.spawn(read_once(*dialer.peers[peer], request));
    worker.spawn(say(*dialer.peers[peer], answer));
    worker.poll();
    call.lease.reset();
    worker.poll();
  }
  void say_on(size_t peer, std::string_view text) {
    worker.spawn(say(*dialer.peers[peer], text));
    worker.poll();
  }
  uint32_t connections() const { return limits->connections.load(); }
  uint32_t pending() const { return limits->pending.load(); }
  uint32_t requests() const { return limits->requests.load(); }

  net::Worker worker{{.manual_clock = true}};
  FastRandom random;
  MemDialer dialer;
  std::shared_ptr<const base::ClusterSettings> settings;
  std::shared_ptr<SharedLimits> limits;
  std::optional<Cluster> cluster;
};

}  // namespace upstream::testing
