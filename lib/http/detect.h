#pragma once

#include <string_view>

#include "net/stream.h"

namespace http {

enum class Sniffed : uint8_t { kNeedMore, kTls, kHttp1, kHttp2Preface, kOther };

// What the first bytes of a connection say. kNeedMore: they could still become TLS or HTTP (at most 24 bytes are ever needed
// for HTTP/2, 5 for a TLS record, a method token and a target's first byte for HTTP/1). Pure. HTTP/1.0 request lines are
// kOther unless `http10`, which needs the whole first line (Istio: an undeclared port passes them as TCP).
Sniffed sniff(net::Slice bytes, bool http10) noexcept;

// The SNI of a ClientHello that begins with these bytes; empty when there is none or it is not complete yet (`complete` says).
struct ClientHello {
  bool complete = false, valid = true;
  std::string_view sni;                                // points into the bytes
};
ClientHello client_hello(net::Slice bytes) noexcept;

}  // namespace http
