#pragma once

#include <string_view>

#include "net/stream.h"

namespace http {

enum class Sniffed : uint8_t { kNeedMore, kTls, kHttp1, kHttp2Preface, kOther };

// So many bytes are never too few: a request line that does not end within them is HTTP/1's to refuse.
inline constexpr size_t kMostSniffed = 64 * 1024;

// Judges the first bytes of a connection while they arrive. kNeedMore: they could still become TLS or HTTP (24 bytes are needed
// for HTTP/2, 5 for a TLS record, a method and a target's first byte for HTTP/1, up to kLeadingBytes of line ends before
// them). HTTP/1.0 request lines are kOther unless `http10`; to tell them apart takes the whole first line (Istio: an undeclared
// port passes them as TCP). Every head that the codec takes is kHttp1, and so is one that it refuses but a more tolerant server
// might serve. The verdict depends on the bytes alone, not on how they were cut into pieces, and never changes.
class Sniffer {
 public:
  explicit Sniffer(bool http10) noexcept : http10_(http10) {}
  // `bytes`: everything since the start; a line that was searched before is not searched again.
  Sniffed look(net::Slice bytes) noexcept;
  // Something other than line ends was seen.
  bool began() const noexcept { return began_; }
  // It was a method and the beginning of a target: HTTP, though the version is still to come.
  bool in_request_line() const noexcept { return in_request_line_; }

 private:
  Sniffed version_of_line(std::string_view bytes, size_t begin) noexcept;
  bool http10_, began_ = false, in_request_line_ = false;
  size_t searched_ = 0;
};
inline Sniffed sniff(net::Slice bytes, bool http10) noexcept { return Sniffer(http10).look(bytes); }

// The SNI of a ClientHello that begins with these bytes; empty when there is none or it is not complete yet (`complete` says).
struct ClientHello {
  bool complete = false, valid = true;
  std::string_view sni;                                // points into the bytes
};
ClientHello client_hello(net::Slice bytes) noexcept;

}  // namespace http
