#include "proxy/local_reply.h"

#include <fmt/format.h>

#include "proxy/headers.h"
#include "proxy/stream_idle.h"

namespace proxy {
namespace {
using base::FieldId;

// grpc-message is percent-encoded (gRPC over HTTP/2, Responses).
std::string percent_encoded(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (c >= 0x20 && c <= 0x7e && c != '%') out += c;
    else out += fmt::format("%{:02X}", static_cast<unsigned char>(c));
  }
  return out;
}
// How long a client may take nothing of an answer of ours: the idle time of a stream. Where that is off it may hold its
// connection for as long as one that asks for nothing.
std::chrono::milliseconds patience(const Limits& limits) noexcept {
  return limits.stream_idle.count() > 0 ? limits.stream_idle : limits.http.idle_time;
}
}  // namespace

int grpc_status_of(uint16_t http_status) noexcept {
  switch (http_status) {
    case 400: return 13;
    case 401: return 16;
    case 403: return 7;
    case 404: return 12;
    case 429: case 502: case 503: case 504: return 14;
    default: return 2;
  }
}

net::Task<> reply(Request& r, base::Detail why, uint16_t status, std::string_view body) {
  r.note(why);
  const base::DetailRow& row = base::row(why);
  if (status == 0) status = row.status;
  if (body.empty()) body = row.body;
  if (r.exchange.response_started() || r.exchange.cancelled() || status == 0) {
    r.exchange.abort();
    co_return;
  }
  http::ResponseHead head(r.exchange.arena());
  head.status = status;
  if (r.grpc) {
    head.status = 200;
    head.fields.add(FieldId::kContentType, "application/grpc");
    head.fields.add(FieldId::kGrpcStatus, head.fields.keep(fmt::to_string(grpc_status_of(status))));
    if (!body.empty()) head.fields.add("grpc-message", head.fields.keep(percent_encoded(body)));
    body = {};
  }
  if (!body.empty()) {
    head.fields.add(FieldId::kContentLength, head.fields.keep(fmt::to_string(body.size())));
    head.fields.add(FieldId::kContentType, "text/plain");
  } else {
    head.fields.add(FieldId::kContentLength, "0");
  }
  if (why == base::Detail::kUpstreamOverflow) head.fields.add("x-envoy-overloaded", "true");
  r.status = head.status;
  r.upstream_ms = -1;
  prepare_response(r, head);
  const bool no_body = body.empty() || r.method == "HEAD";
  net::Borrowed piece = no_body ? net::Borrowed() : net::Borrowed::of_static(head.fields.keep(body));
  // Nobody else watches: there is no upstream, and the client may have pipelined a thousand requests and read nothing.
  StreamIdle unread(r.state.worker, r.exchange, patience(r.state.shared.options().limits));
  unread.watch(&r.exchange.connection(), nullptr);
  unread.progress();
  const auto sent = co_await r.exchange.response().head(head, std::move(piece), true);
  if (!sent && sent.error().detail == base::Detail::kStreamIdleTimeout) {
    if (r.detail != base::Detail::kStreamIdleTimeout) r.state.limits.hit(base::Detail::kStreamIdleTimeout, r.connection.peer);
    r.note(base::Detail::kStreamIdleTimeout);
  } else if (!sent) {
    r.note(base::Detail::kDownstreamDisconnect);
  }
  r.response_fields.emplace(std::move(head.fields));
}

}  // namespace proxy
