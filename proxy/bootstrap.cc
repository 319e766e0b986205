#include "proxy/bootstrap.h"

#include <pthread.h>
#include <signal.h>

#include <cstring>
#include <filesystem>
#include <thread>

#include <fmt/format.h>

#include "base/version.h"
#include "proxy/admin.h"
#include "proxy/gateway_listeners.h"
#include "proxy/interception.h"
#include "proxy/self.h"
#include "proxy/serve.h"

namespace proxy {
namespace {
using namespace std::chrono_literals;
using logs::Component;

// After the drain time what is left is cancelled; frames unwind within a few turns. Longer means a defect, and the process
// ends all the same.
constexpr auto kUnwind = 2s;
constexpr auto kPollEnd = 20ms;

// SIGTERM and SIGINT arrive on a thread of their own, so that no handler runs inside a turn.
class Signals {
 public:
  Signals(net::Worker& main, std::function<void()> ask) {
    sigemptyset(&set_);
    for (const int signal : {SIGTERM, SIGINT, SIGUSR2}) sigaddset(&set_, signal);
    thread_ = std::thread([this, &main, ask = std::move(ask)] {
      for (int signal = 0; sigwait(&set_, &signal) == 0 && signal != SIGUSR2;) main.post([ask] { ask(); });
    });
  }
  ~Signals() {
    pthread_kill(thread_.native_handle(), SIGUSR2);
    thread_.join();
  }
  // Before any thread is started: all of them inherit the mask.
  static void block() {
    sigset_t set;
    sigemptyset(&set);
    for (const int signal : {SIGTERM, SIGINT, SIGUSR2}) sigaddset(&set, signal);
    pthread_sigmask(SIG_BLOCK, &set, nullptr);
    ::signal(SIGPIPE, SIG_IGN);
  }

 private:
  sigset_t set_;
  std::thread thread_;
};

class Bootstrap {
 public:
  explicit Bootstrap(const Options& options);
  int run();

 private:
  bool open(std::vector<std::unique_ptr<net::Listener>>& into, std::span<net::Worker* const> workers, base::SocketAddress at,
            net::Listener::Serve serve, void* context, const char* what);
  bool open_all();
  bool keep_sources();
  void apply(net::Worker& worker, config::SnapshotHandle snapshot, const routing::Endpoints& endpoints);
  void say_what_is_plain() const;
  void on_signal();
  net::Task<> shut_down();
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
  std::vector<std::unique_ptr<net::Listener>> data_, pages_;   // traffic; admin, metrics and health
  std::vector<std::thread> threads_;
  std::atomic<size_t> first_applied_{0};
  bool stopping_ = false;
};

Bootstrap::Bootstrap(const Options& options) : options_(options), shared_(options) {
  for (unsigned i = 0; i < options_.concurrency; ++i) {
    workers_.push_back(std::make_unique<net::Worker>(net::Worker::Options{.index = i}));
    states_.push_back(std::make_unique<WorkerState>(*workers_.back(), shared_, registry_.make_shard()));
  }
  if (options_.gateway) gateway_ = std::make_unique<GatewayListeners>(pointers());
  config::Pipeline::Options pipeline;
  pipeline.roots = options_.config_roots;
  // The rules of the namespace were made before us, so the first answer stands, whatever is written to the Pod later.
  pipeline.self = [this, decided = false](const api::Mesh& mesh) mutable {
    if (!std::exchange(decided, true) && wants_transparent(mesh, options_)) shared_.set_transparent();
    return self_of(mesh, options_);
  };
  pipeline_ = std::make_unique<config::Pipeline>(
      std::move(pipeline), pointers(),
      [this](net::Worker& worker, config::SnapshotHandle snapshot, std::shared_ptr<const routing::Endpoints> endpoints) {
        apply(worker, std::move(snapshot), endpoints ? *endpoints : routing::Endpoints{});
      });
  admin_.reset(new AdminContext{.options = options_, .main = main_, .workers = pointers(), .pipeline = *pipeline_, .registry = registry_,
                                .shared = shared_, .quit = [this] { on_signal(); },
                                .drain_listeners = [this] { for (auto& listener : data_) listener->close(); },
                                .started = std::chrono::steady_clock::now()});
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
    admin_->serving = true;
    logs::info(Component::kMain, "ready, configuration {}", pipeline_->status().digest.substr(0, 12));
  });
}

bool Bootstrap::open(std::vector<std::unique_ptr<net::Listener>>& into, std::span<net::Worker* const> workers, base::SocketAddress at,
                     net::Listener::Serve serve, void* context, const char* what) {
  auto listener = net::Listener::open(workers, at, serve, context, {});
  if (!listener && !at.ip.v4 && at.ip.is_unspecified())   // a kernel without IPv6
    listener = net::Listener::open(workers, {base::Ip::any(true), at.port}, serve, context, {});
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
    fine = open(data_, all, {any, options_.outbound_port}, &serve_outbound, nullptr, "outbound") &&
           open(data_, all, {any, options_.inbound_port}, &serve_inbound, nullptr, "inbound");
  fine = fine && open(pages_, main, options_.admin, &serve_admin, admin, "admin") &&
         open(pages_, first, {any, options_.health_port}, &serve_health, admin, "health") &&
         open(pages_, main, {any, options_.metrics_port}, &serve_metrics, admin, "metrics") &&
         open(pages_, main, {any, options_.agent_port}, &serve_agent, admin, "agent");
  if (fine) for (auto& listener : pages_) listener->start();
  return fine;
}

// TPROXY: the inbound port takes connections to any address. One line and false when it may not.
bool Bootstrap::keep_sources() {
  const auto problem = transparent_problem(*data_[1]);
  if (!problem) return true;
  fmt::print(stderr, "sluice-proxy: {}\n", *problem);
  return false;
}

int Bootstrap::run() {
  if (!open_all()) return 1;
  for (auto& worker : workers_) threads_.emplace_back([w = worker.get()] { w->run(); });
  {
    const Signals signals(main_, [this] { on_signal(); });
    logs::info(Component::kMain, "sluice-proxy {} as {} for {}/{}, {} workers", base::version_line(), options_.gateway ? "gateway" : "sidecar",
               options_.pod_namespace, options_.pod_name, workers_.size());
    say_what_is_plain();
    pipeline_->start();
    main_.run();
  }
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
  if (stopping_) {   // asked twice: somebody is in a hurry
    logs::warn(Component::kMain, "second signal, leaving at once");
    logs::stop();
    std::_Exit(0);
  }
  stopping_ = true;
  main_.spawn(shut_down());
}

uint64_t Bootstrap::open_connections() const {
  uint64_t open = 0;
  for (const auto& state : states_) open += state->counters.connections_active.value();
  return open;
}

// Readiness goes first, traffic is served for the drain time, then what is left is cut (DESIGN, Draining).
net::Task<> Bootstrap::shut_down() {
  admin_->draining = true;
  const auto live = pipeline_->latest();
  const auto drain = live ? live->mesh_config().defaults.termination_drain_duration.value_or(options_.drain) : options_.drain;
  logs::info(Component::kMain, "draining for {} ms, {} connections", drain.count(), open_connections());
  for (auto& state : states_) state->worker.post([s = state.get()] { s->begin_drain(); });
  co_await net::sleep(main_, drain);
  for (auto& listener : data_) listener->close();
  if (gateway_) workers_.front()->post([this] { gateway_->close(); });
  for (auto& state : states_) state->worker.post([s = state.get()] { s->cancel_all(); });
  const auto limit = main_.now() + kUnwind;
  while (open_connections() > 0 && main_.now() < limit) co_await net::sleep(main_, std::chrono::duration_cast<std::chrono::milliseconds>(kPollEnd));
  logs::info(Component::kMain, "drained, {} connections cut", open_connections());
  logs::stop();
  // Threads, pools and snapshots end with the process: nothing outside it depends on their destructors.
  std::_Exit(0);
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
