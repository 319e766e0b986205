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

// What is cancelled when the client leaves or time runs out while a request waits upstream: it hands the reason on to
// whatever the request waits for at that moment.
class Stopper final : public net::Cancellable {
 public:
  // Returns the one that was set before; null stops handing on.
  void target(net::Cancellable* next) noexcept {
    target_ = next;
    if (next && cancelled()) next->cancel(why());
  }

 private:
  void on_cancel() noexcept override {
    if (target_) target_->cancel(why());
  }
  net::Cancellable* target_ = nullptr;
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
  routing::Decision decision;
  upstream::Cluster* cluster = nullptr;
  const base::ClusterSettings* settings = nullptr; // of the cluster, from the snapshot

  uint32_t attempts = 0;
  uint16_t status = 0;                             // 0: no final head was sent
  Flags flags;
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
