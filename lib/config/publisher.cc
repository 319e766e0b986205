#include <algorithm>
#include <atomic>
#include <mutex>
#include <ranges>

#include "config/pipeline.h"

namespace config {

// One snapshot as one worker holds it. Made on the compiler thread, counted by its worker alone (post orders the hand-over),
// freed on the compiler thread.
struct SnapshotHandle::Lease {
  // What has come home from the workers. Held by the publisher and by every lease, so that a handle that outlives the
  // publisher still has somebody to return to.
  struct Returns {
    // A stack that any thread pushes to and one thread takes whole, so there is no ABA. Release by who pushes: its last use of
    // the snapshot comes before; acquire by who takes.
    std::atomic<Lease*> head{nullptr};
    std::atomic<bool> closed{false};     // the publisher is gone; release by its destructor, acquire by who gives back
    std::function<void()> wake;          // set before the first publication

    void push(Lease* lease) noexcept {
      lease->next = head.load(std::memory_order_relaxed);
      while (!head.compare_exchange_weak(lease->next, lease, std::memory_order_release, std::memory_order_relaxed)) {}
    }
    void free_all() noexcept {
      for (Lease* lease = head.exchange(nullptr, std::memory_order_acquire); lease;) delete std::exchange(lease, lease->next);
    }
  };

  Lease(std::shared_ptr<const routing::Snapshot> s, std::shared_ptr<Returns> r) : snapshot(std::move(s)), returns(std::move(r)) {}
  std::shared_ptr<const routing::Snapshot> snapshot;
  std::shared_ptr<Returns> returns;
  uint64_t count = 1;
  Lease* next = nullptr;                 // in Returns
};

const routing::Snapshot* SnapshotHandle::get() const noexcept { return lease_ ? lease_->snapshot.get() : nullptr; }

void SnapshotHandle::retain() noexcept {
  if (lease_) ++lease_->count;
}

void SnapshotHandle::release() noexcept {
  Lease* const lease = std::exchange(lease_, nullptr);
  if (!lease || --lease->count > 0) return;
  const auto returns = lease->returns;   // the lease may be freed by the other thread as soon as it is pushed
  returns->push(lease);
  if (returns->closed.load(std::memory_order_acquire))
    returns->free_all();
  else if (returns->wake)
    returns->wake();
}

struct Publisher::Impl {
  struct PerWorker {
    net::Worker* worker = nullptr;
    // Which publication this worker works with: release by the worker after it has applied it, acquire by who asks.
    std::atomic<uint64_t> applied{0};
  };
  std::vector<std::unique_ptr<PerWorker>> workers;
  Apply apply;
  std::shared_ptr<SnapshotHandle::Lease::Returns> returns = std::make_shared<SnapshotHandle::Lease::Returns>();
  std::atomic<uint64_t> version{0};      // release by publish, acquire by readers
  mutable std::mutex mutex;              // of the two below: compiler thread and admin, never a worker
  std::vector<std::weak_ptr<const routing::Snapshot>> alive;
  std::weak_ptr<const routing::Snapshot> current;
};

Publisher::Publisher(std::vector<net::Worker*> workers, Apply apply, std::function<void()> returned) : impl_(std::make_unique<Impl>()) {
  for (net::Worker* worker : workers) impl_->workers.emplace_back(std::make_unique<Impl::PerWorker>())->worker = worker;
  impl_->apply = std::move(apply);
  impl_->returns->wake = std::move(returned);
}

Publisher::~Publisher() {
  impl_->returns->closed.store(true, std::memory_order_release);
  impl_->returns->free_all();
}

void Publisher::publish(std::shared_ptr<routing::Snapshot> next, std::shared_ptr<const routing::Endpoints> endpoints) {
  collect();
  const uint64_t version = impl_->version.load(std::memory_order_relaxed) + 1;   // one publishing thread
  if (next) {
    next->version = version;
    const std::lock_guard lock(impl_->mutex);
    std::erase_if(impl_->alive, [](const auto& snapshot) { return snapshot.expired(); });
    impl_->alive.push_back(next);
    impl_->current = next;
  }
  impl_->version.store(version, std::memory_order_release);
  // Worker 0 comes last: a gateway opens its ports there, and the others should know the ports' listeners by then.
  for (const auto& one : std::views::reverse(impl_->workers)) {
    SnapshotHandle handle(next ? new SnapshotHandle::Lease(next, impl_->returns) : nullptr);
    one->worker->post([impl = impl_.get(), to = one.get(), version, handle = std::move(handle), endpoints]() mutable {
      impl->apply(*to->worker, std::move(handle), std::move(endpoints));
      to->applied.store(version, std::memory_order_release);
    });
  }
}

void Publisher::collect() { impl_->returns->free_all(); }

bool Publisher::live_everywhere(uint64_t version) const noexcept {
  return version > 0 && std::all_of(impl_->workers.begin(), impl_->workers.end(),
                                    [version](const auto& one) { return one->applied.load(std::memory_order_acquire) >= version; });
}

uint64_t Publisher::version() const noexcept { return impl_->version.load(std::memory_order_acquire); }

size_t Publisher::old_snapshots_alive() const noexcept {
  const std::lock_guard lock(impl_->mutex);
  const auto current = impl_->current.lock();
  return static_cast<size_t>(std::count_if(impl_->alive.begin(), impl_->alive.end(), [&current](const auto& one) {
    const auto snapshot = one.lock();
    return snapshot && snapshot != current;
  }));
}

}  // namespace config
