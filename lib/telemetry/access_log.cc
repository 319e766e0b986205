#include "telemetry/access_log.h"

#include <algorithm>
#include <utility>

#include "telemetry/access_log_format.h"
#include "telemetry/text.h"

namespace telemetry {
namespace {

using Piece = AccessLogFormat::Piece;
using enum Piece::What;

// traffic.md §4.4: Istio's default; the JSON one has a key for each of its operators.
constexpr std::string_view kIstioText =
    "[%START_TIME%] \"%REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% %PROTOCOL%\" %RESPONSE_CODE% %RESPONSE_FLAGS% "
    "%RESPONSE_CODE_DETAILS% %CONNECTION_TERMINATION_DETAILS% \"%UPSTREAM_TRANSPORT_FAILURE_REASON%\" %BYTES_RECEIVED% "
    "%BYTES_SENT% %DURATION% %RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)% \"%REQ(X-FORWARDED-FOR)%\" \"%REQ(USER-AGENT)%\" "
    "\"%REQ(X-REQUEST-ID)%\" \"%REQ(:AUTHORITY)%\" \"%UPSTREAM_HOST%\" %UPSTREAM_CLUSTER_RAW% %UPSTREAM_LOCAL_ADDRESS% "
    "%DOWNSTREAM_LOCAL_ADDRESS% %DOWNSTREAM_REMOTE_ADDRESS% %REQUESTED_SERVER_NAME% %ROUTE_NAME%\n";

constexpr std::pair<std::string_view, std::string_view> kIstioJson[] = {
    {"start_time", "%START_TIME%"},
    {"route_name", "%ROUTE_NAME%"},
    {"method", "%REQ(:METHOD)%"},
    {"path", "%REQ(X-ENVOY-ORIGINAL-PATH?:PATH)%"},
    {"protocol", "%PROTOCOL%"},
    {"response_code", "%RESPONSE_CODE%"},
    {"response_flags", "%RESPONSE_FLAGS%"},
    {"response_code_details", "%RESPONSE_CODE_DETAILS%"},
    {"connection_termination_details", "%CONNECTION_TERMINATION_DETAILS%"},
    {"bytes_received", "%BYTES_RECEIVED%"},
    {"bytes_sent", "%BYTES_SENT%"},
    {"duration", "%DURATION%"},
    {"upstream_service_time", "%RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)%"},
    {"x_forwarded_for", "%REQ(X-FORWARDED-FOR)%"},
    {"user_agent", "%REQ(USER-AGENT)%"},
    {"request_id", "%REQ(X-REQUEST-ID)%"},
    {"authority", "%REQ(:AUTHORITY)%"},
    {"upstream_host", "%UPSTREAM_HOST%"},
    {"upstream_cluster", "%UPSTREAM_CLUSTER_RAW%"},
    {"upstream_local_address", "%UPSTREAM_LOCAL_ADDRESS%"},
    {"downstream_local_address", "%DOWNSTREAM_LOCAL_ADDRESS%"},
    {"downstream_remote_address", "%DOWNSTREAM_REMOTE_ADDRESS%"},
    {"requested_server_name", "%REQUESTED_SERVER_NAME%"},
    {"upstream_transport_failure_reason", "%UPSTREAM_TRANSPORT_FAILURE_REASON%"},
};

std::string_view field(const base::Fields* fields, const Piece::Name& name) noexcept {
  if (!fields || name.text.empty()) return {};
  return name.id == base::FieldId::kOther ? fields->get(std::string_view(name.text)) : fields->get(name.id);
}

std::string_view request_field(const LogEntry& e, const Piece::Name& name) noexcept {
  switch (name.pseudo) {
    case Piece::Name::Pseudo::kMethod: return e.method;
    case Piece::Name::Pseudo::kPath: return e.path;
    case Piece::Name::Pseudo::kAuthority: return e.authority;
    case Piece::Name::Pseudo::kScheme: return e.scheme;
    case Piece::Name::Pseudo::kOriginalPath: return e.original_path.empty() ? field(e.request, name) : e.original_path;
    case Piece::Name::Pseudo::kNone: break;
  }
  return field(e.request, name);
}

std::string_view text_value(const Piece& piece, const LogEntry& e) noexcept {
  switch (piece.what) {
    case kRequest: {
      const auto value = request_field(e, piece.name);
      return value.empty() ? request_field(e, piece.otherwise) : value;
    }
    case kResponse: {
      const auto value = field(e.response, piece.name);
      return value.empty() ? field(e.response, piece.otherwise) : value;
    }
    case kTrailer: {
      const auto value = field(e.trailers, piece.name);
      return value.empty() ? field(e.trailers, piece.otherwise) : value;
    }
    case kProtocol: return e.protocol;
    case kFlags: return e.flags.empty() ? "-" : e.flags;
    case kDetails: return e.details;
    case kTermination: return e.termination_details;
    case kTransportFailure: return e.transport_failure_reason;
    case kCluster: return e.cluster;
    case kRoute: return e.route_name;
    case kSni: return e.sni;
    case kPeerUri: return e.peer_principal;
    case kConstant: return piece.text;
    default: return {};
  }
}

std::optional<uint64_t> number_value(const Piece& piece, const LogEntry& e) noexcept {
  const auto port = [](const std::optional<base::SocketAddress>& at) { return at ? std::optional<uint64_t>(at->port) : std::nullopt; };
  switch (piece.what) {
    case kCode: return e.response_code;
    case kBytesReceived: return e.bytes_received;
    case kBytesSent: return e.bytes_sent;
    case kDuration: return static_cast<uint64_t>(std::max<int64_t>(e.duration.count(), 0));
    case kAttempts: return e.attempts;
    case kConnectionId: return e.connection_id;
    case kDownstreamLocalPort: return port(e.downstream_local);
    case kDownstreamRemotePort: return port(e.downstream_remote);
    case kUpstreamRemotePort: return port(e.upstream_host);
    case kResponseDuration:
      if (e.response_duration) return static_cast<uint64_t>(std::max<int64_t>(e.response_duration->count(), 0));
      return std::nullopt;
    default: return std::nullopt;
  }
}

const std::optional<base::SocketAddress>* address_value(const Piece& piece, const LogEntry& e) noexcept {
  switch (piece.what) {
    case kUpstreamHost: return &e.upstream_host;
    case kUpstreamLocal: return &e.upstream_local;
    case kDownstreamLocal: return &e.downstream_local;
    case kDownstreamRemote: return &e.downstream_remote;
    case kDownstreamDirectRemote: return &e.downstream_direct_remote;
    default: return nullptr;
  }
}

// Appends the value without quotes; false and nothing appended when it is missing.
bool append_value(std::string& out, const Piece& piece, const LogEntry& e, bool json) {
  if (piece.what == kUnknown) return false;
  if (piece.what == kStartTime) {
    append_time(out, e.start, piece.text);
    return true;
  }
  if (piece.numeric()) {
    const auto number = number_value(piece, e);
    if (number) append_number(out, *number);
    return number.has_value();
  }
  if (const auto* address = address_value(piece, e)) {
    if (!*address) return false;
    if (piece.without_port) append_ip(out, (*address)->ip);
    else append_address(out, **address);
    return true;
  }
  std::string_view text = text_value(piece, e);
  if (text.empty()) return false;
  text = text.substr(0, piece.at_most);
  // The client wrote the SNI, and it stands between blanks: no byte of it may pass for a column of its own.
  if (piece.what == kSni) append_host_name(out, text);
  else if (json) append_json_text(out, text);
  else append_line_text(out, text);
  return true;
}

void append_json_value(std::string& out, const std::vector<Piece>& pieces, const LogEntry& e) {
  if (pieces.size() == 1 && pieces.front().what != kLiteral) {
    const Piece& piece = pieces.front();
    if (piece.numeric()) {
      if (!append_value(out, piece, e, true)) out += "null";
      return;
    }
    const size_t start = out.size();
    out += '"';
    if (append_value(out, piece, e, true)) {
      out += '"';
    } else {
      out.resize(start);
      out += "null";
    }
    return;
  }
  out += '"';
  for (const Piece& piece : pieces) {
    if (piece.what == kLiteral) append_json_text(out, piece.text);
    else if (!append_value(out, piece, e, true)) out += '-';
  }
  out += '"';
}

}  // namespace

struct AccessLogFormat::Value {
  std::string key;                       // `"name":`, escaped
  std::vector<Piece> pieces;
};

AccessLogFormat::AccessLogFormat() = default;
AccessLogFormat::~AccessLogFormat() = default;
AccessLogFormat::AccessLogFormat(AccessLogFormat&&) noexcept = default;
AccessLogFormat& AccessLogFormat::operator=(AccessLogFormat&&) noexcept = default;

AccessLogFormat AccessLogFormat::text(std::string_view format, std::vector<std::string>& problems) {
  AccessLogFormat made;
  std::string line(format);
  if (!line.ends_with('\n')) line += '\n';   // as Istio: a format without its newline would glue all lines together
  made.values_.push_back({{}, compile_format(line, problems)});
  return made;
}

AccessLogFormat AccessLogFormat::json(std::span<const std::pair<std::string, std::string>> fields, std::vector<std::string>& problems) {
  AccessLogFormat made;
  made.json_ = true;
  std::vector<std::pair<std::string, std::string>> sorted(fields.begin(), fields.end());
  std::ranges::sort(sorted);
  for (const auto& [name, format] : sorted) {
    std::string key = made.values_.empty() ? "\"" : ",\"";
    append_json_text(key, name);
    key += "\":";
    made.values_.push_back({std::move(key), compile_format(format, problems)});
  }
  return made;
}

AccessLogFormat AccessLogFormat::istio_text() {
  std::vector<std::string> none;
  return text(kIstioText, none);
}

AccessLogFormat AccessLogFormat::istio_json() {
  std::vector<std::pair<std::string, std::string>> fields(std::begin(kIstioJson), std::end(kIstioJson));
  std::vector<std::string> none;
  return json(fields, none);
}

void AccessLogFormat::append(std::string& out, const LogEntry& entry) const {
  if (json_) {
    out += '{';
    for (const Value& value : values_) {
      out += value.key;
      append_json_value(out, value.pieces, entry);
    }
    out += "}\n";
    return;
  }
  for (const Piece& piece : values_.front().pieces) {
    if (piece.what == kLiteral) out += piece.text;
    else if (!append_value(out, piece, entry, false)) out += '-';
  }
}

}  // namespace telemetry
