#pragma once

#include <chrono>
#include <cstdint>
#include <memory>

#include "http/exchange.h"
#include "net/stream.h"
#include "net/task.h"
#include "net/worker.h"

namespace http {

enum class PathMode : uint8_t { kNone, kBase, kMergeSlashes, kDecodeAndMergeSlashes };

struct Limits {
  size_t head_bytes = 60 * 1024;                       // Envoy's max_request_headers_kb
  size_t fields = 100;
  size_t chunk_line = 16 * 1024, chunk_extensions = 16 * 1024;
  std::chrono::milliseconds head_time{15'000};         // from the first byte of a request to the end of its head
  std::chrono::milliseconds idle_time{3'600'000};      // between requests
  // How slowly the peer may send a body before the final answer begins: counted while we wait for it and never while our own
  // side is slow. 0: as slowly as it likes. The rate is an average over 30 s that began with a byte.
  std::chrono::milliseconds body_idle_time{0};
  size_t body_bytes_per_second = 0;
};
struct H1Options {
  Limits limits;
  PathMode path = PathMode::kBase;
  bool http10 = false;                                 // accept HTTP/1.0 (PILOT_HTTP10)
  bool preserve_case = false;                          // answers keep the spelling upstream used (preserveHttp1HeaderCase)
  bool secure = false;                                 // the connection is TLS: scheme https
};

// Serves HTTP/1 on one connection: reads heads (guard H1–H20, llhttp strict for heads only), makes a DownstreamExchange of
// each request, one at a time, pipelined ones in order, and hands it to `handle`, which must have sent a complete answer or
// aborted when it returns. Unread request body is drained up to a limit or the connection closes. A refused head goes to
// `handle` too, with exchange.error() set, so that there is one place that makes local replies and log lines.
class H1Server {
 public:
  using Handle = net::Task<> (*)(DownstreamExchange& exchange, void* context);
  H1Server(net::Worker& worker, net::Stream& stream, const H1Options& options);   // all outlive it
  ~H1Server();
  // Returns when the connection is to be closed. An idle connection holds this one frame and no buffer. `head_spent`: so much of
  // the time for the first head is over, because somebody looked at its first bytes and put them back.
  net::Task<> serve(Handle handle, void* context, std::chrono::milliseconds head_spent = {});
  // Finish the request in hand with `Connection: close`, take no further one; an idle connection ends at once.
  void drain() noexcept;
  bool idle() const noexcept;                          // between requests
  uint64_t requests() const noexcept;

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

struct H1ClientOptions {
  Limits limits;
  bool preserve_case = false;
};

// One upstream HTTP/1 connection: owns its stream, serves one exchange at a time.
class H1Client {
 public:
  H1Client(net::Worker& worker, std::unique_ptr<net::Stream> stream, const H1ClientOptions& options);
  ~H1Client();
  // Begins an exchange; the reference is good until finish(). `arena` holds the answer's head and outlives it.
  UpstreamExchange& begin(std::pmr::memory_resource* arena);
  // Ends the exchange. True: request and answer were complete, both sides keep the connection and nothing unexpected
  // follows, so it may serve again. False: destroy the client (its stream is reset when an exchange was cut short).
  bool finish() noexcept;
  net::Stream& stream() noexcept;
  uint64_t requests() const noexcept;

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace http
