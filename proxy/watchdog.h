#pragma once

#include <sys/types.h>

#include <chrono>
#include <span>
#include <vector>

#include "net/worker.h"
#include "stats/registry.h"

namespace proxy {

// Notices workers that stay in one turn for more than a second: everything they serve waits that long. Looks from outside, at
// what Worker lets any thread read, so a worker that never comes back is seen too. It reports and does nothing else: killing
// would turn a slow disk or a debugger into an outage.
class Watchdog {
 public:
  // The workers outlive it; the shard is written by look() only.
  Watchdog(std::span<net::Worker* const> workers, stats::Shard& shard);
  // The thread that runs this worker: its state in /proc tells a loop from a blocked call.
  void runs_on(size_t worker, pid_t thread) noexcept { watched_[worker].thread = thread; }
  // One look. A turn is stuck when two looks have met it and it is older than a second at the second: a process that was
  // stopped and goes on is no news. Each stuck turn is one line in the log and one count; its end is a line too.
  void look(std::chrono::steady_clock::time_point now);

 private:
  struct Watched {
    net::Worker* worker;
    stats::Cell* stuck;
    pid_t thread = 0;
    uint64_t turn = 0;                                        // the turn of the last look …
    std::chrono::steady_clock::time_point since{};            // … when it began; epoch: it waited for events
    bool reported = false;
  };
  void report(Watched& watched, std::chrono::steady_clock::time_point now);
  std::vector<Watched> watched_;
};

}  // namespace proxy
