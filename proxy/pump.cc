#include "proxy/pump.h"

#include <algorithm>
#include <vector>

#include <fmt/format.h>

#include "proxy/ended_side.h"
#include "proxy/headers.h"
#include "proxy/interception.h"
#include "proxy/local_reply.h"
#include "proxy/request_log.h"
#include "proxy/stream_idle.h"

namespace proxy {
namespace {
using base::Detail;
using namespace std::chrono_literals;

// A FIN does not tell a client that left from one that shut down its sending side and waits. It may still read, so it gets its
// answer as long as it takes bytes of it; when it has taken none for that long, upstream thinking or the client not reading, it
// counts as gone (flag DC). Envoy gives it nothing. The same holds before a 101; a tunnel behind it keeps half-close.
constexpr auto kAfterFin = 500ms;
// Istio: VirtualService.http.retries.backoff, base 25 ms, cap ten times that, fully jittered.
constexpr auto kBackoffBase = 25ms;
constexpr Error kClientGone{.code = base::Code::kReset, .origin = base::Origin::kDownstream, .detail = Detail::kDownstreamDisconnect};
constexpr Error kUpstreamGone{.code = base::Code::kReset, .origin = base::Origin::kUpstream};
constexpr Error kTimedOut{.code = base::Code::kTimeout, .detail = Detail::kResponseTimeout};
constexpr Error kTryTimedOut{.code = base::Code::kTimeout, .detail = Detail::kPerTryTimeout};
constexpr Error kTooManyPending{.code = base::Code::kOverflow, .detail = Detail::kUpstreamOverflow};
constexpr Error kAnswered{.code = base::Code::kCancelled};   // the answer is complete, the rest of the upload is not wanted

// One try: a leased exchange, both directions of it, and what came of them.
struct Try {
  Request& r;
  Stopper stopper;
  net::Deadline deadline, per_try;
  StreamIdle idle;
  std::optional<net::CloseWatch> client;       // while nobody reads from it, up to the end of the answer
  http::UpstreamExchange* exchange = nullptr;
  bool uploaded = false;                       // the whole request is with the kernel
  bool answered = false;                       // a final answer was begun towards the client, ours or upstream's
  bool interim = false;                        // a 1xx is being written: no second write may start beside it
  bool over = false;                           // one side broke and said so; what the other then sees is only the echo
  std::optional<Error> failure;                // upstream failed before an answer was begun

  explicit Try(Request& request)
      : r(request), deadline(request.state.worker, stopper), per_try(request.state.worker, stopper),
        idle(request.state.worker, stopper, request.state.shared.options().limits.stream_idle) {}
  void progress() noexcept { idle.progress(); }   // bytes moved, in either direction
  void client_took() noexcept {
    progress();
    if (client) client->progress();
  }
};

// What is left of the route's timeout; nullopt when there is none or its clock has not begun.
std::optional<std::chrono::milliseconds> time_left(const Request& r) {
  const auto timeout = (*r.decision.plan)->timeout;
  if (timeout.count() <= 0 || !r.complete) return std::nullopt;
  const auto spent = std::chrono::duration_cast<std::chrono::milliseconds>(r.state.worker.now() - *r.complete);
  return std::max(timeout - spent, std::chrono::milliseconds(1));
}

// Bounds a wait in which no byte of the stream can move: the route's time, or the idle time (from the head on, as Envoy's).
void bound(net::Deadline& limit, const Request& r) {
  auto left = time_left(r);
  Error why = kTimedOut;
  if (const auto idle = r.state.shared.options().limits.stream_idle; idle.count() > 0) {
    const auto spent = std::chrono::duration_cast<std::chrono::milliseconds>(r.state.worker.now() - r.start);
    const auto until_idle = std::max(idle - spent, std::chrono::milliseconds(1));
    if (!left || until_idle < *left) {
      left = until_idle;
      why = kStreamIdle;
    }
  }
  if (left) limit.arm(*left, why);
}

// application/grpc and its message formats (+proto, ;charset); grpc-web is another protocol.
bool is_grpc(std::string_view type) noexcept {
  constexpr std::string_view kGrpc = "application/grpc";
  return type.starts_with(kGrpc) && (type.size() == kGrpc.size() || type[kGrpc.size()] == '+' || type[kGrpc.size()] == ';');
}

bool idempotent(std::string_view method) noexcept {   // RFC 9110 §9.2.2
  return method == "GET" || method == "HEAD" || method == "OPTIONS" || method == "TRACE" || method == "PUT" || method == "DELETE";
}

void upload_done(Try& t) {
  Request& r = t.r;
  t.uploaded = true;
  t.client.emplace(r.exchange.connection(), t.stopper, kClientGone, kAfterFin);
  if (!r.complete) r.complete = r.state.worker.now();
  if (const auto left = time_left(r)) t.deadline.arm(*left, kTimedOut);
  const auto per_try = (*r.decision.plan)->per_try;
  if (per_try.count() > 0 && !t.answered) t.per_try.arm(per_try, kTryTimedOut);
}

// A request body that breaks: the client left, or sent what is no body. The upstream request must not look complete.
net::Task<> upload_broke(Try& t, Error why) {
  if (why.code == base::Code::kCancelled || t.over) co_return;   // we did not want the rest, or know already
  t.over = true;
  t.exchange->cancel(why);
  const bool gone = why.code == base::Code::kReset || why.code == base::Code::kEof;
  const Detail detail = gone || why.detail == Detail::kNone ? Detail::kDownstreamDisconnect : why.detail;
  t.r.exchange.close_after();
  if (t.interim) {
    t.answered = true;
    t.r.note(detail);
    t.r.exchange.cancel(why);
    co_return;
  }
  t.answered = true;
  co_await reply(t.r, detail);
}

// Large bodies of known length go from socket to socket inside the kernel once their head is out. Asked for once in a body:
// where no pipe is to be had the bytes are copied.
class Bypass {
 public:
  net::Pipe* pipe(net::Worker& worker, const http::BodySource& from, const http::Sender& to) noexcept {
    if (!asked_ && from.bulk() && to.takes_pipes()) {
      asked_ = true;
      loan_ = worker.lend_pipe();
    }
    return loan_ ? &*loan_ : nullptr;
  }

 private:
  net::PipeLoan loan_;
  bool asked_ = false;
};

// The rest of a write that upstream is slow to take. Nobody reads from the client meanwhile, so that is when its leaving must
// be looked for. A frame of its own, on the slow path only.
net::Task<Result<>> finish_write(Try& t, http::Sender::Send& send) {
  struct Started {   // the operation has begun; only its end is awaited
    http::Sender::Send& send;
    bool await_ready() const noexcept { return false; }
    void await_suspend(std::coroutine_handle<> h) noexcept { send.await_suspend(h); }
    Result<> await_resume() { return send.await_resume(); }
  };
  t.client.emplace(t.r.exchange.connection(), t.stopper, kClientGone, kAfterFin);
  const Result<> sent = co_await Started{send};
  t.client.reset();
  co_return sent;
}

// Head and body of a request; the head goes with the first piece when that is there already. Whoever refuses the rest of a
// body may still have answered (413, 401): the other direction reads the answer, or finds that there is none.
net::Task<> upload(Try& t) {
  http::BodySource& body = t.r.exchange.request_body();
  http::Sender& to = t.exchange->request();
  const http::RequestHead& head = t.r.exchange.request();
  bool head_sent = false;
  Bypass bypass;
  if (!body.ready()) {
    if (!co_await to.head(head, {}, false)) co_return;
    head_sent = true;
  }
  while (!body.ended()) {
    t.r.connection.waits_for = "client";
    net::Pipe* const pipe = bypass.pipe(t.r.state.worker, body, to);
    auto piece = co_await (pipe ? body.next(*pipe) : body.next());
    if (!piece) {
      co_await upload_broke(t, piece.error());
      co_return;
    }
    const bool trailers = body.ended() && body.trailers();
    const bool end = body.ended() && !trailers;
    Result<> sent;
    if (!head_sent || !piece->empty() || end || pipe) {
      http::Sender::Send send = !head_sent ? to.head(head, std::move(*piece), end)
                                : pipe     ? to.body(*pipe, end)
                                           : to.body(std::move(*piece), end);
      head_sent = true;
      if (send.await_ready()) sent = send.await_resume();
      else sent = co_await finish_write(t, send);
    }
    if (sent && trailers) sent = co_await to.finish(body.trailers());
    if (!sent) co_return;
    t.progress();
  }
  upload_done(t);
}

// Upstream's answer broke after it had begun: what the client has must not look complete.
void answer_broke(Try& t, Error why) {
  if (t.over) return;
  t.over = true;
  const Detail detail = why.detail;
  if (detail == Detail::kResponseTimeout || detail == Detail::kPerTryTimeout || detail == Detail::kStreamIdleTimeout ||
      detail == Detail::kDownstreamDisconnect)
    t.r.note(detail);
  else t.r.note(why.code == base::Code::kProtocol ? Detail::kUpstreamBrokenProtocol : Detail::kUpstreamBroken);
  t.r.exchange.abort();
}

// The client does not take its answer: it has gone, or time has run out on it (the route's, or the stream stood still).
void not_taken(Try& t, Error why) {
  if (t.over) return;
  t.over = true;
  const bool late = why.detail == Detail::kResponseTimeout || why.detail == Detail::kStreamIdleTimeout;
  t.r.note(late ? why.detail : Detail::kDownstreamDisconnect);
  t.r.exchange.abort();
}

// Sends the head with the first piece when that is there, alone at once when it is not, and copies the rest.
net::Task<> relay_body(Try& t, http::ResponseHead& head) {
  Request& r = t.r;
  http::BodySource& body = t.exchange->response_body();
  http::Sender& to = r.exchange.response();
  Result<> sent;
  bool head_sent = false;
  Bypass bypass;
  if (body.ended() || !body.ready()) {
    sent = co_await to.head(head, {}, body.ended());
    head_sent = true;
  }
  while (sent && !body.ended()) {
    t.client_took();
    r.connection.waits_for = "upstream";
    net::Pipe* const pipe = bypass.pipe(r.state.worker, body, to);
    auto piece = co_await (pipe ? body.next(*pipe) : body.next());
    if (!piece) {
      if (!head_sent) {   // what upstream said goes out, and its break right behind it
        r.exchange.close_after();
        sent = co_await to.head(head, {}, false);
      }
      answer_broke(t, piece.error());
      co_return;
    }
    const bool trailers = body.ended() && body.trailers();
    const bool end = body.ended() && !trailers;
    r.connection.waits_for = "client";
    if (!head_sent) sent = co_await to.head(head, std::move(*piece), end);
    else if (pipe) sent = co_await to.body(*pipe, end);
    else if (!piece->empty() || end) sent = co_await to.body(std::move(*piece), end);
    head_sent = true;
    if (sent && trailers) sent = co_await to.finish(body.trailers());
  }
  if (!sent) not_taken(t, sent.error());
}

// A tunnel after 101: bytes both ways until both sides have ended; no route timeout. A break of either side ends both; upstream's
// is its way to end and sets no flag (as Envoy's), the client's is DC. Neither side may take the break for a clean end.
struct Upgraded {
  Try& t;
  std::optional<EndedSide> ended;
};
void break_tunnel(Try& t, Error why) {
  if (t.over) return;   // the echo of the other direction's break
  t.over = true;
  if (why.detail == Detail::kDownstreamDisconnect || why.detail == Detail::kDownstreamLocalDisconnect) t.r.note(why.detail);
  t.exchange->cancel(kClientGone);   // its connection is reset: this exchange never became whole
  // Cancelled before: it still gets what upstream had said in full (EndedSide).
  if (!t.r.exchange.connection().cancelled()) t.r.exchange.cancel(kClientGone);
}
// A side that left without an RST and without our hearing of it must not keep the other for ever. Where streams have an idle
// time that bounds it already (Envoy's stream_idle_timeout, off in Istio's sidecars); else it is that of a TCP connection.
void half_closed(Upgraded& tunnel, bool by_client) {
  Try& t = tunnel.t;
  net::Stream& client = t.r.exchange.connection();
  net::Stream& upstream = t.exchange->connection();
  if (tunnel.ended) return tunnel.ended.reset();   // the other one had ended before
  if (t.r.state.shared.options().limits.stream_idle.count() == 0) t.idle.limit(t.r.settings->tcp_idle_timeout);
  if (by_client) tunnel.ended.emplace(client, upstream, t.stopper, kClientGone);
  else tunnel.ended.emplace(upstream, client, t.stopper, kUpstreamGone);
}
net::Task<> tunnel_copy(Upgraded& tunnel, bool from_client) {
  Try& t = tunnel.t;
  http::BodySource& from = from_client ? t.r.exchange.request_body() : t.exchange->response_body();
  http::Sender& to = from_client ? t.exchange->request() : t.r.exchange.response();
  while (!from.ended()) {
    auto piece = co_await from.next();
    Result<> sent;
    if (!piece) sent = std::unexpected(piece.error());
    else if (piece->empty()) sent = co_await to.finish(nullptr);
    else sent = co_await to.body(std::move(*piece), false);
    t.progress();
    if (sent) continue;
    break_tunnel(t, sent.error());
    co_return;
  }
  half_closed(tunnel, from_client);
}
net::Task<> tunnel(Try& t, http::ResponseHead& head) {
  t.deadline.disarm();   // from here on nothing but idleness stops it
  t.r.connection.state = "tunnel";
  const auto sent = co_await t.r.exchange.response().head(head, {}, false);
  t.client.reset();
  if (!sent) {
    not_taken(t, sent.error());
    t.exchange->cancel(kClientGone);
    co_return;
  }
  Upgraded upgraded{t, {}};
  co_await net::both(tunnel_copy(upgraded, true), tunnel_copy(upgraded, false));
  if (t.stopper.cancelled()) t.r.note(t.stopper.why().detail);
}

// The answer is complete and the upload is not: it waits for the client or for upstream, and neither matters any more.
void stop_upload(Try& t) {
  t.exchange->cancel(kAnswered);
  t.r.exchange.cancel(kAnswered);
}

net::Task<> download(Try& t) {
  Request& r = t.r;
  Result<http::ResponseHead*> head;
  for (;;) {
    r.connection.waits_for = "upstream";
    head = co_await t.exchange->read_head();
    if (!head) break;
    const uint16_t status = (*head)->status;
    if (status >= 200 || status == 101) break;
    t.interim = true;
    t.progress();
    t.stopper.target(t.exchange, &r.exchange);   // the client may read nothing
    const auto sent = co_await r.exchange.response().head(**head, {}, false);   // 100, 103: passed on as they come
    t.interim = false;
    if (sent) t.client_took();
    if (!sent) {
      head = std::unexpected(t.stopper.cancelled() ? t.stopper.why() : kClientGone);
      break;
    }
    t.stopper.target(t.exchange);
  }
  if (t.answered) co_return;   // the upload broke and the client has its answer
  if (!head) {
    t.failure = head.error();
    if (t.uploaded) co_return;   // the caller may try again
    // The client is still sending: answer now, and stop reading what it sends.
    r.exchange.close_after();
    t.answered = true;
    const Detail why = t.failure->detail == Detail::kNone ? Detail::kUpstreamTermination : t.failure->detail;
    co_await reply(r, why);
    stop_upload(t);
    co_return;
  }
  t.answered = true;
  t.per_try.disarm();   // a try has succeeded when its answer begins
  r.retrying.reset();
  t.stopper.target(t.exchange, &r.exchange);
  r.status = (*head)->status;
  r.detail = Detail::kViaUpstream;
  r.upstream_ms = std::chrono::duration_cast<std::chrono::milliseconds>(r.state.worker.now() - r.start).count();
  prepare_response(r, **head);
  if (r.status == 101) {
    co_await tunnel(t, **head);
    co_return;
  }
  const bool early = !t.uploaded;
  if (early) r.exchange.close_after();
  co_await relay_body(t, **head);
  r.response_fields.emplace(std::move((*head)->fields));
  if (early && !t.uploaded) stop_upload(t);
}

// Without a body one direction follows the other; with one they run side by side, for an answer may come at any time.
net::Task<> exchange_messages(Try& t) {
  http::RequestHead& head = t.r.exchange.request();
  const bool upgrading = !head.upgrade.empty();
  if (!t.r.exchange.request_body().ended() && !upgrading) {
    co_await net::both(upload(t), download(t));
    co_return;
  }
  co_await t.exchange->request().head(head, {}, !upgrading);   // a failure shows as the absence of an answer
  upload_done(t);
  co_await download(t);
}

// What one try left behind for the next one.
struct Outcome {
  Result<> result;
  bool replay = false;   // an idle connection died under a request that may be repeated
};

// A place in the pool's queue or a new connection: whatever the client or the route's time does meanwhile ends the wait.
net::Task<Result<upstream::Lease>> wait_for_connection(Request& r, const upstream::PickContext& pick, bool fresh) {
  const PendingPlace place(r.state, r.connection.peer);
  if (!place) co_return std::unexpected(kTooManyPending);
  upstream::AcquireCancel wait;
  const net::CloseWatch client(r.exchange.connection(), wait, kClientGone, kAfterFin);
  net::Deadline limit(r.state.worker, wait);
  bound(limit, r);
  auto lease = co_await r.cluster->acquire(pick, wait, r.exchange.arena(), fresh);
  if (!lease) r.state.limits.not_dialled(lease.error(), r.connection.peer);
  co_return lease;
}

net::Task<Outcome> attempt(Request& r, std::vector<base::SocketAddress>& tried, bool fresh) {
  Try t(r);
  const bool bodyless = r.exchange.request_body().ended();
  if (bodyless && !r.complete) r.complete = r.state.worker.now();
  std::optional<base::SocketAddress> picked;
  upstream::PickContext pick;
  pick.already_tried = tried;
  pick.picked = &picked;
  aim(pick, r.connection, *r.settings);
  std::optional<upstream::Lease> lease;
  if (!fresh) {
    if (auto pooled = r.cluster->acquire_idle(pick, r.exchange.arena())) lease.emplace(std::move(*pooled));
  }
  if (!lease) {
    r.connection.waits_for = "connect";
    auto waited = co_await wait_for_connection(r, pick, fresh);
    if (picked) r.upstream_host = picked;
    if (!waited) {
      if (picked) tried.push_back(*picked);
      r.sys = waited.error().sys;
      co_return Outcome{std::unexpected(waited.error())};
    }
    lease.emplace(std::move(*waited));
  }
  r.upstream_host = lease->endpoint().address;
  r.upstream_local = lease->local();
  r.upstream_workload = lease->endpoint().workload;
  t.exchange = &lease->exchange();
  t.stopper.target(t.exchange);
  t.idle.watch(&r.exchange.connection(), &t.exchange->connection());
  t.progress();
  const bool reused = lease->reused();
  co_await exchange_messages(t);
  t.stopper.target(nullptr);
  if (t.answered || !t.failure) co_return Outcome{};
  co_return Outcome{std::unexpected(*t.failure),
                    reused && bodyless && t.failure->retry == base::Retry::kIfReused && idempotent(r.method)};
}

std::chrono::milliseconds backoff(Request& r) {
  const uint32_t ceiling = std::min<uint32_t>((1u << std::min(r.attempts, 4u)) - 1, 10) * static_cast<uint32_t>(kBackoffBase.count());
  return std::chrono::milliseconds(r.state.random.below(ceiling) + 1);
}

// The local reply of a failure that no further try mends. Envoy tells in the body that there were several.
net::Task<> give_up(Request& r, Error why, bool retried) {
  if (why.detail == Detail::kDownstreamDisconnect) {
    r.note(why.detail);
    r.exchange.abort();
    co_return;
  }
  const Detail detail = why.detail == Detail::kNone ? Detail::kUpstreamConnectFailure : why.detail;
  std::string body(base::row(detail).body);
  if (const auto at = body.find("reset reason:"); retried && at != std::string::npos) body.insert(at, "retried and the latest ");
  // 504 once the request is complete: then it is not the client's fault.
  co_await reply(r, detail, detail == Detail::kStreamIdleTimeout && r.complete ? 504 : 0, body);
}

net::Task<> forward(Request& r) {
  std::vector<base::SocketAddress> tried;
  const uint32_t allowed = (*r.decision.plan)->retries;
  uint32_t retried = 0;
  bool fresh = false;
  for (;;) {
    if (!fresh) ++r.attempts;
    base::Fields& fields = r.exchange.request().fields;
    fields.set(base::FieldId::kEnvoyAttemptCount, r.attempts == 1 ? std::string_view("1") : fields.keep(fmt::to_string(r.attempts)));
    const Outcome outcome = co_await attempt(r, tried, fresh);
    if (outcome.result) co_return;
    Error why = outcome.result.error();
    const bool replay = outcome.replay && !fresh;   // once more on a new connection; no retry of anybody's count
    fresh = replay;
    if (!replay) {
      if (why.retry != base::Retry::kAlways || retried >= allowed) {
        if (why.retry == base::Retry::kAlways && allowed > 0) r.flags.add("URX");
        co_await give_up(r, why, retried > 0);
        co_return;
      }
      // Envoy: more retries than the cluster may have at once is no retry, and the flag UO beside the failure's own.
      r.retrying.reset();
      upstream::Cluster* const live = r.state.cluster(*r.snapshot, r.decision.cluster);
      if (live && !r.retrying.emplace(*live)) {
        r.flags.add(Detail::kUpstreamOverflow);
        co_await give_up(r, why, retried > 0);
        co_return;
      }
      ++retried;
      net::Sleep pause(r.state.worker, backoff(r));
      const net::CloseWatch client(r.exchange.connection(), pause, kClientGone, kAfterFin);
      net::Deadline limit(r.state.worker, pause);
      bound(limit, r);
      const auto slept = co_await pause;
      if (!slept) {
        co_await give_up(r, slept.error(), false);
        co_return;
      }
    }
    // The configuration may have taken the cluster away while this request waited.
    r.cluster = r.state.cluster(*r.snapshot, r.decision.cluster);
    if (!r.cluster) {
      co_await reply(r, Detail::kClusterNotFound);
      co_return;
    }
  }
}

// Everything that is decided before an upstream connection is needed; kNone means forward.
struct Verdict {
  Detail detail = Detail::kNone;
  uint16_t status = 0;
};
Verdict decide(Request& r, const HttpContext& context) {
  const http::RequestHead& head = r.exchange.request();
  r.listener = context.listener(*r.snapshot);
  if (!r.listener) return {Detail::kRouteNotFound, 0};
  routing::RequestView view{.method = head.method, .scheme = head.scheme, .authority = head.authority, .path = head.path,
                            .fields = &head.fields, .sni = {}};
  r.decision = r.snapshot->route(*r.listener, view, r.state.random);
  switch (r.decision.kind) {
    case routing::Decision::Kind::kNotFound: return {Detail::kRouteNotFound, 0};
    case routing::Decision::Kind::kDirect: return {Detail::kDirectResponse, r.decision.status};
    case routing::Decision::Kind::kRoute: break;
  }
  if (r.decision.cluster == routing::RoutePlan::kMissing) return {Detail::kClusterNotFound, 0};
  r.settings = r.snapshot->clusters()[r.decision.cluster].get();
  r.cluster = r.state.cluster(*r.snapshot, r.decision.cluster);
  if (!r.cluster) return {Detail::kClusterNotFound, 0};
  return {};
}
}  // namespace

const routing::Listener* HttpContext::listener(const routing::Snapshot& snapshot) const {
  return snapshot.listener_for(connection.direction, connection.dst);
}

net::Task<> serve_request(http::DownstreamExchange& exchange, void* opaque) {
  auto& context = *static_cast<HttpContext*>(opaque);
  Request r(context.state, context.connection, nullptr, exchange);
  const http::RequestHead& head = exchange.request();
  r.method = head.method;
  r.path = head.original_path.empty() ? head.path : head.original_path;
  r.authority = head.authority;
  r.version = head.version;
  r.grpc = is_grpc(head.fields.get(base::FieldId::kContentType));
  context.connection.state = "request";
  context.state.counters.requests_total.add();
  if (const Error* error = exchange.error()) {
    context.state.counters.refused_requests.add();
    r.request_id = head.fields.get(base::FieldId::kRequestId);
    r.user_agent = head.fields.get(base::FieldId::kUserAgent);
    r.forwarded_for = head.fields.get(base::FieldId::kForwardedFor);
    co_await reply(r, error->detail == Detail::kNone ? Detail::kHttp1Syntax : error->detail);
  } else if (context.state.shedding()) {
    prepare_request(r);
    exchange.close_after();
    co_await reply(r, Detail::kOverloadManager);
  } else {
    prepare_request(r);
    const Verdict verdict = decide(r, context);
    if (context.state.draining() && context.connection.direction != routing::Direction::kOutbound) exchange.close_after();
    if (verdict.detail != Detail::kNone) co_await reply(r, verdict.detail, verdict.status);
    else co_await forward(r);
  }
  finish_request(r);
  context.connection.state = "idle";
  context.connection.waits_for = "client";
}

}  // namespace proxy
