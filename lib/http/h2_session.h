#pragma once

#include <cstdint>
#include <memory>

#include "http/exchange.h"
#include "net/stream.h"
#include "net/task.h"
#include "net/worker.h"

namespace http {

// HTTP/2 over one connection, on nghttp2 (DESIGN: HTTP/2 under pulled bodies). The shape is fixed here so that the pump serves
// both versions: an exchange per stream, the same interfaces as HTTP/1, every stream's handler a task of its own. It is not
// built yet: a connection that begins with the preface is answered with GOAWAY HTTP_1_1_REQUIRED by `refuse_h2`.
struct H2Options {
  uint32_t concurrent_streams = 1024;                  // 100 at the gateway
  size_t header_bytes = 60 * 1024, fields = 100;       // per message, decoded; nghttp2 1.52 has no limit of its own
  uint32_t stream_window = 64 * 1024, connection_window = 1024 * 1024;
};

// Writes the server preface (empty SETTINGS) and GOAWAY with HTTP_1_1_REQUIRED (RFC 9113 §7), then closes lingering. Suspends.
net::Task<> refuse_h2(net::Stream& stream);

}  // namespace http
