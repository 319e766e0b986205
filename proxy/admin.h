#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "config/pipeline.h"
#include "net/worker.h"
#include "proxy/options.h"
#include "proxy/worker_state.h"
#include "stats/registry.h"

namespace proxy {

// What the admin pages look at. Everything outlives the listeners that serve them.
struct AdminContext {
  const Options& options;
  net::Worker& main;                                  // the worker that serves the pages
  std::vector<net::Worker*> workers;
  config::Pipeline& pipeline;
  stats::Registry& registry;
  Shared& shared;
  std::function<void()> quit;                         // POST /quitquitquit
  std::function<void()> drain_listeners;              // POST /drain_listeners
  std::function<void()> refresh;                      // before a scrape, on main
  std::atomic<bool> serving{false};                   // listeners accept and the first configuration is live everywhere
  std::atomic<bool> draining{false};
  std::atomic<bool> failed_by_hand{false};            // POST /healthcheck/fail
  std::atomic<bool> intercepted{true};                // canary.h
  std::chrono::steady_clock::time_point started{};
  // Any thread.
  bool ready() const noexcept { return serving.load() && !draining.load() && !failed_by_hand.load() && intercepted.load(); }
  const char* state() const noexcept { return draining.load() ? "DRAINING" : serving.load() ? "LIVE" : "INITIALIZING"; }
};

// Serve functions for net::Listener; `context` is the AdminContext.
net::Task<> serve_admin(net::Worker& worker, std::unique_ptr<net::Stream> stream, void* context);     // 15000: everything
net::Task<> serve_metrics(net::Worker& worker, std::unique_ptr<net::Stream> stream, void* context);   // 15090: /stats/prometheus
net::Task<> serve_agent(net::Worker& worker, std::unique_ptr<net::Stream> stream, void* context);     // 15020: health, merged metrics
net::Task<> serve_health(net::Worker& worker, std::unique_ptr<net::Stream> stream, void* context);    // 15021: /healthz/ready

}  // namespace proxy
