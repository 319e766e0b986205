#include "proxy/monitor.h"

#include <malloc.h>

#include <utility>

namespace proxy {
namespace {
using namespace std::chrono_literals;

// At 1 Gbit/s a proxy that buffers everything it reads takes 30 MiB in this time: about the gap between 90 % and all of it in
// the sidecars people run (128 MiB and more).
constexpr auto kEvery = 250ms;
constexpr auto kGiveBackEvery = 1s;
}  // namespace

Monitor::Monitor(net::Worker& main, std::span<net::Worker* const> workers, Shared& shared, stats::Shard& shard, Overload::Read memory)
    : Timer(main), workers_(workers), shared_(shared), overload_(std::move(memory), shard), watchdog_(workers, shard),
      log_dropped_(shard.counter("sluice_access_log_dropped_total")),
      at_limit_(shard.counter("sluice_limit_reached_total", {{"limit", "listener_connections"}})),
      out_of_descriptors_(shard.counter("sluice_limit_reached_total", {{"limit", "descriptors"}})) {}

void Monitor::start() { arm(0ms); }

void Monitor::fire() noexcept {
  watchdog_.look(worker().now());
  const bool before = overload_.shedding();
  if (overload_.look() || before) tell_workers(overload_.shedding());
  refresh();
  arm(kEvery);
}

// Again at each look: what was busy the last time may be idle now.
void Monitor::tell_workers(bool shed) {
  for (net::Worker* worker : workers_)
    worker->post([worker, shed] { state_of(*worker).shed(shed); });
  if (shed) give_back_memory();
}

// What was freed stays with the allocator, and the control group goes on counting it: without this the proxy would shed for
// ever. It takes the arenas' locks for milliseconds, which is nothing beside being killed.
void Monitor::give_back_memory() {
  if (worker().now() - gave_back_ < kGiveBackEvery) return;
  gave_back_ = worker().now();
  malloc_trim(0);
}

void Monitor::refresh() {
  log_dropped_.set(shared_.access_log_dropped());
  at_limit_.set(shared_.tally().at_limit.load(std::memory_order_relaxed));
  out_of_descriptors_.set(shared_.tally().out_of_descriptors.load(std::memory_order_relaxed));
}

}  // namespace proxy
