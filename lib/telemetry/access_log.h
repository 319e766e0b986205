#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/fields.h"
#include "base/ip.h"

namespace telemetry {

// Everything one line may say about a request or a TCP connection. The caller fills in what it knows; what is empty or
// absent prints as missing. Views and pointers are only looked at during append().
struct LogEntry {
  std::chrono::system_clock::time_point start{};
  std::chrono::milliseconds duration{0};
  std::optional<std::chrono::milliseconds> response_duration{};   // until the first byte from upstream
  std::string_view method{}, scheme{}, authority{};
  std::string_view path{};               // as it went upstream
  std::string_view original_path{};      // before a rewrite or normalisation; empty: the same as `path`
  std::string_view protocol{};           // HTTP/1.1; empty for TCP
  uint16_t response_code = 0;            // 0: none was sent
  std::string_view flags{};              // "UF,URX"; empty: none
  std::string_view details{};            // RESPONSE_CODE_DETAILS
  std::string_view termination_details{};
  std::string_view transport_failure_reason{};
  uint64_t bytes_received = 0, bytes_sent = 0;   // of bodies; of the connection for TCP
  std::string_view cluster{}, route_name{}, sni{};
  std::string_view peer_principal{};     // SPIFFE id of the downstream certificate
  std::optional<base::SocketAddress> upstream_host{}, upstream_local{}, downstream_local{}, downstream_remote{}, downstream_direct_remote{};
  uint32_t attempts = 0;
  uint64_t connection_id = 0;
  const base::Fields* request = nullptr;    // %REQ(X)%: x-forwarded-for, user-agent, x-request-id and the rest
  const base::Fields* response = nullptr;   // %RESP(X)%: x-envoy-upstream-service-time and the rest
  const base::Fields* trailers = nullptr;   // %TRAILER(X)%
};

// One access-log format, compiled once and shared by all workers (immutable). Istio: MeshConfig.accessLogFormat and
// accessLogEncoding; operators are Envoy's command operators.
class AccessLogFormat {
 public:
  static AccessLogFormat istio_text();   // traffic.md §4.4
  static AccessLogFormat istio_json();
  // Operators that this proxy cannot fill in print as missing; each is named once in `problems` (one sentence each). A format
  // that cannot be read (an unclosed operator) is kept as literal text, and named too.
  static AccessLogFormat text(std::string_view format, std::vector<std::string>& problems);
  // JSON keys with the format of their values; keys are sorted. A value that is one operator keeps its type.
  static AccessLogFormat json(std::span<const std::pair<std::string, std::string>> fields, std::vector<std::string>& problems);

  // Appends one line, newline included. Allocates nothing while `out` has capacity. Whatever stands in the values, the line
  // stays one line and its quotes stay balanced: control bytes, quotes and backslashes are escaped.
  void append(std::string& out, const LogEntry& entry) const;

  struct Piece;                          // literal text or one operator
  ~AccessLogFormat();
  AccessLogFormat(AccessLogFormat&&) noexcept;
  AccessLogFormat& operator=(AccessLogFormat&&) noexcept;

 private:
  struct Value;                          // a key with its pieces; text formats are one value without key
  AccessLogFormat();
  std::vector<Value> values_;
  bool json_ = false;
};

// "1.2.3.4:80" or "[::1]:80" without allocating.
void append_address(std::string& out, const base::SocketAddress& address);

}  // namespace telemetry
