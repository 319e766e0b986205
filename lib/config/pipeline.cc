#include "config/pipeline.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <iterator>
#include <optional>
#include <thread>
#include <unordered_set>

#include "config/problems.h"
#include "log/log.h"
#include "validate/validate.h"

namespace config {
namespace {

using Clock = std::chrono::steady_clock;
using logs::Component;

// So many new problems of one change go into the log one by one; /config/status has all of them.
constexpr size_t kLoggedProblems = 20;

int64_t ms_since(Clock::time_point start) { return std::chrono::duration_cast<std::chrono::milliseconds>(Clock::now() - start).count(); }

logs::Level level_of(const doc::Problem& problem) {
  switch (problem.severity) {
    case doc::Problem::Severity::kError: return logs::Level::kError;
    case doc::Problem::Severity::kWarning: return logs::Level::kWarning;
    case doc::Problem::Severity::kInfo: return logs::Level::kInfo;
  }
  return logs::Level::kError;
}

}  // namespace

struct Pipeline::Impl {
  Impl(Options given, std::vector<net::Worker*> workers, Publisher::Apply apply)
      : options(std::move(given)), publisher(std::move(workers), std::move(apply), [this] { signal_compiler(); }) {}

  // Any thread, workers too: no lock.
  void signal_compiler() noexcept {
    signal.fetch_add(1, std::memory_order_release);
    signal.notify_one();
  }

  // On the source's thread.
  void arrived(Listing listing) {
    Store::View view = store.update(std::move(listing));
    {
      const std::lock_guard lock(mutex);
      pending = std::move(view);         // one that was not compiled yet is out of date
    }
    signal_compiler();
  }

  void run_compiler() {
    while (!stopping.load(std::memory_order_acquire)) {
      const uint32_t seen = signal.load(std::memory_order_acquire);   // before the work: a signal during it is not lost
      publisher.collect();
      std::optional<Store::View> view;
      {
        const std::lock_guard lock(mutex);
        view.swap(pending);
      }
      if (view)
        compile(std::move(*view));
      else
        signal.wait(seen, std::memory_order_acquire);
    }
  }

  void compile(Store::View view) {
    if (!view.complete && publisher.version() == 0) return refuse(std::move(view));
    const auto start = Clock::now();
    const size_t objects = view.good.size();
    const api::Mesh mesh = api::make_mesh(std::move(view.good), view.mesh_config);
    doc::Problems problems = std::move(view.problems);
    const auto add = [&problems](doc::Problems more) {
      problems.insert(problems.end(), std::make_move_iterator(more.begin()), std::make_move_iterator(more.end()));
    };
    add(validate::check(mesh));
    routing::Compiled compiled = routing::compile(mesh, options.self(mesh));
    add(std::move(compiled.problems));
    sort_by_place(problems);
    compiled.snapshot->digest = view.digest;
    const std::shared_ptr<const routing::Snapshot> snapshot = compiled.snapshot;
    publisher.publish(std::move(compiled.snapshot), std::make_shared<const routing::Endpoints>(std::move(compiled.endpoints)));
    report(problems);
    logs::info(Component::kConfig, "configuration {} compiled in {} ms: {} objects, digest {}", snapshot->version, ms_since(start), objects, view.digest.substr(0, 12));
    std::function<void(const routing::Snapshot&)> told;
    {
      const std::lock_guard lock(mutex);
      status = {publisher.version(), view.digest, false, std::move(problems)};
      latest = snapshot;
      told = published;
    }
    if (told) told(*snapshot);
  }

  // A root that is not there yet (a volume that is still being mounted) must not become "no configuration": nothing is
  // published, so the proxy does not get ready.
  void refuse(Store::View view) {
    report(view.problems);
    const std::lock_guard lock(mutex);
    status.problems = std::move(view.problems);
  }

  // Each problem once, when it is new.
  void report(const doc::Problems& problems) {
    std::unordered_set<std::string> now;
    size_t fresh = 0;
    for (const doc::Problem& problem : problems) {
      std::string line = doc::line_of(problem);
      if (!reported.contains(line) && ++fresh <= kLoggedProblems) logs::write(Component::kConfig, level_of(problem), "{}", line);
      now.insert(std::move(line));
    }
    if (fresh > kLoggedProblems) logs::warn(Component::kConfig, "and {} more problems, see /config/status", fresh - kLoggedProblems);
    reported = std::move(now);
  }

  const Options options;
  std::unique_ptr<Source> source;
  Store store;                           // source's thread only
  Publisher publisher;                   // compiler thread, but for its queries
  std::unordered_set<std::string> reported;   // compiler thread only
  std::atomic<uint32_t> signal{0};       // counts reasons for the compiler to look; release by who has one, acquire by it
  std::atomic<bool> stopping{false};
  mutable std::mutex mutex;              // of what follows; never taken by a worker
  std::optional<Store::View> pending;
  Status status;
  std::shared_ptr<const routing::Snapshot> latest;
  std::function<void(const routing::Snapshot&)> published;
  std::thread compiler;
};

Pipeline::Pipeline(Options options, std::vector<net::Worker*> workers, Publisher::Apply apply)
    : impl_(std::make_unique<Impl>(std::move(options), std::move(workers), std::move(apply))) {}

Pipeline::~Pipeline() { stop(); }

void Pipeline::start() {
  impl_->compiler = std::thread([impl = impl_.get()] { impl->run_compiler(); });
  impl_->source = directory_source(impl_->options.roots);
  impl_->source->start([impl = impl_.get()](Listing listing) { impl->arrived(std::move(listing)); });
}

void Pipeline::stop() {
  impl_->source.reset();
  impl_->stopping.store(true, std::memory_order_release);
  impl_->signal_compiler();
  if (impl_->compiler.joinable()) impl_->compiler.join();
}

Status Pipeline::status() const {
  Status now;
  {
    const std::lock_guard lock(impl_->mutex);
    now = impl_->status;
  }
  now.applied_on_all_workers = impl_->publisher.live_everywhere(now.snapshot);
  return now;
}

// Workers apply publications in order, so the first one stays applied.
bool Pipeline::ready() const noexcept { return impl_->publisher.live_everywhere(1); }

size_t Pipeline::old_snapshots_alive() const noexcept { return impl_->publisher.old_snapshots_alive(); }

std::shared_ptr<const routing::Snapshot> Pipeline::latest() const {
  const std::lock_guard lock(impl_->mutex);
  return impl_->latest;
}

void Pipeline::on_published(std::function<void(const routing::Snapshot&)> f) {
  const std::lock_guard lock(impl_->mutex);
  impl_->published = std::move(f);
}

}  // namespace config
