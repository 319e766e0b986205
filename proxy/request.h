#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string_view>

#include "config/pipeline.h"
#include "http/exchange.h"
#include "proxy/connection.h"
#include "proxy/flags.h"
#include "proxy/worker_state.h"
#include "routing/engine.h"
#include "upstream/cluster.h"

namespace proxy {

// What is cancelled when the client leaves or time runs out while a request is being served: it hands the reason on to
// whatever waits. Once an answer has begun that is both sides: the answer may be waiting for a client that does not read.
class Stopper final : public net::Cancellable {
 public:
  void target(net::Cancellable* upstream, net::Cancellable* downstream = nullptr) noexcept {
    upstream_ = upstream;
    downstream_ = downstream;
    if (cancelled()) on_cancel();
  }

 private:
  void on_cancel() noexcept override {
    if (upstream_) upstream_->cancel(why());
    if (downstream_) downstream_->cancel(why());
  }
  net::Cancellable* upstream_ = nullptr;
  net::Cancellable* downstream_ = nullptr;
};

// Everything one HTTP request remembers; lives in the frame that serves it.
struct Request {
  Request(WorkerState& state_in, Connection& connection_in, const routing::Listener* listener_in, http::DownstreamExchange& exchange_in)
      : state(state_in), connection(connection_in), listener(listener_in), exchange(exchange_in), snapshot(state_in.snapshot),
        start(state_in.worker.now()) {}

  // Notes why the answer is what it is: details and flag of the log line. The first details win, flags add up.
  void note(base::Detail why) noexcept {
    if (detail == base::Detail::kNone || detail == base::Detail::kViaUpstream) detail = why;
    flags.add(why);
  }

  WorkerState& state;
  Connection& connection;
  const routing::Listener* listener;               // may be null when the head was refused
  http::DownstreamExchange& exchange;
  config::SnapshotHandle snapshot;
  std::chrono::steady_clock::time_point start;
  // When the request was complete: the route's timeout counts from here, over all tries (traffic.md §2.1.2 timeout).
  std::optional<std::chrono::steady_clock::time_point> complete;
  routing::Decision decision;
  upstream::Cluster* cluster = nullptr;
  const base::ClusterSettings* settings = nullptr; // of the cluster, from the snapshot

  uint32_t attempts = 0;
  std::optional<upstream::RetryPlace> retrying;    // while a try after the first one has no answer
  uint16_t status = 0;                             // 0: no final head was sent
  Flags flags;
  uint16_t sys = 0;                                // errno of the connect that failed last
  base::Detail detail = base::Detail::kNone;
  std::optional<base::SocketAddress> upstream_host, upstream_local;
  std::shared_ptr<const base::WorkloadInfo> upstream_workload;
  std::optional<base::Fields> response_fields;     // of the final head, for the log
  int64_t upstream_ms = -1;                        // x-envoy-upstream-service-time
  std::string_view request_id, user_agent, forwarded_for, authority, method, path;   // as they came, for the log
  http::Version version = http::Version::kHttp11;
  bool grpc = false;
};

}  // namespace proxy
