#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "runner/container.h"
#include "runner/netns.h"

namespace runner {

// One running pod: its containers in Kubernetes' order. Driven by tick() and reap() of the supervisor's thread; nothing here
// waits longer than one short probe.
class Pod {
 public:
  using Clock = std::chrono::steady_clock;
  using Say = std::function<void(const std::string&)>;
  // Which step the pod has reached; every later one means that the earlier ones are done.
  enum class Phase : uint8_t { kInit, kApps, kRunning, kStopping, kGone };

  Pod(const PodPlan& plan, const PodFacts& facts, const Surroundings& around, std::string log_folder, Say say,
      std::vector<std::string>& notes);
  void tick(Clock::time_point now);
  void reap(Clock::time_point now);                                        // takes note of processes that ended
  void stop(Clock::time_point now, std::chrono::milliseconds first_wait);  // SIGTERM after `first_wait`, SIGKILL after the grace period
  void kill_all();
  void wait_all();  // blocks until what kill_all ended is gone
  Phase phase() const noexcept { return phase_; }
  bool ready() const noexcept { return phase_ == Phase::kRunning && ready_; }
  const Netns& netns() const noexcept { return netns_; }

 private:
  struct Process {
    ContainerSpec spec;
    bool init = false, sidecar = false;  // sidecar: started before the apps and kept running
    pid_t pid = -1;
    bool done = false;  // init container that ended well
    bool was_ready = false;
    int restarts = 0;
    Clock::time_point not_before{}, started{};
  };
  void ended(Process& process, int status, Clock::time_point now);
  void start(Process& process, Clock::time_point now);
  bool is_up(Process& process, Clock::time_point now);
  bool any_running() const;
  void tick_init(Clock::time_point now);
  void tick_apps(Clock::time_point now);
  void tick_stopping(Clock::time_point now);
  void signal_all(int signal);

  std::string name_, log_folder_, program_;
  Surroundings around_;
  Netns netns_;
  AddressPair ip_;
  Say say_;
  std::vector<Process> processes_;  // init containers first, in order
  Phase phase_ = Phase::kInit;
  bool ready_ = false, terminated_ = false;
  std::chrono::milliseconds grace_{30'000};
  Clock::time_point terminate_at_{}, kill_at_{};
};

}  // namespace runner
