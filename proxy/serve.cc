#include "proxy/serve.h"

#include "http/detect.h"
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
  std::unique_ptr<upstream::TcpLease> leased;   // the server-first case dialled already
};

// What the bytes that are there say; kNobody: not enough yet, or the stream ended. An HTTP/1.0 request line counts as HTTP on
// a declared port, where the codec answers 426, and elsewhere only when it is switched on (traffic.md §3.4).
Speaks judge(net::Slice bytes, bool http10, bool& more) {
  more = false;
  switch (http::sniff(bytes, http10)) {
    case http::Sniffed::kNeedMore: more = true; return Speaks::kNobody;
    case http::Sniffed::kHttp1: return Speaks::kHttp1;
    // HTTP/2 is carried as opaque bytes to the same cluster until the session is built: right for one service, without
    // routing by request.
    case http::Sniffed::kHttp2Preface:
    case http::Sniffed::kTls:
    case http::Sniffed::kOther: return Speaks::kOpaque;
  }
  return Speaks::kOpaque;
}

// Reads until the bytes can be judged. The bytes stay in front of the stream.
net::Task<Speaks> sniff_downstream(Connection& connection, bool http10) {
  std::string seen;   // a few bytes, at most the HTTP/2 preface or the first line that tells HTTP/1.0
  for (;;) {
    auto piece = co_await connection.stream->read();
    if (!piece || (piece->empty() && seen.empty())) co_return Speaks::kNobody;
    const bool ended = piece->empty();
    seen += net::text_of(piece->bytes());
    bool more = false;
    const Speaks speaks = judge(net::bytes_of(seen), http10, more);
    if (more && !ended && seen.size() < 8192) continue;
    connection.stream->unread(net::bytes_of(seen));
    co_return more ? Speaks::kOpaque : speaks;
  }
}

// An undeclared port: HTTP and opaque bytes are told apart by what the client says first; when it says nothing for a
// moment, the server is dialled and whoever speaks first decides.
net::Task<Heard> listen_to_both(WorkerState& state, Connection& connection, const base::ClusterSettings* wanted) {
  const bool http10 = state.shared.options().http10;
  connection.state = "detect";
  connection.waits_for = "client";
  Heard heard;
  {
    FirstBytes patience(*connection.stream, nullptr, kServerFirstPatience);
    const auto outcome = co_await patience;
    if (outcome.who == FirstBytes::Who::kDownstream) {
      if (outcome.bytes && *outcome.bytes > 0) heard.speaks = co_await sniff_downstream(connection, http10);
      co_return heard;
    }
  }
  upstream::Cluster* cluster = wanted ? state.clusters.find(wanted->name) : nullptr;
  if (!cluster) {
    heard.speaks = co_await sniff_downstream(connection, http10);
    co_return heard;
  }
  state.counters.detect_server_first.add();
  connection.waits_for = "connect";
  upstream::PickContext pick;
  aim(pick, connection, cluster->settings());
  upstream::AcquireCancel wait;
  // A client that half-closed may still be waiting for a server that speaks first; only its reset or the drain ends the wait.
  std::optional<net::CloseWatch> client(std::in_place, *connection.stream, wait, Error{.code = base::Code::kReset}, 24h);
  auto lease = co_await cluster->connect_tcp(pick, wait);
  client.reset();
  if (!lease) {
    // Nobody there: the client finds out when it speaks, as it would have without the early dial.
    heard.speaks = co_await sniff_downstream(connection, http10);
    co_return heard;
  }
  auto leased = std::make_unique<upstream::TcpLease>(std::move(*lease));
  connection.waits_for = "client or upstream";
  FirstBytes either(*connection.stream, &leased->stream(), 0ms);
  const auto outcome = co_await either;
  if (outcome.who == FirstBytes::Who::kDownstream && outcome.bytes && *outcome.bytes > 0)
    heard.speaks = co_await sniff_downstream(connection, http10);
  else
    heard.speaks = Speaks::kOpaque;   // the server spoke, or one side ended: a tunnel carries either faithfully
  if (heard.speaks == Speaks::kOpaque) heard.leased = std::move(leased);
  co_return heard;
}

// What a connection turned out to be.
struct Path {
  enum class Kind : uint8_t { kClose, kHttp, kTcp } kind = Kind::kClose;
  // Where opaque bytes go. Settings, not the number: numbers belong to one snapshot, and a client may think for an hour.
  std::shared_ptr<const base::ClusterSettings> cluster;
  std::unique_ptr<upstream::TcpLease> leased;
};

// The listener of this destination, and where it wants to know them, the first bytes. A task of its own so that its frame is
// gone while the connection is served: an idle connection keeps two frames, this file's serve_connection and the codec's.
net::Task<Path> choose_path(WorkerState& state, Connection& connection) {
  Path path;
  const routing::Listener* listener = state.snapshot ? state.snapshot->listener_for(connection.direction, connection.dst) : nullptr;
  if (!listener) co_return path;
  const Kind kind = listener->kind;
  if (listener->tcp_cluster != routing::RoutePlan::kMissing) path.cluster = state.snapshot->clusters()[listener->tcp_cluster];
  Speaks speaks = Speaks::kNobody;
  switch (kind) {
    case Kind::kHttp:
      // A declared HTTP port never dials early. Bytes that are no HTTP pass outbound where ALLOW_ANY lets them (traffic.md
      // §3.3); inbound they are a protocol error (§3.5), which the codec answers.
      if (connection.direction != Direction::kOutbound || !path.cluster) {
        speaks = Speaks::kHttp1;
        break;
      }
      connection.state = "detect";
      connection.waits_for = "client";
      speaks = co_await sniff_downstream(connection, true);
      break;
    case Kind::kTcp:
    case Kind::kPassthrough: speaks = Speaks::kOpaque; break;
    case Kind::kAuto: {
      auto heard = co_await listen_to_both(state, connection, path.cluster.get());
      speaks = heard.speaks;
      path.leased = std::move(heard.leased);
      break;
    }
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
  if (speaks != Speaks::kNobody) path.kind = speaks == Speaks::kHttp1 ? Path::Kind::kHttp : Path::Kind::kTcp;
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
  {
    Path path = co_await choose_path(state, connection);
    http = path.kind == Path::Kind::kHttp;
    if (path.kind == Path::Kind::kTcp) co_await serve_tcp(state, connection, std::move(path.cluster), std::move(path.leased));
  }
  if (!http) co_return;
  connection.kind = "http";
  connection.state = "idle";
  connection.waits_for = "client";
  HttpContext context{state, connection};
  http::H1Server server(worker, *stream, state.h1_options);
  connection.server = &server;
  co_await server.serve(&serve_request, &context);
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
