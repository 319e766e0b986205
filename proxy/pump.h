#pragma once

#include "http/exchange.h"
#include "net/task.h"
#include "proxy/connection.h"
#include "proxy/worker_state.h"
#include "routing/engine.h"

namespace proxy {

// What the pump needs to know of the connection a request came on; outlives the connection's requests.
struct HttpContext {
  WorkerState& state;
  Connection& connection;
  // Looked up again for each request: a snapshot swap must not need a new connection.
  const routing::Listener* listener(const routing::Snapshot& snapshot) const;
};

// Serves one request from its head to its log line: decides, forwards, answers. `context` is an HttpContext.
net::Task<> serve_request(http::DownstreamExchange& exchange, void* context);

}  // namespace proxy
