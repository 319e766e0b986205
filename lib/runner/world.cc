#include "runner/world.h"

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <map>

#include <fmt/format.h>

#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/generated_mark.h"
#include "net/file_watch.h"
#include "runner/addresses.h"
#include "runner/generated.h"
#include "runner/manifests.h"
#include "runner/network.h"
#include "runner/plan.h"
#include "runner/pod.h"

namespace runner {
namespace {

namespace fs = std::filesystem;
using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

constexpr auto kStartingTick = 20ms, kSettledTick = 1'000ms;
// Between leaving the endpoints and SIGTERM: what a preStop sleep is for in a cluster. Neighbours' proxies learn of the change
// within a fraction of it.
constexpr auto kLeaveFirst = 1'000ms;

struct Live {
  PodPlan plan;
  std::string netns;
  unsigned number = 0;  // of its cable
  AddressPair ip;
  std::unique_ptr<Pod> pod;
  bool obsolete = false;  // no longer wanted; goes as soon as its successors are ready
};

std::string why_not_root() { return ::geteuid() == 0 ? "" : "network namespaces need root here: run it with sudo"; }

}  // namespace

struct World::Impl {
  explicit Impl(Options o) : options(std::move(o)), prefix(prefix_of(options.name)), folder(run_folder(options.name)), network(prefix) {}

  Options options;
  std::string prefix, folder;
  Network network;
  AddressPool pod_pool = pod_addresses(), service_pool = service_addresses();
  Plan plan;
  std::map<std::string, Live> pods;            // by namespace/name
  std::vector<std::string> told;               // notes said already
  std::map<std::string, std::string> written;  // files of the generated root and hosts files, as they are on disk
  std::unique_ptr<net::FileWatch> watch;
  int signals = -1, wake = -1, lock = -1;
  sigset_t old_mask{};
  std::atomic<bool> stopping{false};
  std::atomic<bool> files_changed{false};
  unsigned cables = 0;
  bool up = false, told_settled = false;
  mutable std::mutex mutex;
  Record shared;

  void say(const std::string& line) const {
    if (options.say) options.say(line);
  }
  void say_once(const std::string& line) {
    if (std::find(told.begin(), told.end(), line) != told.end()) return;
    told.push_back(line);
    say(line);
  }

  std::string prepare();
  void reload();
  void add(const PodPlan& wanted);
  void publish();
  void write_hosts(const std::vector<PodState>& states, const std::vector<ServiceState>& services);
  std::vector<PodState> pod_states() const;
  std::vector<ServiceState> service_states();
  void reap();
  bool retire(Clock::time_point now);
  bool tick();
  void loop(const std::function<void()>& settled, std::chrono::milliseconds patience);
  void say_who_is_missing(std::chrono::milliseconds patience) const;
  void tear_down();
  Surroundings surroundings(const Live& live) const;
  std::string netns_name(const PodPlan& pod) const;
};

std::string World::Impl::prepare() {
  if (auto why = why_not_root(); !why.empty()) return why;
  std::error_code error;
  if (!fs::is_directory(options.folder, error)) return options.folder + " is not a folder";
  options.folder = fs::canonical(options.folder, error);
  // The lock lies beside the folder, which is removed and made again below.
  fs::create_directories(fs::path(folder).parent_path(), error);
  lock = ::open((folder + ".lock").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (lock < 0) return fmt::format("cannot make {}.lock: {}", folder, std::strerror(errno));
  if (::flock(lock, LOCK_EX | LOCK_NB) != 0) {
    const auto other = read_record(options.name);
    return fmt::format("a world is running already{}: `sluice down` ends it",
                       other ? fmt::format(" (process {}, {})", other->pid, other->folder) : "");
  }
  remove_leftovers(options.name);
  for (const char* sub : {"", "/config", "/generated", "/bin", "/log"}) fs::create_directories(folder + sub, error);
  if (error) return fmt::format("cannot make {}: {}", folder, error.message());
  if (const std::string mark = fmt::format("{}/generated/{}", folder, base::kGeneratedMark); !write_file(mark, ""))
    return fmt::format("cannot write {}: {}", mark, std::strerror(errno));
  shared = {prefix, ::getpid(), start_time(::getpid()), options.folder, folder + "/generated", {}};
  write_record(options.name, shared);
  return {};
}

std::string World::Impl::netns_name(const PodPlan& pod) const {
  return prefix + (pod.name_space == "default" ? "" : pod.name_space + '.') + pod.name;
}

Surroundings World::Impl::surroundings(const Live& live) const {
  Surroundings around;
  around.netns = live.netns;
  around.hosts_file = "/etc/netns/" + live.netns + "/hosts";
  around.resolv_file = "/etc/netns/" + live.netns + "/resolv.conf";
  around.host_name = live.plan.name;
  // The user's folder and the programs may lie where uid 1337 cannot walk to (/root); a bind mount is not walked.
  around.binds = {{options.folder, folder + "/config"}, {fs::path(options.program).parent_path(), folder + "/bin"}};
  around.bin_folder = folder + "/bin";
  return around;
}

void World::Impl::add(const PodPlan& wanted) {
  Live live;
  live.plan = wanted;
  live.netns = netns_name(wanted);
  live.ip = pod_pool.of(wanted.key());
  live.number = ++cables;
  if (auto why = network.add_pod(live.netns, live.ip, live.number); !why.empty()) {
    say(fmt::format("{}: {}", wanted.key(), why));
    network.remove_pod(live.netns, live.ip, live.number);
    return;
  }
  std::error_code error;
  const std::string files = "/etc/netns/" + live.netns, logs = fmt::format("{}/log/{}", folder, wanted.name);
  fs::create_directories(files, error);
  fs::create_directories(logs, error);
  // Nobody answers names here: the hosts file knows them all, and an unknown one fails at once instead of after seconds.
  write_file(
      files + "/resolv.conf",
      fmt::format("nameserver 169.254.1.1\nsearch {}.svc.cluster.local svc.cluster.local cluster.local\noptions timeout:1 attempts:1\n",
                  wanted.name_space));
  pods.emplace(wanted.key(), std::move(live));
}

void World::Impl::reload() {
  doc::File file = read_folder(options.folder);
  for (const auto& problem : file.problems) say_once(doc::line_of(problem));
  Plan next = make_plan(std::move(file.documents), inject::Settings{});
  for (const auto& note : next.notes) say_once(note);
  for (const auto& service : plan.services)
    if (std::none_of(next.services.begin(), next.services.end(), [&](const auto& s) { return s.key() == service.key(); }))
      service_pool.release(service.key());
  plan = std::move(next);
  const auto now = Clock::now();
  for (auto& [key, live] : pods) {
    if (live.pod && live.pod->phase() >= Pod::Phase::kStopping) continue;
    const auto wanted = std::find_if(plan.pods.begin(), plan.pods.end(), [&key](const auto& p) { return p.key() == key; });
    // A Deployment's changed template has another name; a plain Pod with changed contents has to go first.
    const bool same = wanted != plan.pods.end() && *wanted->pod.find("spec") == *live.plan.pod.find("spec");
    if (same) live.plan = *wanted;
    live.obsolete = !same;
    // A plain Pod's successor has the same name and needs the place.
    if (!same && wanted != plan.pods.end() && live.pod) live.pod->stop(now, kLeaveFirst);
  }
  std::vector<std::string> added;
  for (const auto& wanted : plan.pods)
    if (!pods.contains(wanted.key())) {
      add(wanted);
      added.push_back(wanted.key());
    }
  publish();  // a proxy must find its own Pod when it starts
  for (const auto& key : added) {
    const auto at = pods.find(key);
    if (at == pods.end()) continue;
    Live& live = at->second;
    PodFacts facts{&live.plan, live.ip, options.program, folder + "/config:" + folder + "/generated", &plan.config_maps};
    std::vector<std::string> notes;
    live.pod = std::make_unique<Pod>(
        live.plan, facts, surroundings(live), fmt::format("{}/log/{}", folder, live.plan.name),
        [this](const std::string& line) { say(line); }, notes);
    for (const auto& note : notes) say_once(note);
  }
}

std::vector<PodState> World::Impl::pod_states() const {
  std::vector<PodState> states;
  for (const auto& [key, live] : pods) {
    const bool stopping_now = live.pod && live.pod->phase() >= Pod::Phase::kStopping;
    states.push_back({&live.plan, live.ip, live.pod && live.pod->ready(), stopping_now});
  }
  return states;
}

std::vector<ServiceState> World::Impl::service_states() {
  std::vector<ServiceState> states;
  for (const auto& service : plan.services)
    for (const auto& text : service.cluster_ips)
      if (const auto ip = base::Ip::parse(text)) service_pool.reserve(*ip);
  for (const auto& service : plan.services) {
    AddressPair ip = service_pool.of(service.key());
    for (const auto& text : service.cluster_ips)
      if (const auto own = base::Ip::parse(text)) (own->v4 ? ip.v4 : ip.v6) = *own;
    states.push_back({&service, ip});
  }
  return states;
}

void World::Impl::write_hosts(const std::vector<PodState>& states, const std::vector<ServiceState>& services) {
  const auto write = [this](const std::string& netns, const std::string& text) {
    const std::string path = "/etc/netns/" + netns + "/hosts";
    if (written[path] == text) return;
    // In place: it is bind-mounted over /etc/hosts in running pods, and a new file of that name would not reach them.
    const int fd = ::open(path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
    if (fd < 0) return;
    const bool whole = ::write(fd, text.data(), text.size()) == static_cast<ssize_t>(text.size());
    if (whole && ::ftruncate(fd, static_cast<off_t>(text.size())) == 0) written[path] = text;
    ::close(fd);
  };
  for (const auto& state : states) write(pods.at(state.plan->key()).netns, hosts_file(state.plan->name_space, states, services, &state));
  std::error_code error;
  fs::create_directories("/etc/netns/" + network.node_name(), error);
  write(network.node_name(), hosts_file("default", states, services, nullptr));
}

void World::Impl::publish() {
  const auto states = pod_states();
  const auto services = service_states();
  write_hosts(states, services);
  for (const auto& [name, text] : generated_root(states, services)) {
    const std::string path = folder + "/generated/" + name;
    if (written[path] == text) continue;
    if (write_file(path, text))
      written[path] = text;
    else
      say(fmt::format("cannot write {}: {}", path, std::strerror(errno)));
  }
  if (auto why = network.set_rules(kube_proxy_rules(states, services, true), kube_proxy_rules(states, services, false)); !why.empty())
    say_once("cluster IPs work for injected pods only: " + why);
  const std::lock_guard hold(mutex);
  shared.pods.clear();
  for (const auto& [key, live] : pods)
    shared.pods.push_back({live.plan.name_space, live.plan.name, live.netns, std::string(name_of(live.plan.role)), live.plan.workload,
                           live.ip.v4.text(), live.ip.v6.text(), live.pod && live.pod->ready()});
  write_record(options.name, shared);
}

void World::Impl::reap() {
  const auto now = Clock::now();
  for (auto& [key, live] : pods)
    if (live.pod) live.pod->reap(now);
}

// A rolling update: pods of the old template leave when those of the new one are ready. True when one was told to go.
bool World::Impl::retire(Clock::time_point now) {
  bool any = false;
  for (auto& [key, live] : pods) {
    if (!live.obsolete || !live.pod || live.pod->phase() >= Pod::Phase::kStopping) continue;
    const bool waits = std::any_of(pods.begin(), pods.end(), [&live](const auto& other) {
      const Live& o = other.second;
      return !o.obsolete && o.plan.workload == live.plan.workload && !(o.pod && o.pod->ready());
    });
    if (waits) continue;
    live.pod->stop(now, kLeaveFirst);
    any = true;
  }
  return any;
}

// True when every wanted pod is ready and none is on its way out.
bool World::Impl::tick() {
  const auto now = Clock::now();
  bool changed = retire(now), settled = true, gone = false;
  for (auto at = pods.begin(); at != pods.end();) {
    Live& live = at->second;
    const bool before = live.pod && live.pod->ready();
    const auto phase = live.pod ? live.pod->phase() : Pod::Phase::kGone;
    if (live.pod) live.pod->tick(now);
    if (!live.pod || live.pod->phase() == Pod::Phase::kGone) {
      if (told_settled) say(fmt::format("{} is gone", at->first));
      network.remove_pod(live.netns, live.ip, live.number);
      pod_pool.release(at->first);
      written.erase("/etc/netns/" + live.netns + "/hosts");
      at = pods.erase(at);
      changed = gone = true;
      continue;
    }
    if (told_settled && !before && live.pod->ready())
      say(fmt::format("{} is ready at {} and {}", at->first, live.ip.v4.text(), live.ip.v6.text()));
    changed |= before != live.pod->ready() || phase != live.pod->phase();
    settled &= live.pod->ready();
    ++at;
  }
  if (gone) files_changed = true;  // a Pod of the same name may be waiting for its place
  if (changed) publish();
  return settled;
}

void World::Impl::loop(const std::function<void()>& settled, std::chrono::milliseconds patience) {
  const auto give_up = Clock::now() + patience;
  while (!stopping) {
    if (files_changed.exchange(false)) reload();
    const bool all_ready = tick();
    if (all_ready && !told_settled && !files_changed) {
      told_settled = true;
      if (settled) settled();
    }
    if (!told_settled && patience.count() > 0 && Clock::now() > give_up) {
      say_who_is_missing(patience);
      return;
    }
    pollfd fds[2]{{signals, POLLIN, 0}, {wake, POLLIN, 0}};
    const auto pause = all_ready && !files_changed ? kSettledTick : kStartingTick;
    ::poll(fds, 2, static_cast<int>(std::chrono::milliseconds(pause).count()));
    if (fds[1].revents) {
      uint64_t count = 0;
      [[maybe_unused]] const auto got = ::read(wake, &count, sizeof count);
    }
    signalfd_siginfo info{};
    while (::read(signals, &info, sizeof info) == static_cast<ssize_t>(sizeof info))
      if (info.ssi_signo != SIGCHLD) stopping = true;
    reap();
  }
}

// The logs go with the world, so the last line of each is said here.
void World::Impl::say_who_is_missing(std::chrono::milliseconds patience) const {
  for (const auto& [key, live] : pods) {
    if (live.pod && live.pod->ready()) continue;
    say(fmt::format("{} is not ready after {} s", key, patience.count() / 1000));
    std::error_code error;
    for (const auto& entry : fs::directory_iterator(fmt::format("{}/log/{}", folder, live.plan.name), error)) {
      std::ifstream log(entry.path());
      std::string last;
      for (std::string line; std::getline(log, line);)
        if (!line.empty()) last = line;
      if (!last.empty()) say(fmt::format("  {}: {}", entry.path().stem().string(), last));
    }
  }
}

void World::Impl::tear_down() {
  if (!up) return;
  up = false;
  watch.reset();
  for (auto& [key, live] : pods)
    if (live.pod) live.pod->kill_all();
  for (auto& [key, live] : pods)
    if (live.pod) live.pod->wait_all();
  pods.clear();
  remove_leftovers(options.name);
  forget_folder(options.name);
  if (lock >= 0) ::close(lock);
  lock = -1;
}

World::World(Options options) : impl_(std::make_unique<Impl>(std::move(options))) {}

World::~World() {
  impl_->tear_down();
  if (impl_->signals >= 0) {
    ::close(impl_->signals);
    ::close(impl_->wake);
    ::pthread_sigmask(SIG_SETMASK, &impl_->old_mask, nullptr);
  }
}

std::string World::start() {
  Impl& world = *impl_;
  if (auto why = world.prepare(); !why.empty()) return why;
  world.up = true;  // from here on there is something to remove
  sigset_t mask;
  sigemptyset(&mask);
  for (const int signal : {SIGINT, SIGTERM, SIGHUP, SIGCHLD}) sigaddset(&mask, signal);
  ::pthread_sigmask(SIG_BLOCK, &mask, &world.old_mask);
  world.signals = ::signalfd(-1, &mask, SFD_NONBLOCK | SFD_CLOEXEC);
  world.wake = ::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
  if (auto why = world.network.up(); !why.empty()) return why + " (`sluice check` tells what is missing)";
  world.reload();
  if (world.pods.empty()) return fmt::format("{} holds no Pod or Deployment that can run", world.options.folder);
  world.watch = net::FileWatch::open({world.options.folder}, 50, [&world] {
    world.files_changed = true;
    const uint64_t one = 1;
    [[maybe_unused]] const auto put = ::write(world.wake, &one, sizeof one);
  });
  return {};
}

void World::run(std::function<void()> settled, std::chrono::milliseconds patience) {
  impl_->loop(settled, patience);
  impl_->tear_down();
}

void World::stop() noexcept {
  impl_->stopping = true;
  const uint64_t one = 1;
  [[maybe_unused]] const auto put = ::write(impl_->wake, &one, sizeof one);
}

Record World::record() const {
  const std::lock_guard hold(impl_->mutex);
  return impl_->shared;
}

}  // namespace runner
