#pragma once

#include <span>

#include "net/cancel.h"
#include "net/worker.h"
#include "proxy/overload.h"
#include "proxy/watchdog.h"
#include "proxy/worker_state.h"
#include "stats/registry.h"

namespace proxy {

// What main looks at four times a second: memory, and workers that are stuck. Everything here belongs to main.
class Monitor final : private net::Timer {
 public:
  // All outlive it; `shard` is main's own.
  Monitor(net::Worker& main, std::span<net::Worker* const> workers, Shared& shared, stats::Shard& shard, Overload::Read memory);
  void start();
  void runs_on(size_t worker, pid_t thread) noexcept { watchdog_.runs_on(worker, thread); }
  // Brings the figures up to date that are read where they are kept instead of being counted here; before each scrape.
  void refresh();

 private:
  void fire() noexcept override;
  void tell_workers(bool shed);
  void give_back_memory();
  const std::span<net::Worker* const> workers_;
  Shared& shared_;
  Overload overload_;
  Watchdog watchdog_;
  std::chrono::steady_clock::time_point gave_back_{};
  stats::Cell &log_dropped_, &at_limit_, &out_of_descriptors_;
};

}  // namespace proxy
