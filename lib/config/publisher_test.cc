#include <gtest/gtest.h>

#include <condition_variable>
#include <mutex>
#include <thread>

#include "config/pipeline.h"
#include "net/worker.h"

namespace config {
namespace {

std::shared_ptr<routing::Snapshot> snapshot() { return routing::compile(api::Mesh{}, routing::Proxy{}).snapshot; }

// What a program keeps per worker: the current handle, and handles of requests that started earlier.
struct PerWorker {
  SnapshotHandle current;
  std::vector<SnapshotHandle> requests;
  uint64_t last = 0, applied = 0;
};

// Workers on threads of their own.
class Running {
 public:
  explicit Running(unsigned count) : contexts(count) {
    for (unsigned i = 0; i < count; ++i) {
      workers.push_back(std::make_unique<net::Worker>(net::Worker::Options{.index = i}));
      workers.back()->attach(&contexts[i]);
      threads_.emplace_back([worker = workers.back().get()] { worker->run(); });
    }
  }
  ~Running() { stop(); }
  // Runs `f` with each context on its worker and waits for all.
  template <class F> void on_each(F f) {
    std::mutex mutex;
    std::condition_variable done;
    size_t left = workers.size();
    for (const auto& worker : workers) {
      worker->post([&, w = worker.get()] {
        f(w->context<PerWorker>());
        const std::lock_guard lock(mutex);
        if (--left == 0) done.notify_all();
      });
    }
    std::unique_lock lock(mutex);
    done.wait(lock, [&] { return left == 0; });
  }
  void stop() {
    for (const auto& worker : workers) worker->stop();
    for (auto& thread : threads_)
      if (thread.joinable()) thread.join();
  }
  std::vector<net::Worker*> pointers() const {
    std::vector<net::Worker*> all;
    for (const auto& worker : workers) all.push_back(worker.get());
    return all;
  }
  std::vector<PerWorker> contexts;
  std::vector<std::unique_ptr<net::Worker>> workers;

 private:
  std::vector<std::thread> threads_;
};

void apply(net::Worker& worker, SnapshotHandle handle, std::shared_ptr<const routing::Endpoints> endpoints) {
  auto& mine = worker.context<PerWorker>();
  ++mine.applied;
  EXPECT_NE(endpoints, nullptr);
  if (!handle) return;
  EXPECT_GT(handle->version, mine.last);
  mine.last = handle->version;
  // A request starts with each snapshot and lives for a few publications, as copies of copies do.
  mine.requests.push_back(handle);
  if (mine.requests.size() > 3) mine.requests.erase(mine.requests.begin());
  mine.current = std::move(handle);
}

TEST(Publisher, FiveHundredPublications_LeaveNoSnapshotBehind) {
  Running running(2);
  std::atomic<int> returned{0};
  Publisher publisher(running.pointers(), apply, [&] { ++returned; });
  EXPECT_FALSE(publisher.live_everywhere(1));
  const auto endpoints = std::make_shared<const routing::Endpoints>();
  for (int i = 0; i < 500; ++i) {
    publisher.publish(snapshot(), endpoints);
    if (i % 100 == 50) {
      std::thread asks([&] { publisher.old_snapshots_alive(), publisher.live_everywhere(publisher.version()); });
      asks.join();
    }
  }
  running.on_each([](PerWorker& mine) {
    EXPECT_EQ(mine.applied, 500u);
    EXPECT_EQ(mine.current->version, 500u);
    mine.requests.clear();
  });
  EXPECT_EQ(publisher.version(), 500u);
  EXPECT_TRUE(publisher.live_everywhere(500));
  EXPECT_FALSE(publisher.live_everywhere(501));
  EXPECT_GT(returned.load(), 0);
  publisher.collect();
  EXPECT_EQ(publisher.old_snapshots_alive(), 0u);
  running.stop();
}

TEST(Publisher, RequestThatRuns_KeepsItsSnapshot) {
  Running running(1);
  Publisher publisher(running.pointers(), apply);
  const auto endpoints = std::make_shared<const routing::Endpoints>();
  publisher.publish(snapshot(), endpoints);
  publisher.publish(snapshot(), endpoints);
  running.on_each([](PerWorker&) {});
  publisher.collect();
  EXPECT_EQ(publisher.old_snapshots_alive(), 1u);
  running.on_each([](PerWorker& mine) { mine.requests.clear(); });
  EXPECT_EQ(publisher.old_snapshots_alive(), 1u);       // given back, and not freed by the worker
  publisher.collect();
  EXPECT_EQ(publisher.old_snapshots_alive(), 0u);
  running.stop();
}

TEST(Publisher, EndpointsOnly_CountsAsAPublicationAndKeepsTheSnapshot) {
  Running running(2);
  Publisher publisher(running.pointers(), apply);
  const auto endpoints = std::make_shared<const routing::Endpoints>();
  publisher.publish(snapshot(), endpoints);
  publisher.publish(nullptr, endpoints);
  running.on_each([](PerWorker& mine) {
    EXPECT_EQ(mine.applied, 2u);
    EXPECT_EQ(mine.current->version, 1u);
  });
  EXPECT_TRUE(publisher.live_everywhere(2));
  running.stop();
}

TEST(Publisher, HandleThatOutlivesThePublisher_FreesItsSnapshot) {
  Running running(1);
  std::weak_ptr<routing::Snapshot> watched;
  {
    Publisher publisher(running.pointers(), apply);
    auto next = snapshot();
    watched = next;
    publisher.publish(std::move(next), std::make_shared<const routing::Endpoints>());
    running.on_each([](PerWorker&) {});
    running.stop();
  }
  EXPECT_FALSE(watched.expired());
  running.contexts.clear();
  EXPECT_TRUE(watched.expired());
}

}  // namespace
}  // namespace config
