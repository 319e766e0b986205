#include "telemetry/access_log_format.h"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <charconv>
#include <cstdlib>
#include <optional>
#include <utility>

#include <fmt/format.h>

namespace telemetry {
namespace {

using Piece = AccessLogFormat::Piece;
using What = Piece::What;

struct Operator {
  std::string_view name;
  What what;
  bool without_port = false;
};

constexpr Operator kOperators[] = {
    {"START_TIME", What::kStartTime},
    {"REQ", What::kRequest},
    {"REQUEST_HEADER", What::kRequest},
    {"RESP", What::kResponse},
    {"RESPONSE_HEADER", What::kResponse},
    {"TRAILER", What::kTrailer},
    {"RESPONSE_TRAILER", What::kTrailer},
    {"PROTOCOL", What::kProtocol},
    {"RESPONSE_CODE", What::kCode},
    {"RESPONSE_FLAGS", What::kFlags},
    {"RESPONSE_CODE_DETAILS", What::kDetails},
    {"CONNECTION_TERMINATION_DETAILS", What::kTermination},
    {"UPSTREAM_TRANSPORT_FAILURE_REASON", What::kTransportFailure},
    {"BYTES_RECEIVED", What::kBytesReceived},
    {"BYTES_SENT", What::kBytesSent},
    {"DURATION", What::kDuration},
    {"RESPONSE_DURATION", What::kResponseDuration},
    {"UPSTREAM_HOST", What::kUpstreamHost},
    {"UPSTREAM_CLUSTER", What::kCluster},
    {"UPSTREAM_CLUSTER_RAW", What::kCluster},
    {"UPSTREAM_LOCAL_ADDRESS", What::kUpstreamLocal},
    {"UPSTREAM_LOCAL_ADDRESS_WITHOUT_PORT", What::kUpstreamLocal, true},
    {"UPSTREAM_REMOTE_ADDRESS", What::kUpstreamHost},
    {"UPSTREAM_REMOTE_ADDRESS_WITHOUT_PORT", What::kUpstreamHost, true},
    {"UPSTREAM_REMOTE_PORT", What::kUpstreamRemotePort},
    {"UPSTREAM_REQUEST_ATTEMPT_COUNT", What::kAttempts},
    {"DOWNSTREAM_LOCAL_ADDRESS", What::kDownstreamLocal},
    {"DOWNSTREAM_LOCAL_ADDRESS_WITHOUT_PORT", What::kDownstreamLocal, true},
    {"DOWNSTREAM_LOCAL_PORT", What::kDownstreamLocalPort},
    {"DOWNSTREAM_REMOTE_ADDRESS", What::kDownstreamRemote},
    {"DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT", What::kDownstreamRemote, true},
    {"DOWNSTREAM_REMOTE_PORT", What::kDownstreamRemotePort},
    {"DOWNSTREAM_DIRECT_REMOTE_ADDRESS", What::kDownstreamDirectRemote},
    {"DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT", What::kDownstreamDirectRemote, true},
    {"DOWNSTREAM_PEER_URI_SAN", What::kPeerUri},
    {"REQUESTED_SERVER_NAME", What::kSni},
    {"ROUTE_NAME", What::kRoute},
    {"CONNECTION_ID", What::kConnectionId},
    {"HOSTNAME", What::kConstant},
    {"ENVIRONMENT", What::kConstant},
};

// What stands between two percent signs: NAME, (argument), :length.
struct Parsed {
  std::string_view name, argument;
  size_t at_most = ~size_t{0};
  size_t length = 0;   // of the whole, percent signs included
};

std::optional<Parsed> parse_operator(std::string_view text) {
  Parsed parsed;
  size_t at = 1;
  while (at < text.size() && (std::isupper(static_cast<unsigned char>(text[at])) || std::isdigit(static_cast<unsigned char>(text[at])) || text[at] == '_')) ++at;
  parsed.name = text.substr(1, at - 1);
  if (parsed.name.empty()) return std::nullopt;
  if (at < text.size() && text[at] == '(') {
    const size_t close = text.find(')', at);
    if (close == text.npos) return std::nullopt;
    parsed.argument = text.substr(at + 1, close - at - 1);
    at = close + 1;
  }
  if (at < text.size() && text[at] == ':') {
    const auto [end, error] = std::from_chars(text.data() + at + 1, text.data() + text.size(), parsed.at_most);
    if (error != std::errc()) return std::nullopt;
    at = static_cast<size_t>(end - text.data());
  }
  if (at >= text.size() || text[at] != '%') return std::nullopt;
  parsed.length = at + 1;
  return parsed;
}

Piece::Name name_of(std::string_view text) {
  using Pseudo = Piece::Name::Pseudo;
  Piece::Name name;
  name.text = text;
  std::ranges::transform(name.text, name.text.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  name.id = base::field_id(name.text);
  constexpr std::pair<std::string_view, Pseudo> kPseudo[] = {
      {":method", Pseudo::kMethod}, {":path", Pseudo::kPath}, {":authority", Pseudo::kAuthority}, {"host", Pseudo::kAuthority},
      {":scheme", Pseudo::kScheme}, {"x-envoy-original-path", Pseudo::kOriginalPath},
  };
  for (const auto& [known, pseudo] : kPseudo) {
    if (name.text == known) name.pseudo = pseudo;
  }
  return name;
}

std::string host_name() {
  std::array<char, 256> buffer{};
  return gethostname(buffer.data(), buffer.size() - 1) == 0 ? buffer.data() : "";
}

Piece make_piece(const Parsed& parsed, std::vector<std::string>& problems) {
  Piece piece;
  piece.at_most = parsed.at_most;
  const auto known = std::ranges::find(kOperators, parsed.name, &Operator::name);
  if (known == std::end(kOperators)) {
    piece.what = What::kUnknown;
    problems.push_back(fmt::format("%{}% is not supported in access log formats; it prints as missing", parsed.name));
    return piece;
  }
  piece.what = known->what;
  piece.without_port = known->without_port;
  switch (piece.what) {
    case What::kRequest:
    case What::kResponse:
    case What::kTrailer: {
      const size_t question = parsed.argument.find('?');
      piece.name = name_of(parsed.argument.substr(0, question));
      if (question != parsed.argument.npos) piece.otherwise = name_of(parsed.argument.substr(question + 1));
      if (piece.name.text.empty()) problems.push_back(fmt::format("%{}% needs the name of a header in parentheses", parsed.name));
      break;
    }
    case What::kStartTime: piece.text = parsed.argument; break;
    case What::kConstant:
      if (parsed.name == "HOSTNAME") piece.text = host_name();
      else if (const char* value = std::getenv(std::string(parsed.argument).c_str())) piece.text = value;
      break;
    default: break;
  }
  return piece;
}

}  // namespace

std::vector<Piece> compile_format(std::string_view format, std::vector<std::string>& problems) {
  std::vector<Piece> pieces;
  std::string literal;
  const auto end_literal = [&] {
    if (literal.empty()) return;
    pieces.emplace_back().text = std::exchange(literal, {});
  };
  while (!format.empty()) {
    const size_t percent = format.find('%');
    literal += format.substr(0, percent);
    if (percent == format.npos) break;
    format.remove_prefix(percent);
    if (format.starts_with("%%")) {
      literal += '%';
      format.remove_prefix(2);
      continue;
    }
    const auto parsed = parse_operator(format);
    if (!parsed) {
      problems.push_back(fmt::format("no operator begins at \"{}\"; it is kept as text", format.substr(0, 24)));
      literal += '%';
      format.remove_prefix(1);
      continue;
    }
    end_literal();
    pieces.push_back(make_piece(*parsed, problems));
    format.remove_prefix(parsed->length);
  }
  end_literal();
  return pieces;
}

}  // namespace telemetry
