#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/fields.h"
#include "telemetry/access_log.h"

// How a format is read; only this room includes it.
namespace telemetry {

struct AccessLogFormat::Piece {
  enum class What : uint8_t {
    kLiteral, kConstant, kUnknown, kStartTime,
    kRequest, kResponse, kTrailer, kProtocol, kFlags, kDetails, kTermination, kTransportFailure, kCluster, kRoute, kSni, kPeerUri,
    kCode, kBytesReceived, kBytesSent, kDuration, kResponseDuration, kAttempts, kConnectionId,
    kDownstreamLocalPort, kDownstreamRemotePort, kUpstreamRemotePort,
    kUpstreamHost, kUpstreamLocal, kDownstreamLocal, kDownstreamRemote, kDownstreamDirectRemote,
  };
  struct Name {
    enum class Pseudo : uint8_t { kNone, kMethod, kPath, kAuthority, kScheme, kOriginalPath } pseudo = Pseudo::kNone;
    base::FieldId id = base::FieldId::kOther;
    std::string text;                    // lower-case; empty: no name
  };
  What what = What::kLiteral;
  bool without_port = false;             // of an address
  size_t at_most = ~size_t{0};           // bytes of the value: %REQ(X):N%
  std::string text;                      // the literal, the constant, the time's format
  Name name, otherwise;                  // %REQ(name?otherwise)%

  bool numeric() const noexcept { return what >= What::kCode && what <= What::kUpstreamRemotePort; }
};

// Operators that cannot be filled in become kUnknown and are named in `problems`; what is no operator stays literal.
std::vector<AccessLogFormat::Piece> compile_format(std::string_view format, std::vector<std::string>& problems);

}  // namespace telemetry
