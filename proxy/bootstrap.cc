#include "proxy/bootstrap.h"

#include <pthread.h>
#include <signal.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <mutex>
#include <thread>
#include <utility>

#include <fmt/format.h>

#include "api/resource.h"
#include "base/version.h"
#include "proxy/admin.h"
#include "proxy/canary.h"
#include "proxy/gateway_listeners.h"
#include "proxy/interception.h"
#include "proxy/memory_use.h"
#include "proxy/monitor.h"
#include "proxy/self.h"
#include "proxy/serve.h"

namespace proxy {
namespace {
using namespace std::chrono_literals;
using logs::Component;

// What the last connections of the kernel's queue get to be answered before everything is cancelled.
constexpr auto kLastAnswers = 400ms;
// Cancelled frames unwind within a few turns. Longer means a defect, and the process ends all the same.
constexpr auto kUnwind = 400ms;
// Before Kubernetes kills what is left: the two above, and a second for a log that is read slowly.
constexpr auto kBeforeKill = kLastAnswers + kUnwind + 1s;
constexpr std::chrono::milliseconds kNoEnd = 24h * 365;   // no Pod is known that would have a grace period
constexpr auto kPollEnd = 20ms;
constexpr auto kPollIdle = 100ms;
// Of the admin port. It is for people and probes of this pod; a leak of theirs must not eat our descriptors.
constexpr uint32_t kAdminConnections = 32;

// SIGTERM and SIGINT arrive on a thread of their own, so that no handler runs inside a turn. The first asks main; the second
// leaves from here, whatever main may be waiting for. SIGUSR1 is log rotation, as for Envoy.
struct Signals {
  std::function<void()> ask, leave, reopen;

  // Before any thread is started: all of them inherit the mask, and what arrives until listen() waits.
  static void block() {
    const sigset_t set = ours();
    pthread_sigmask(SIG_BLOCK, &set, nullptr);
    ::signal(SIGPIPE, SIG_IGN);
  }
  // The thread ends with the process.
  void listen() && {
    std::thread([self = std::move(*this)] {
      const sigset_t set = ours();
      bool asked = false;
      for (int signal = 0; sigwait(&set, &signal) == 0;) {
        if (signal == SIGUSR1) self.reopen();
        else if (!std::exchange(asked, true)) self.ask();
        else self.leave();
      }
    }).detach();
  }

 private:
  static sigset_t ours() {
    sigset_t set;
    sigemptyset(&set);
    for (const int signal : {SIGTERM, SIGINT, SIGUSR1}) sigaddset(&set, signal);
    return set;
  }
};

// Until when traffic is served after the first signal.
struct DrainPlan {
  bool until_idle = false;
  std::chrono::milliseconds time{5'000};   // with until_idle: at least
};

// Go's strconv.ParseBool.
bool says_yes(std::string_view text) {
  return text == "true" || text == "True" || text == "TRUE" || text == "1" || text == "t" || text == "T";
}

// Variables of the container go before what the mesh says, for they are nearer. Istio: pilot-agent's environment.
DrainPlan drain_plan(const Options& options, const api::ProxyConfig* mesh) {
  const auto metadata = [mesh](const char* name) -> std::optional<std::string> {
    if (!mesh) return std::nullopt;
    const auto found = mesh->proxy_metadata.find(name);
    return found == mesh->proxy_metadata.end() ? std::nullopt : std::optional(found->second);
  };
  DrainPlan plan;
  if (options.exit_when_idle) plan.until_idle = *options.exit_when_idle;
  else if (const auto said = metadata("EXIT_ON_ZERO_ACTIVE_CONNECTIONS")) plan.until_idle = says_yes(*said);
  if (plan.until_idle) {
    if (options.minimum_drain) plan.time = *options.minimum_drain;
    else if (const auto said = metadata("MINIMUM_DRAIN_DURATION")) plan.time = api::parse_duration(*said).value_or(plan.time);
  } else if (options.drain) {
    plan.time = *options.drain;
  } else if (mesh && mesh->termination_drain_duration) {
    plan.time = *mesh->termination_drain_duration;
  }
  return plan;
}

class Bootstrap {
 public:
  explicit Bootstrap(const Options& options);
  int run();

 private:
  bool open(std::vector<std::unique_ptr<net::Listener>>& into, std::span<net::Worker* const> workers, base::SocketAddress at,
            net::Listener::Serve serve, void* context, const char* what, const net::Listener::Options& limits = {});
  bool open_all();
  bool keep_sources();
  const char* why_no_canary() const;
  void apply(net::Worker& worker, config::SnapshotHandle snapshot, const routing::Endpoints& endpoints);
  void say_what_is_plain() const;
  void run_worker(size_t number);
  void close_listeners();
  void on_signal();
  net::Task<> shut_down();
  net::Task<> gone(std::chrono::milliseconds within);
  [[noreturn]] void leave(int code);
  net::Listener::Options limits() { return {.max_connections = options_.limits.listener_connections, .tally = &shared_.tally()}; }
  uint64_t open_connections() const;
  std::vector<net::Worker*> pointers() const;

  const Options options_;
  stats::Registry registry_;
  Shared shared_;
  net::Worker main_{net::Worker::Options{.index = 1000}};
  std::vector<std::unique_ptr<net::Worker>> workers_;
  std::vector<std::unique_ptr<WorkerState>> states_;
  std::unique_ptr<GatewayListeners> gateway_;
  std::unique_ptr<config::Pipeline> pipeline_;
  std::unique_ptr<AdminContext> admin_;
  std::unique_ptr<Canary> canary_;                             // a sidecar whose traffic is to be intercepted
  std::vector<net::Worker*> all_;
  std::unique_ptr<Monitor> monitor_;
  std::vector<std::unique_ptr<net::Listener>> data_, pages_;   // traffic; admin, metrics and health
  std::vector<std::thread> threads_;
  std::atomic<size_t> first_applied_{0};
  std::atomic<bool> probe_listed_{true};     // the compiler's thread writes it before the first configuration is handed out
  bool stopping_ = false;
  std::mutex leaving_;                       // taken by who ends the process, and never given back
};

Bootstrap::Bootstrap(const Options& options) : options_(options), shared_(options) {
  for (unsigned i = 0; i < options_.concurrency; ++i) {
    workers_.push_back(std::make_unique<net::Worker>(net::Worker::Options{.index = i}));
    states_.push_back(std::make_unique<WorkerState>(*workers_.back(), shared_, registry_.make_shard()));
  }
  all_ = pointers();
  monitor_ = std::make_unique<Monitor>(main_, all_, shared_, registry_.make_shard(), [groups = CgroupMemory()] { return groups.read(); });
  if (options_.gateway) gateway_ = std::make_unique<GatewayListeners>(all_, limits());
  config::Pipeline::Options pipeline;
  pipeline.roots = options_.config_roots;
  // The rules of the namespace were made before us, so the first answer stands, whatever is written to the Pod later.
  pipeline.self = [this, decided = false](const api::Mesh& mesh) mutable {
    if (!std::exchange(decided, true)) {
      probe_listed_ = lists_inbound(mesh, options_, Canary::kPort);
      if (wants_transparent(mesh, options_)) shared_.set_transparent();
    }
    return self_of(mesh, options_);
  };
  pipeline_ = std::make_unique<config::Pipeline>(
      std::move(pipeline), pointers(),
      [this](net::Worker& worker, config::SnapshotHandle snapshot, std::shared_ptr<const routing::Endpoints> endpoints) {
        apply(worker, std::move(snapshot), endpoints ? *endpoints : routing::Endpoints{});
      });
  admin_.reset(new AdminContext{.options = options_, .main = main_, .workers = pointers(), .pipeline = *pipeline_, .registry = registry_,
                                .shared = shared_, .quit = [this] { on_signal(); },
                                .drain_listeners = [this] { close_listeners(); }, .refresh = [this] { monitor_->refresh(); },
                                .started = std::chrono::steady_clock::now()});
  const auto& mode = options_.interception_mode;
  if (!options_.gateway && mode != "NONE") {
    const auto full = [this] { return data_[1]->connections() >= options_.limits.listener_connections; };
    const auto refused = [this] { return shared_.tally().at_limit.load() + shared_.tally().out_of_descriptors.load(); };
    canary_ = std::make_unique<Canary>(*admin_, registry_.make_shard(), !mode.empty(), Canary::Inbound{full, refused});
  }
}

std::vector<net::Worker*> Bootstrap::pointers() const {
  std::vector<net::Worker*> all;
  for (const auto& worker : workers_) all.push_back(worker.get());
  return all;
}

// On the worker. The first configuration opens the doors: until it is live everywhere connections wait in the kernel.
void Bootstrap::apply(net::Worker& worker, config::SnapshotHandle snapshot, const routing::Endpoints& endpoints) {
  WorkerState& state = state_of(worker);
  const bool first = !state.snapshot;
  if (first && !snapshot) return;
  state.apply(std::move(snapshot), endpoints);
  if (worker.index() == 0 && gateway_ && !state.draining()) gateway_->follow(*state.snapshot);
  if (!first || first_applied_.fetch_add(1) + 1 != workers_.size()) return;
  main_.post([this] {
    if (stopping_) return;
    if (shared_.transparent() && !keep_sources()) {
      logs::stop();
      std::_Exit(1);
    }
    for (auto& listener : data_) listener->start();
    if (canary_) main_.spawn(canary_->watch(why_no_canary()));
    admin_->serving = true;
    logs::info(Component::kMain, "ready, configuration {}", pipeline_->status().digest.substr(0, 12));
  });
}

bool Bootstrap::open(std::vector<std::unique_ptr<net::Listener>>& into, std::span<net::Worker* const> workers, base::SocketAddress at,
                     net::Listener::Serve serve, void* context, const char* what, const net::Listener::Options& limits) {
  auto listener = net::Listener::open(workers, at, serve, context, limits);
  if (!listener && !at.ip.v4 && at.ip.is_unspecified())   // a kernel without IPv6
    listener = net::Listener::open(workers, {base::Ip::any(true), at.port}, serve, context, limits);
  if (!listener) {
    fmt::print(stderr, "sluice-proxy: cannot listen on {} ({}): {}\n", at.text(), what, std::strerror(listener.error().sys));
    return false;
  }
  into.push_back(std::move(*listener));
  return true;
}

bool Bootstrap::open_all() {
  const auto all = pointers();
  net::Worker* const main[] = {&main_};
  net::Worker* const first[] = {workers_.front().get()};
  const auto any = base::Ip::any(false);
  AdminContext* const admin = admin_.get();
  bool fine = true;
  if (!options_.gateway)
    fine = open(data_, all, {any, options_.outbound_port}, &serve_outbound, nullptr, "outbound", limits()) &&
           open(data_, all, {any, options_.inbound_port}, &serve_inbound, canary_.get(), "inbound", limits());
  fine = fine && open(pages_, main, options_.admin, &serve_admin, admin, "admin", {.max_connections = kAdminConnections}) &&
         open(pages_, first, {any, options_.health_port}, &serve_health, admin, "health") &&
         open(pages_, main, {any, options_.metrics_port}, &serve_metrics, admin, "metrics") &&
         open(pages_, main, {any, options_.agent_port}, &serve_agent, admin, "agent");
  if (fine) for (auto& listener : pages_) listener->start();
  return fine;
}

// Why the rules, however right, let our own connections to our own pod pass; null where they do not.
const char* Bootstrap::why_no_canary() const {
  if (options_.interception_probe == false) return "SLUICE_INTERCEPTION_PROBE is false: the rules are made so that they do not capture it";
  if (shared_.transparent())
    return probe_listed_ || options_.interception_probe == true ? nullptr : "TPROXY captures the listed inbound ports only, and 15002 is not one of them";
  // As with an annotation for low ports. The rule for the proxy's user, which is not root, decides before the one for its group.
  return ::geteuid() == 0 ? "rules for REDIRECT leave connections of root within the pod alone" : nullptr;
}

// TPROXY: the inbound port takes connections to any address. One line and false when it may not.
bool Bootstrap::keep_sources() {
  const auto problem = transparent_problem(*data_[1]);
  if (!problem) return true;
  fmt::print(stderr, "sluice-proxy: {}\n", *problem);
  return false;
}

void Bootstrap::run_worker(size_t number) {
  pthread_setname_np(pthread_self(), fmt::format("worker-{}", number).c_str());
  main_.post([this, number, thread = ::gettid()] { monitor_->runs_on(number, thread); });
  all_[number]->run();
}

int Bootstrap::run() {
  if (!open_all()) return 1;
  for (size_t i = 0; i < workers_.size(); ++i) threads_.emplace_back([this, i] { run_worker(i); });
  Signals signals{.ask = [this] { main_.post([this] { on_signal(); }); },
                  .leave =
                      [this] {
                        logs::warn(Component::kMain, "second signal, leaving at once");
                        leave(0);
                      },
                  .reopen = [this] { shared_.reopen_logs(); }};
  std::move(signals).listen();
  logs::info(Component::kMain, "sluice-proxy {} as {} for {}/{}, {} workers", base::version_line(), options_.gateway ? "gateway" : "sidecar",
             options_.pod_namespace, options_.pod_name, workers_.size());
  say_what_is_plain();
  monitor_->start();
  pipeline_->start();
  main_.run();
  return 0;
}

// Users who mounted a certificate, or annotations, believe that it is used: one line each says what happens instead.
void Bootstrap::say_what_is_plain() const {
  std::error_code ignored;
  if (std::filesystem::exists(options_.workload_certs + "/key.pem", ignored))
    logs::warn(Component::kMain, "a workload certificate lies in {}, but TLS is not built yet: all traffic is plaintext", options_.workload_certs);
  else
    logs::info(Component::kMain, "no workload certificate in {}: all traffic is plaintext", options_.workload_certs);
  if (!options_.annotations_file.empty())
    logs::warn(Component::kMain, "--annotations-file {} is not used yet: put proxy.istio.io/config on the Pod in the configuration", options_.annotations_file);
}

void Bootstrap::on_signal() {
  if (std::exchange(stopping_, true)) return;   // POST /quitquitquit after a signal, or twice
  main_.spawn(shut_down());
}

// Writes the logs out, for about a second at most, and ends the process. Threads, pools and snapshots end with it: nothing
// outside depends on their destructors. Any thread; the second who comes waits for the first.
void Bootstrap::leave(int code) {
  leaving_.lock();
  shared_.finish_logs();
  logs::stop();
  std::_Exit(code);
}

void Bootstrap::close_listeners() {
  for (auto& listener : data_) listener->close();
  if (gateway_) workers_.front()->post([this] { gateway_->close(); });
}

uint64_t Bootstrap::open_connections() const {
  uint64_t open = 0;
  for (const auto& state : states_) open += state->counters.connections_active.value();
  return open;
}

// Until no connection is open, for at most this long.
net::Task<> Bootstrap::gone(std::chrono::milliseconds within) {
  const auto limit = main_.now() + within;
  do co_await net::sleep(main_, kPollEnd);
  while (open_connections() > 0 && main_.now() < limit);
}

// Readiness goes first; traffic is served for the drain time, where inbound and gateway answers say that their connection
// ends; then the doors close and what is left is cut (DESIGN, Draining). Whatever is configured, that is over before the Pod's
// grace period: a killed proxy cuts connections too, and loses the last log lines. Before the first configuration there is no traffic.
net::Task<> Bootstrap::shut_down() {
  admin_->draining = true;
  if (!admin_->serving) {
    logs::info(Component::kMain, "asked to end before the first configuration was live");
    leave(0);
  }
  const auto live = pipeline_->latest();
  const DrainPlan plan = drain_plan(options_, live ? &live->mesh_config().defaults : nullptr);
  logs::info(Component::kMain, "draining for {}{} ms, {} connections", plan.until_idle ? "as long as there are connections, at least " : "",
             plan.time.count(), open_connections());
  for (auto& state : states_) state->worker.post([s = state.get()] { s->begin_drain(); });
  const auto grace = live ? live->self().termination_grace : std::nullopt;
  const auto most = grace ? std::max<std::chrono::milliseconds>(*grace - kBeforeKill, 0ms) : kNoEnd;
  const auto began = main_.now();
  co_await net::sleep(main_, std::min(plan.time, most));
  while (plan.until_idle && open_connections() > 0 && main_.now() - began < most) {
    for (auto& state : states_) state->worker.post([s = state.get()] { s->close_idle(); });
    co_await net::sleep(main_, kPollIdle);
  }
  close_listeners();
  for (auto& state : states_) state->worker.post([s = state.get()] { s->close_idle(); });
  co_await gone(kLastAnswers);
  const uint64_t cut = open_connections();
  for (auto& state : states_) state->worker.post([s = state.get()] { s->cancel_all(); });
  co_await gone(kUnwind);
  logs::info(Component::kMain, "drained, {} connections cut", cut);
  leave(0);
}
}  // namespace

int run(const Options& options) {
  Signals::block();
  logs::start(options.log_level, options.log_json);
  net::raise_fd_limit();
  // Never destroyed: listeners and threads may run until the very end.
  auto* const bootstrap = new Bootstrap(options);
  const int code = bootstrap->run();
  logs::stop();
  std::_Exit(code);
}

}  // namespace proxy
