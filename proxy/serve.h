#pragma once

#include <memory>

#include "net/stream.h"
#include "net/task.h"
#include "net/worker.h"
#include "proxy/worker_state.h"
#include "routing/engine.h"

namespace proxy {

// The way of a connection behind each listener (net::Listener::Serve). Workers carry their WorkerState as context.
net::Task<> serve_outbound(net::Worker& worker, std::unique_ptr<net::Stream> stream, void* unused);
net::Task<> serve_inbound(net::Worker& worker, std::unique_ptr<net::Stream> stream, void* canary);   // a Canary or null
net::Task<> serve_gateway(net::Worker& worker, std::unique_ptr<net::Stream> stream, void* unused);

// Opaque bytes to the cluster with these settings (null: there is none). `leased`: an upstream connection that is open already.
net::Task<> serve_tcp(WorkerState& state, Connection& connection, std::shared_ptr<const base::ClusterSettings> to,
                      std::unique_ptr<upstream::TcpLease> leased);

}  // namespace proxy
