#include "proxy/serve.h"

#include "http/h2_session.h"
#include "proxy/canary.h"
#include "proxy/first_bytes.h"
#include "proxy/interception.h"
#include "proxy/pump.h"
#include "proxy/request_log.h"

namespace proxy {
namespace {
using routing::Direction;
using Kind = routing::Listener::Kind;
using namespace std::chrono_literals;

// Server-first protocols (MySQL, SMTP) send nothing until they are connected to; a client that means to speak first has done
// so within 5 ms of its handshake on a node. On undeclared ports only: dialling earlier would cost every other client a
// connection that it does not need.
constexpr auto kServerFirstPatience = 5ms;

// A record of the connection on its worker's list, for as long as it is served.
class Registered {
 public:
  Registered(WorkerState& state, Connection& connection, net::Stream& stream, Direction direction) : state_(state) {
    connection.id = state.next_id();
    connection.direction = direction;
    connection.stream = &stream;
    connection.peer = stream.peer();
    connection.since = state.worker.now();
    state.connections.push_back(connection);
    state.counters.connections_total.add();
    state.counters.connections_active.add();
  }
  ~Registered() { state_.counters.connections_active.sub(); }
  Registered(const Registered&) = delete;

 private:
  WorkerState& state_;
};

enum class Speaks : uint8_t { kHttp1, kOpaque, kNobody };

struct Heard {
  Speaks speaks = Speaks::kNobody;
  std::chrono::milliseconds head_spent{0};      // kHttp1: of the time for the request's head
  std::unique_ptr<upstream::TcpLease> leased;   // the server-first case dialled already
};

enum class Port : uint8_t { kDeclared, kUndeclared };

// Reads until the bytes can be judged; they stay in front of the stream. An HTTP/1.0 request line counts as HTTP on a declared
// port, where the codec answers 426, and elsewhere only when it is switched on (traffic.md §3.4).
net::Task<Heard> sniff_downstream(WorkerState& state, Connection& connection, Port port) {
  using End = Sniffing::End;
  const bool declared = port == Port::kDeclared;
  const http::Limits& limits = state.h1_options.limits;
  Sniffing sniffing(*connection.stream, declared || state.shared.options().http10, limits.idle_time, limits.head_time);
  const auto outcome = co_await sniffing;
  Heard heard;
  heard.head_spent = outcome.spent;
  switch (outcome.end) {
    case End::kDecided:
      // HTTP/2 is carried as opaque bytes to the same cluster until the session is built: right for one service, without
      // routing by request.
      heard.speaks = outcome.says == http::Sniffed::kHttp1 ? Speaks::kHttp1 : Speaks::kOpaque;
      break;
    case End::kEnded:
      // Bytes and a FIN are a whole TCP dialogue where anything may be spoken; where HTTP is, half a head deserves no answer.
      if (outcome.any && !declared) heard.speaks = Speaks::kOpaque;
      break;
    case End::kTooSlow:
      // A declared port stays HTTP, and so does a request that lacks but its version: the codec knows how long it took and
      // answers 408. Istio has no limit here unless protocolDetectionTimeout sets one, after which the bytes are TCP
      // (traffic.md §3.4; Envoy's continue_on_listener_filters_timeout). They are the same here, where nothing says HTTP yet:
      // an empty line is a whole request of finger and gopher. What is opaque never had more than rules for TCP to pass, and an
      // undeclared port takes HTTP/1.0 as TCP anyway.
      heard.speaks = declared || outcome.in_request_line ? Speaks::kHttp1 : Speaks::kOpaque;
      if (heard.speaks == Speaks::kOpaque) state.limits.hit(LimitCounters::Which::kHeaderTime, connection.peer);
      break;
    case End::kBroken:
    case End::kSilent: break;   // as the codec, which ends an idle connection in silence
  }
  co_return heard;
}

// The upstream connection is open and nobody has said anything. Whoever speaks first decides; a tunnel in which neither does is
// idle like any other.
net::Task<Heard> listen_to_either(WorkerState& state, Connection& connection, std::unique_ptr<upstream::TcpLease> leased,
                                  std::shared_ptr<const base::ClusterSettings> settings) {
  using Who = FirstBytes::Who;
  Heard heard;
  connection.waits_for = "client or upstream";
  FirstBytes either(*connection.stream, &leased->stream(), settings->tcp_idle_timeout);
  const auto outcome = co_await either;
  if (outcome.who == Who::kNobody) {
    state.counters.tcp_total.add();
    TcpRecord record(state, connection);
    record.settings = std::move(settings);
    record.opened(*leased);
    co_return heard;
  }
  connection.waits_for = "client";
  if (outcome.who == Who::kDownstream && outcome.bytes && *outcome.bytes > 0)
    heard = co_await sniff_downstream(state, connection, Port::kUndeclared);
  else
    heard.speaks = Speaks::kOpaque;   // the server spoke, or one side ended: a tunnel carries either faithfully
  if (heard.speaks == Speaks::kOpaque) heard.leased = std::move(leased);
  co_return heard;
}

// An undeclared port: HTTP and opaque bytes are told apart by what the client says first; when it says nothing for a
// moment, the server is dialled and whoever speaks first decides.
net::Task<Heard> listen_to_both(WorkerState& state, Connection& connection, std::shared_ptr<const base::ClusterSettings> wanted) {
  connection.state = "detect";
  connection.waits_for = "client";
  {
    FirstBytes patience(*connection.stream, nullptr, kServerFirstPatience);
    const auto outcome = co_await patience;
    if (outcome.who == FirstBytes::Who::kDownstream) {
      if (!outcome.bytes || *outcome.bytes == 0) co_return Heard{};
      co_return co_await sniff_downstream(state, connection, Port::kUndeclared);
    }
  }
  upstream::Cluster* cluster = wanted ? state.clusters.find(wanted->name) : nullptr;
  if (!cluster) co_return co_await sniff_downstream(state, connection, Port::kUndeclared);
  state.counters.detect_server_first.add();
  connection.waits_for = "connect";
  upstream::PickContext pick;
  aim(pick, connection, cluster->settings());
  upstream::AcquireCancel wait;
  // A client that half-closed may still be waiting for a server that speaks first; only its reset or the drain ends the wait.
  std::optional<net::CloseWatch> client(std::in_place, *connection.stream, wait, Error{.code = base::Code::kReset}, 24h);
  auto lease = co_await cluster->connect_tcp(pick, wait);
  client.reset();
  if (lease)
    co_return co_await listen_to_either(state, connection, std::make_unique<upstream::TcpLease>(std::move(*lease)), std::move(wanted));
  // Nobody there: the client finds out when it speaks, as it would have without the early dial.
  connection.waits_for = "client";
  co_return co_await sniff_downstream(state, connection, Port::kUndeclared);
}

// What a connection turned out to be.
struct Path {
  enum class Kind : uint8_t { kClose, kHttp, kTcp } kind = Kind::kClose;
  // Where opaque bytes go. Settings, not the number: numbers belong to one snapshot, and a client may think for an hour.
  std::shared_ptr<const base::ClusterSettings> cluster;
  std::unique_ptr<upstream::TcpLease> leased;
  std::chrono::milliseconds head_spent{0};   // see Heard
};

// The listener of this destination, and where it wants to know them, the first bytes. A task of its own so that its frame is
// gone while the connection is served: an idle connection keeps two frames, this file's serve_connection and the codec's.
net::Task<Path> choose_path(WorkerState& state, Connection& connection) {
  Path path;
  const routing::Listener* listener = state.snapshot ? state.snapshot->listener_for(connection.direction, connection.dst) : nullptr;
  if (!listener) co_return path;
  const Kind kind = listener->kind;
  if (listener->tcp_cluster != routing::RoutePlan::kMissing) path.cluster = state.snapshot->clusters()[listener->tcp_cluster];
  Heard heard;
  switch (kind) {
    case Kind::kHttp:
      // A declared HTTP port never dials early. Bytes that are no HTTP pass outbound where ALLOW_ANY lets them (traffic.md
      // §3.3); inbound they are a protocol error (§3.5), which the codec answers.
      if (connection.direction != Direction::kOutbound || !path.cluster) {
        heard.speaks = Speaks::kHttp1;
        break;
      }
      connection.state = "detect";
      connection.waits_for = "client";
      heard = co_await sniff_downstream(state, connection, Port::kDeclared);
      break;
    case Kind::kTcp:
    case Kind::kPassthrough: heard.speaks = Speaks::kOpaque; break;
    case Kind::kAuto: heard = co_await listen_to_both(state, connection, path.cluster); break;
    case Kind::kBlackHole: {
      // Closed, not reset: an RST that overtakes the end of the handshake would look like a port that nobody listens on.
      // A loop through our own ports is nobody's traffic; REGISTRY_ONLY's is reported as what it swallowed (§3.6).
      state.counters.black_hole.add();
      const uint16_t port = connection.dst.address.port;
      if (port == state.shared.options().outbound_port || port == state.shared.options().inbound_port) break;
      TcpRecord record(state, connection);
      record.settings = path.cluster;
      record.fail(base::Detail::kNoHealthyUpstream);
      break;
    }
  }
  if (heard.speaks != Speaks::kNobody) path.kind = heard.speaks == Speaks::kHttp1 ? Path::Kind::kHttp : Path::Kind::kTcp;
  path.leased = std::move(heard.leased);
  path.head_spent = heard.head_spent;
  co_return path;
}

net::Task<> serve_connection(net::Worker& worker, std::unique_ptr<net::Stream> stream, Direction direction) {
  WorkerState& state = state_of(worker);
  Connection connection;
  const Registered registered(state, connection, *stream, direction);
  if (!state.admits(connection)) co_return;
  if (direction == Direction::kGateway) {
    connection.dst = {.address = stream->local(), .redirected = false};
    connection.peer_text = std::make_unique<const std::string>(connection.peer.ip.text());
  } else {
    const auto dst = stream->original_dst();
    if (!dst) co_return;
    connection.dst = *dst;
    connection.keeps_source = direction == Direction::kInbound && state.shared.transparent();
  }
  bool http = false;
  std::chrono::milliseconds head_spent{0};
  {
    Path path = co_await choose_path(state, connection);
    http = path.kind == Path::Kind::kHttp;
    head_spent = path.head_spent;
    if (path.kind == Path::Kind::kTcp) co_await serve_tcp(state, connection, std::move(path.cluster), std::move(path.leased));
  }
  if (!http) co_return;
  connection.kind = "http";
  connection.state = "idle";
  connection.waits_for = "client";
  HttpContext context{state, connection};
  http::H1Server server(worker, *stream, state.h1_options);
  connection.server = &server;
  co_await server.serve(&serve_request, &context, head_spent);
  connection.server = nullptr;
}

net::Task<> close(std::unique_ptr<net::Stream>) { co_return; }
}  // namespace

net::Task<> serve_outbound(net::Worker& worker, std::unique_ptr<net::Stream> stream, void*) {
  return serve_connection(worker, std::move(stream), Direction::kOutbound);
}
net::Task<> serve_inbound(net::Worker& worker, std::unique_ptr<net::Stream> stream, void* canary) {
  if (canary && static_cast<Canary*>(canary)->took(*stream)) return close(std::move(stream));
  return serve_connection(worker, std::move(stream), Direction::kInbound);
}
net::Task<> serve_gateway(net::Worker& worker, std::unique_ptr<net::Stream> stream, void*) {
  return serve_connection(worker, std::move(stream), Direction::kGateway);
}

}  // namespace proxy
