#include "routing/protocol.h"

#include <algorithm>
#include <array>
#include <optional>
#include <utility>

#include "routing/names.h"

namespace routing {
namespace {
using Row = std::pair<std::string_view, Protocol>;
constexpr std::array kWords{
    Row{"http", Protocol::kHttp},   Row{"http2", Protocol::kHttp2},       Row{"grpc", Protocol::kGrpc},  Row{"grpc-web", Protocol::kGrpcWeb},
    Row{"https", Protocol::kTls},   Row{"tls", Protocol::kTls},           Row{"tcp", Protocol::kTcp},    Row{"mongo", Protocol::kTcp},
    Row{"mysql", Protocol::kTcp},   Row{"redis", Protocol::kTcp},         Row{"udp", Protocol::kUdp},
};
constexpr std::array kAppWords{
    Row{"kubernetes.io/h2c", Protocol::kHttp2}, Row{"kubernetes.io/ws", Protocol::kHttp}, Row{"kubernetes.io/wss", Protocol::kTls},
};

template <size_t N> std::optional<Protocol> look_up(const std::array<Row, N>& rows, std::string_view word) {
  const auto row = std::ranges::find(rows, word, &Row::first);
  return row == rows.end() ? std::nullopt : std::optional(row->second);
}

// Servers on these ports speak first, so waiting for the client's first bytes would wait for ever (SMTP, DNS over TCP, MySQL,
// MongoDB behind some drivers): Istio takes them for TCP.
Protocol undeclared(uint16_t port) noexcept {
  return port == 25 || port == 53 || port == 3306 || port == 27017 ? Protocol::kTcp : Protocol::kAuto;
}
}  // namespace

bool is_http(Protocol p) noexcept {
  return p == Protocol::kHttp || p == Protocol::kHttp2 || p == Protocol::kGrpc || p == Protocol::kGrpcWeb;
}
bool is_opaque(Protocol p) noexcept { return p == Protocol::kTcp || p == Protocol::kTls; }

base::UpstreamProtocol upstream_protocol(Protocol p) noexcept {
  if (p == Protocol::kHttp2 || p == Protocol::kGrpc || p == Protocol::kGrpcWeb) return base::UpstreamProtocol::kHttp2;
  return is_opaque(p) ? base::UpstreamProtocol::kTcp : base::UpstreamProtocol::kHttp1;
}

Protocol protocol_of(const api::ServicePort& port) {
  if (lower_case(port.protocol) == "udp") return Protocol::kUdp;
  const std::string app = lower_case(port.app_protocol);
  if (const auto found = look_up(kWords, app)) return *found;
  if (const auto found = look_up(kAppWords, app)) return *found;
  const std::string name = lower_case(port.name);
  if (name.starts_with("grpc-web")) return Protocol::kGrpcWeb;   // the one name with a '-' of its own
  if (const auto found = look_up(kWords, std::string_view(name).substr(0, name.find('-')))) return *found;
  return undeclared(port.port);
}

Protocol protocol_of_entry(std::string_view protocol, uint16_t number) {
  if (const auto found = look_up(kWords, lower_case(protocol))) return *found;
  return undeclared(number);
}

}  // namespace routing
