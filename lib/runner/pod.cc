#include "runner/pod.h"

#include <algorithm>
#include <charconv>
#include <csignal>

#include <fmt/format.h>

#include <sys/wait.h>

#include "runner/http_client.h"

namespace runner {
namespace {

using namespace std::chrono_literals;

constexpr auto kProbeTime = 150ms;  // an answer from the same machine takes a fraction; a hang must not hold up the others
// A container that declares ports but never listens is called ready anyway after this long: it may open them much later.
constexpr auto kListenPatience = 10s;
constexpr auto kLongestBackOff = 30s;

bool restarts_always(const doc::Node& container) {
  const doc::Node* policy = container.find("restartPolicy");
  return policy && policy->text_or() == "Always";
}

std::string how_it_ended(int status) {
  if (WIFEXITED(status) && WEXITSTATUS(status) > 128) return fmt::format("was ended by signal {}", WEXITSTATUS(status) - 128);
  return WIFEXITED(status) ? fmt::format("ended with status {}", WEXITSTATUS(status))
                           : fmt::format("was ended by signal {}", WTERMSIG(status));
}

}  // namespace

Pod::Pod(const PodPlan& plan, const PodFacts& facts, const Surroundings& around, std::string log_folder, Say say,
         std::vector<std::string>& notes)
    : name_(plan.key()),
      log_folder_(std::move(log_folder)),
      program_(facts.program),
      around_(around),
      netns_(Netns::open(around.netns)),
      ip_(facts.ip),
      say_(std::move(say)) {
  const auto add = [&](const char* field, bool init) {
    const doc::Node* containers = plan.pod.at_path(field);
    if (!containers) return;
    for (const doc::Node& container : containers->list) {
      Process process;
      process.spec = container_spec(container, facts, notes);
      process.init = init && !restarts_always(container);
      // A proxy among the plain containers starts before the apps too: nothing of the app's may leave before it listens.
      process.sidecar = (init && !process.init) || process.spec.name == "istio-proxy";
      processes_.push_back(std::move(process));
    }
  };
  add("spec.initContainers", true);
  add("spec.containers", false);
  if (const doc::Node* grace = plan.pod.at_path("spec.terminationGracePeriodSeconds")) {
    long seconds = 30;
    const auto digits = grace->text_or();
    std::from_chars(digits.data(), digits.data() + digits.size(), seconds);
    grace_ = std::chrono::seconds(std::clamp(seconds, 0L, 300L));
  }
}

void Pod::start(Process& process, Clock::time_point now) {
  if (now < process.not_before) return;
  Surroundings around = around_;
  around.log_file = fmt::format("{}/{}.log", log_folder_, process.spec.name);
  process.started = now;
  process.pid = start_container(process.spec, around, program_);
  if (process.pid < 0) {
    say_(fmt::format("{}: container {} cannot be started", name_, process.spec.name));
    process.not_before = now + 1s;
  }
}

bool Pod::is_up(Process& process, Clock::time_point now) {
  if (process.pid < 0) return false;
  if (process.was_ready) return true;
  if (process.spec.name == "istio-proxy") {
    HttpAsk probe;
    probe.to = {base::Ip::loopback(true), 15021};
    probe.path = "/healthz/ready";
    probe.within = kProbeTime;
    const auto answer = ask(netns_, probe);
    process.was_ready = answer && answer->status == 200;
  } else {
    process.was_ready = std::all_of(process.spec.ports.begin(), process.spec.ports.end(), [this](uint16_t port) {
      return accepts(netns_, {base::Ip::loopback(true), port}, kProbeTime) || accepts(netns_, {ip_.v4, port}, kProbeTime);
    });
    if (!process.was_ready && now - process.started > kListenPatience) {
      say_(fmt::format("{}: container {} does not listen on the ports it declares; taken for ready", name_, process.spec.name));
      process.was_ready = true;
    }
  }
  return process.was_ready;
}

void Pod::tick_init(Clock::time_point now) {
  for (Process& process : processes_) {
    const bool first = process.init || process.sidecar;
    if (!first || process.done) continue;
    if (process.pid < 0) start(process, now);
    if (process.init) return;  // one at a time, each to its end
    if (!is_up(process, now)) return;
  }
  phase_ = Phase::kApps;
}

void Pod::tick_apps(Clock::time_point now) {
  bool up = true;
  for (Process& process : processes_) {
    if (process.init) continue;
    if (process.pid < 0) start(process, now);
    up &= is_up(process, now);
  }
  if (phase_ == Phase::kApps && up) phase_ = Phase::kRunning;
  ready_ = up;
}

void Pod::tick_stopping(Clock::time_point now) {
  if (!any_running()) {
    phase_ = Phase::kGone;
    return;
  }
  if (!terminated_ && now >= terminate_at_) {
    terminated_ = true;
    for (Process& process : processes_)
      if (process.pid > 0 && !process.sidecar) ::kill(process.pid, SIGTERM);
  }
  // The proxy goes last, so that the app's own end has a network (native sidecars do the same).
  const bool apps_left = std::any_of(processes_.begin(), processes_.end(), [](const Process& p) { return p.pid > 0 && !p.sidecar; });
  if (terminated_ && !apps_left)
    for (Process& process : processes_)
      if (process.pid > 0 && !process.done) {
        process.done = true;
        ::kill(process.pid, SIGTERM);
      }
  if (now >= kill_at_) signal_all(SIGKILL);
}

void Pod::tick(Clock::time_point now) {
  switch (phase_) {
    case Phase::kInit:
      return tick_init(now);
    case Phase::kApps:
    case Phase::kRunning:
      return tick_apps(now);
    case Phase::kStopping:
      return tick_stopping(now);
    case Phase::kGone:
      return;
  }
}

void Pod::reap(Clock::time_point now) {
  int status = 0;
  for (Process& process : processes_)
    if (process.pid > 0 && ::waitpid(process.pid, &status, WNOHANG) == process.pid) ended(process, status, now);
}

void Pod::ended(Process& process, int status, Clock::time_point now) {
  process.pid = -1;
  process.was_ready = false;
  if (phase_ == Phase::kStopping || phase_ == Phase::kGone) return;
  if (process.init && WIFEXITED(status) && WEXITSTATUS(status) == 0) {
    process.done = true;
    return;
  }
  const auto back_off = std::min<std::chrono::milliseconds>(500ms * (1 << std::min(process.restarts, 6)), kLongestBackOff);
  ++process.restarts;
  process.not_before = now + back_off;
  say_(fmt::format("{}: container {} {}; again in {} ms; its output: {}/{}.log", name_, process.spec.name, how_it_ended(status),
                   back_off.count(), log_folder_, process.spec.name));
}

void Pod::stop(Clock::time_point now, std::chrono::milliseconds first_wait) {
  if (phase_ == Phase::kStopping || phase_ == Phase::kGone) return;
  phase_ = Phase::kStopping;
  for (Process& process : processes_) process.done = false;
  terminate_at_ = now + first_wait;
  kill_at_ = terminate_at_ + grace_;
}

void Pod::kill_all() {
  signal_all(SIGKILL);
  phase_ = Phase::kGone;
}

void Pod::wait_all() {
  for (Process& process : processes_) {
    if (process.pid > 0) ::waitpid(process.pid, nullptr, 0);
    process.pid = -1;
  }
}

bool Pod::any_running() const {
  return std::any_of(processes_.begin(), processes_.end(), [](const Process& p) { return p.pid > 0; });
}

void Pod::signal_all(int signal) {
  for (const Process& process : processes_)
    if (process.pid > 0) ::kill(process.pid, signal);
}

}  // namespace runner
