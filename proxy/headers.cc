#include "proxy/headers.h"

#include <fmt/format.h>

namespace proxy {
namespace {
using base::FieldId;
using routing::Direction;

// Control headers that a trusted caller (the app behind its sidecar) may use and a stranger must not.
bool envoy_control(std::string_view name) noexcept {
  if (!name.starts_with("x-envoy-")) return false;
  constexpr std::string_view kNames[] = {
      "x-envoy-max-retries", "x-envoy-retry-on", "x-envoy-retry-grpc-on", "x-envoy-retriable-status-codes",
      "x-envoy-retriable-header-names", "x-envoy-upstream-rq-timeout-ms", "x-envoy-upstream-rq-per-try-timeout-ms",
      "x-envoy-expected-rq-timeout-ms", "x-envoy-hedge-on-per-try-timeout", "x-envoy-upstream-rq-timeout-alt-response",
      "x-envoy-upstream-alt-stat-name", "x-envoy-decorator-operation", "x-envoy-force-trace", "x-envoy-internal",
      "x-envoy-external-address", "x-envoy-ip-tags", "x-envoy-original-path", "x-envoy-original-host", "x-envoy-attempt-count",
      "x-envoy-downstream-service-node", "x-envoy-downstream-service-cluster"};
  for (const auto known : kNames)
    if (name == known) return true;
  return false;
}

void request_id(Request& r, base::Fields& fields) {
  std::array<char, 36> text;
  // At the edge nobody's id is believed: it would let a stranger choose what is sampled and joined in traces.
  if (r.connection.direction == Direction::kGateway || fields.get(FieldId::kRequestId).empty())
    fields.set(FieldId::kRequestId, fields.keep(r.state.uuid(text)));
  r.request_id = fields.get(FieldId::kRequestId);
}

// Several lines of a client become one list: the next hop reads them as one anyway (RFC 9110 §5.3).
std::string_view joined_forwarded_for(base::Fields& fields) {
  const std::string_view first = fields.get(FieldId::kForwardedFor);
  if (fields.count(FieldId::kForwardedFor) < 2) return first;
  std::string all;
  for (const auto& field : fields.all()) {
    if (field.id != FieldId::kForwardedFor) continue;
    if (!all.empty()) all += ',';
    all += field.value;
  }
  return fields.keep(all);
}

// The client as N trusted proxies in front of us tell it: the N-th address from the right. Fewer than N: the list is not
// theirs, so nobody but the peer is believed (Istio: gatewayTopology.numTrustedProxies).
std::string_view trusted_client(std::string_view list, uint32_t trusted, std::string_view peer) {
  for (uint32_t n = 1; !list.empty(); ++n) {
    const auto comma = list.rfind(',');
    std::string_view one = comma == std::string_view::npos ? list : list.substr(comma + 1);
    while (one.starts_with(' ')) one.remove_prefix(1);
    while (one.ends_with(' ')) one.remove_suffix(1);
    if (n == trusted) return base::Ip::parse(one) ? one : peer;
    if (comma == std::string_view::npos) break;
    list = list.substr(0, comma);
  }
  return peer;
}

void forwarded(Request& r, base::Fields& fields, bool secure) {
  const std::string_view scheme = secure ? "https" : "http";
  if (r.connection.direction != Direction::kGateway) {
    if (!fields.find(FieldId::kForwardedProto)) fields.add(FieldId::kForwardedProto, scheme);
    return;
  }
  const uint32_t trusted = r.snapshot->mesh_config().defaults.num_trusted_proxies.value_or(0);
  const std::string& peer = *r.connection.peer_text;   // lives longer than the request
  const std::string_view before = joined_forwarded_for(fields);
  fields.set(FieldId::kEnvoyExternalAddress, trusted > 0 ? fields.keep(trusted_client(before, trusted, peer)) : std::string_view(peer));
  fields.set(FieldId::kForwardedFor, before.empty() ? std::string_view(peer) : fields.keep(fmt::format("{},{}", before, peer)));
  if (trusted == 0 || !fields.find(FieldId::kForwardedProto)) fields.set(FieldId::kForwardedProto, scheme);
}
}  // namespace

std::string_view server_name(Direction direction) noexcept { return direction == Direction::kOutbound ? "envoy" : "istio-envoy"; }

void prepare_request(Request& r) {
  http::RequestHead& head = r.exchange.request();
  base::Fields& fields = head.fields;
  const Direction direction = r.connection.direction;
  if (direction == Direction::kGateway)
    fields.remove_if([](const base::Field& f) { return f.id != FieldId::kRequestId && envoy_control(f.name); });
  fields.remove(FieldId::kForwardedClientCert);        // SANITIZE: without mutual TLS nobody may speak for a certificate
  if (direction == Direction::kInbound) {
    fields.remove(FieldId::kEnvoyDecorator);           // meant for this proxy, consumed
    fields.remove(FieldId::kEnvoyPeerMetadata);
    fields.remove(FieldId::kEnvoyPeerMetadataId);
  }
  request_id(r, fields);
  forwarded(r, fields, r.connection.stream->tls() != nullptr);
  r.forwarded_for = fields.get(FieldId::kForwardedFor);
  r.user_agent = fields.get(FieldId::kUserAgent);
  const auto proto = fields.get(FieldId::kForwardedProto);
  if (proto == "http" || proto == "https") head.scheme = proto;
}

void prepare_response(Request& r, http::ResponseHead& head) {
  base::Fields& fields = head.fields;
  fields.set(FieldId::kServer, server_name(r.connection.direction));
  if (!fields.find(FieldId::kDate)) fields.add(FieldId::kDate, fields.keep(r.state.date()));
  if (r.connection.direction != Direction::kInbound) {
    fields.remove(FieldId::kEnvoyPeerMetadata);
    fields.remove(FieldId::kEnvoyPeerMetadataId);
  }
  if (r.upstream_ms >= 0) {
    char text[20];
    const auto end = fmt::format_to_n(text, sizeof text, "{}", r.upstream_ms).out;
    fields.set(FieldId::kEnvoyUpstreamServiceTime, fields.keep({text, static_cast<size_t>(end - text)}));
  }
}

}  // namespace proxy
