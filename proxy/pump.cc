#include "proxy/pump.h"

#include <algorithm>
#include <vector>

#include <fmt/format.h>

#include "proxy/headers.h"
#include "proxy/local_reply.h"
#include "proxy/request_log.h"

namespace proxy {
namespace {
using base::Detail;
using namespace std::chrono_literals;

// A client that shut down its sending side may still read; after that long it counts as gone (flag DC).
constexpr auto kAfterFin = 500ms;
// Istio: VirtualService.http.retries.backoff, base 25 ms, cap ten times that, fully jittered.
constexpr auto kBackoffBase = 25ms;
constexpr Error kClientGone{.code = base::Code::kReset, .origin = base::Origin::kDownstream, .detail = Detail::kDownstreamDisconnect};
constexpr Error kTimedOut{.code = base::Code::kTimeout, .detail = Detail::kResponseTimeout};
constexpr Error kTryTimedOut{.code = base::Code::kTimeout, .detail = Detail::kPerTryTimeout};
constexpr Error kAnswered{.code = base::Code::kCancelled};   // the answer is complete, the rest of the upload is not wanted

// One try: a leased exchange, both directions of it, and what came of them.
struct Try {
  Request& r;
  Stopper stopper;
  net::Deadline deadline, per_try;
  std::optional<net::CloseWatch> client;       // from the end of the upload to the end of the answer
  http::UpstreamExchange* exchange = nullptr;
  bool uploaded = false;                       // the whole request is with the kernel
  bool answered = false;                       // a final answer was begun towards the client, ours or upstream's
  std::optional<Error> failure;                // upstream failed before an answer was begun
  bool reused = false;

  explicit Try(Request& request) : r(request), deadline(request.state.worker, stopper), per_try(request.state.worker, stopper) {}
};

bool idempotent(std::string_view method) noexcept {   // RFC 9110 §9.2.2
  return method == "GET" || method == "HEAD" || method == "OPTIONS" || method == "TRACE" || method == "PUT" || method == "DELETE";
}

void upload_done(Try& t) {
  t.uploaded = true;
  t.client.emplace(t.r.exchange.connection(), t.stopper, kClientGone, kAfterFin);
  const auto& plan = **t.r.decision.plan;
  // The clock of the route begins when the request is complete (traffic.md §2.1.2 timeout).
  if (plan.timeout.count() > 0) {
    const auto spent = std::chrono::duration_cast<std::chrono::milliseconds>(t.r.state.worker.now() - t.r.start);
    t.deadline.arm(t.r.attempts > 1 ? std::max(plan.timeout - spent, 1ms) : plan.timeout, kTimedOut);
  }
  if (plan.per_try.count() > 0) t.per_try.arm(plan.per_try, kTryTimedOut);
}

// A request body that breaks: the client left, or sent what is no body. The upstream request must not look complete.
net::Task<> upload_broke(Try& t, Error why) {
  if (why.code == base::Code::kCancelled) co_return;   // we did not want the rest
  t.exchange->cancel(why);
  t.answered = true;
  const bool gone = why.code == base::Code::kReset || why.code == base::Code::kEof;
  Detail detail = why.detail;
  if (detail == Detail::kNone) detail = gone ? Detail::kDownstreamDisconnect : Detail::kHttp1BodyUnfinished;
  t.r.exchange.close_after();
  co_await reply(t.r, detail);
}

// Head and body of a request; the head goes with the first piece when that is there already. Whoever refuses the rest of a
// body may still have answered (413, 401): the other direction reads the answer, or finds that there is none.
net::Task<> upload(Try& t) {
  http::BodySource& body = t.r.exchange.request_body();
  http::Sender& to = t.exchange->request();
  const http::RequestHead* head = &t.r.exchange.request();
  if (!body.ready()) {
    if (!co_await to.head(*head, {}, false)) co_return;
    head = nullptr;
  }
  while (!body.ended()) {
    t.r.connection.waits_for = "client";
    auto piece = co_await body.next();
    if (!piece) {
      co_await upload_broke(t, piece.error());
      co_return;
    }
    const bool trailers = body.ended() && body.trailers();
    const bool end = body.ended() && !trailers;
    Result<> sent;
    if (head) sent = co_await to.head(*head, std::move(*piece), end);
    else if (!piece->empty()) sent = co_await to.body(std::move(*piece), end);
    else if (end) sent = co_await to.finish(nullptr);
    if (sent && trailers) sent = co_await to.finish(body.trailers());
    if (!sent) co_return;
    head = nullptr;
  }
  upload_done(t);
}

// Copies an answer's body. The head has been sent when `head` is null; else it goes with the first piece if that is there.
net::Task<> relay_body(Try& t, http::ResponseHead& head) {
  Request& r = t.r;
  http::BodySource& body = t.exchange->response_body();
  http::Sender& to = r.exchange.response();
  Result<> sent;
  if (body.ended()) {
    sent = co_await to.head(head, {}, true);
  } else if (body.ready()) {
    auto piece = co_await body.next();
    if (!piece) {
      r.note(piece.error().code == base::Code::kProtocol ? Detail::kUpstreamBrokenProtocol : Detail::kUpstreamBroken);
      r.exchange.close_after();
      sent = co_await to.head(head, {}, false);   // what upstream said goes out, and its break right behind it
      r.exchange.abort();
      co_return;
    }
    const bool end = body.ended() && !body.trailers();
    if (piece->empty() && body.trailers()) sent = co_await to.head(head, {}, false);
    else sent = co_await to.head(head, std::move(*piece), end);
    if (sent && body.ended() && !end) sent = co_await to.finish(body.trailers());
  } else {
    sent = co_await to.head(head, {}, false);
  }
  while (sent && !body.ended()) {
    r.connection.waits_for = "upstream";
    auto piece = co_await body.next();
    if (!piece) {
      const Error why = piece.error();
      if (why.detail != Detail::kNone && base::row(why.detail).status == 0) r.note(why.detail);
      else if (why.detail == Detail::kResponseTimeout || why.detail == Detail::kPerTryTimeout) r.note(why.detail);
      else r.note(why.code == base::Code::kProtocol ? Detail::kUpstreamBrokenProtocol : Detail::kUpstreamBroken);
      r.exchange.abort();
      co_return;
    }
    const bool end = body.ended() && !body.trailers();
    if (piece->empty()) sent = co_await to.finish(body.trailers());
    else sent = co_await to.body(std::move(*piece), end);
    if (sent && body.ended() && !end && body.trailers()) sent = co_await to.finish(body.trailers());
  }
  if (!sent) {
    r.note(Detail::kDownstreamDisconnect);
    r.exchange.abort();
  }
}

// A tunnel after 101: bytes both ways until both sides have ended; no route timeout. A break of either side ends both.
void break_tunnel(Try& t) {
  t.exchange->cancel(kClientGone);
  t.r.exchange.cancel(kClientGone);
}
net::Task<> tunnel_copy(Try& t, http::BodySource& from, http::Sender& to) {
  while (!from.ended()) {
    auto piece = co_await from.next();
    Result<> sent = std::unexpected(kClientGone);
    if (piece && piece->empty()) sent = co_await to.finish(nullptr);
    else if (piece) sent = co_await to.body(std::move(*piece), false);
    if (sent) continue;
    break_tunnel(t);
    co_return;
  }
}
net::Task<> tunnel(Try& t, http::ResponseHead& head) {
  t.client.reset();
  t.deadline.disarm();
  t.per_try.disarm();
  t.r.connection.state = "tunnel";
  const auto sent = co_await t.r.exchange.response().head(head, {}, false);
  if (!sent) {
    t.exchange->cancel(kClientGone);
    co_return;
  }
  co_await net::both(tunnel_copy(t, t.r.exchange.request_body(), t.exchange->request()),
                     tunnel_copy(t, t.exchange->response_body(), t.r.exchange.response()));
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
    const auto sent = co_await r.exchange.response().head(**head, {}, false);   // 100, 103: passed on as they come
    if (!sent) {
      head = std::unexpected(kClientGone);
      break;
    }
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

net::Task<Result<>> attempt(Request& r, std::vector<base::SocketAddress>& tried, bool fresh, bool& replayable) {
  Try t(r);
  http::BodySource& body = r.exchange.request_body();
  const bool nothing_sent_needed = body.ended();
  std::optional<base::SocketAddress> picked;
  upstream::PickContext pick;
  pick.already_tried = tried;
  pick.picked = &picked;
  if (r.settings->original_dst) pick.original_dst = r.connection.dst.address;
  r.connection.waits_for = "connect";
  std::optional<net::CloseWatch> client;
  upstream::AcquireCancel wait;
  if (nothing_sent_needed) client.emplace(r.exchange.connection(), wait, kClientGone, kAfterFin);
  auto lease = co_await r.cluster->acquire(pick, wait, r.exchange.arena(), fresh);
  client.reset();
  if (picked) r.upstream_host = picked;
  if (!lease) {
    if (picked) tried.push_back(*picked);
    replayable = false;
    co_return std::unexpected(lease.error());
  }
  r.upstream_host = lease->endpoint().address;
  r.upstream_local = lease->local();
  r.upstream_workload = lease->endpoint().workload;
  t.exchange = &lease->exchange();
  t.stopper.target(t.exchange);
  t.reused = lease->reused();
  co_await exchange_messages(t);
  t.stopper.target(nullptr);
  if (t.answered || !t.failure) co_return Result<>{};
  replayable = t.reused && nothing_sent_needed && t.failure->retry == base::Retry::kIfReused && idempotent(r.method);
  co_return std::unexpected(*t.failure);
}

std::chrono::milliseconds backoff(Request& r) {
  const uint32_t ceiling = std::min<uint32_t>((1u << std::min(r.attempts, 4u)) - 1, 10) * static_cast<uint32_t>(kBackoffBase.count());
  return std::chrono::milliseconds(r.state.random.below(ceiling) + 1);
}

net::Task<> forward(Request& r) {
  std::vector<base::SocketAddress> tried;
  const uint32_t allowed = (*r.decision.plan)->retries;
  uint32_t retried = 0;
  bool fresh = false;
  for (;;) {
    if (!fresh) ++r.attempts;
    r.exchange.request().fields.set(base::FieldId::kEnvoyAttemptCount, r.exchange.request().fields.keep(fmt::to_string(r.attempts)));
    bool replayable = false;
    const auto done = co_await attempt(r, tried, fresh, replayable);
    if (done) co_return;
    const Error why = done.error();
    if (why.detail == Detail::kDownstreamDisconnect) {
      r.note(why.detail);
      r.exchange.abort();
      co_return;
    }
    if (replayable && !fresh) {   // an idle connection died under us: once more on a new one, no retry of anybody's count
      fresh = true;
      continue;
    }
    fresh = false;
    const bool may = why.retry == base::Retry::kAlways && retried < allowed && !r.exchange.response_started();
    if (may) {
      ++retried;
      net::Sleep pause = net::sleep(r.state.worker, backoff(r));
      net::CloseWatch client = r.exchange.connection().closed(pause, kClientGone, kAfterFin);
      const auto slept = co_await pause;
      if (!slept) {
        r.note(Detail::kDownstreamDisconnect);
        r.exchange.abort();
        co_return;
      }
      r.cluster = r.state.cluster(*r.snapshot, r.decision.cluster);
      if (r.cluster) continue;
    }
    if (why.retry == base::Retry::kAlways && allowed > 0 && retried >= allowed) r.flags.add("URX");
    const Detail detail = why.detail == Detail::kNone ? Detail::kUpstreamConnectFailure : why.detail;
    if (retried > 0 && base::row(detail).body.starts_with("upstream connect error")) {
      // Envoy says so in the body: "…before headers. retried and the latest reset reason: …"
      std::string body(base::row(detail).body);
      if (const auto at = body.find("reset reason:"); at != std::string::npos) body.insert(at, "retried and the latest ");
      co_await reply(r, detail, 0, body);
    } else {
      co_await reply(r, detail);
    }
    co_return;
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
  r.grpc = head.fields.get(base::FieldId::kContentType).starts_with("application/grpc");
  context.connection.state = "request";
  context.state.counters.requests_total.add();
  if (const Error* error = exchange.error()) {
    context.state.counters.refused_requests.add();
    r.request_id = head.fields.get(base::FieldId::kRequestId);
    r.user_agent = head.fields.get(base::FieldId::kUserAgent);
    r.forwarded_for = head.fields.get(base::FieldId::kForwardedFor);
    co_await reply(r, error->detail == Detail::kNone ? Detail::kHttp1Syntax : error->detail);
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
