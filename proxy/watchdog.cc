#include "proxy/watchdog.h"

#include <fstream>
#include <string>

#include <fmt/format.h>

#include "log/log.h"

namespace proxy {
namespace {
using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

constexpr auto kStuck = 1s;

// "running" is a loop, "waiting in futex_wait_queue" a blocked call. Empty when the kernel does not tell.
std::string state_of_thread(pid_t thread) {
  if (thread <= 0) return {};
  const std::string folder = fmt::format("/proc/self/task/{}", thread);
  std::ifstream file(folder + "/stat");
  std::string text;
  std::getline(file, text);
  // "TID (NAME) S …": the name may hold anything, parentheses too.
  const auto name_end = text.rfind(')');
  if (name_end == std::string::npos || name_end + 2 >= text.size()) return {};
  const char state = text[name_end + 2];
  std::string where;
  std::ifstream wait(folder + "/wchan");
  std::getline(wait, where);
  if (where == "0") where.clear();
  const char* word = "waiting";
  if (state == 'R') word = "running";
  else if (state == 'D') word = "in an uninterruptible wait";
  else if (state == 'T' || state == 't') word = "stopped";
  return fmt::format(", thread {} is {}{}{}", thread, word, where.empty() ? "" : " in ", where);
}

auto seconds(Clock::duration time) { return std::chrono::duration<double>(time).count(); }
}  // namespace

Watchdog::Watchdog(std::span<net::Worker* const> workers, stats::Shard& shard) {
  for (net::Worker* worker : workers) {
    stats::Cell& stuck = shard.counter("sluice_worker_stuck_total", {{"worker", fmt::to_string(worker->index())}});
    watched_.push_back({.worker = worker, .stuck = &stuck});
  }
}

void Watchdog::look(Clock::time_point now) {
  for (Watched& watched : watched_) {
    const auto since = watched.worker->turn_started();
    const uint64_t turn = watched.worker->turns();
    const bool same = turn == watched.turn && since == watched.since && since != Clock::time_point{};
    if (!same) {
      if (watched.reported)
        logs::warn(logs::Component::kMain, "worker {} goes on; one turn took up to {:.1f} s", watched.worker->index(),
                   seconds(now - watched.since));
      watched.turn = turn;
      watched.since = since;
      watched.reported = false;
    } else if (!watched.reported && now - since > kStuck) {
      report(watched, now);
    }
  }
}

void Watchdog::report(Watched& watched, Clock::time_point now) {
  watched.reported = true;
  watched.stuck->add();
  logs::error(logs::Component::kMain, "worker {} is stuck: in one turn for {:.1f} s, {} connections wait, {} turns before this one{}",
              watched.worker->index(), seconds(now - watched.since), watched.worker->load(), watched.turn, state_of_thread(watched.thread));
}

}  // namespace proxy
