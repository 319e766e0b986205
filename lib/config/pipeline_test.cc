#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <thread>

#include "config/pipeline.h"
#include "config/test_folder.h"

namespace config {
namespace {

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;
using test::broken_service;
using test::Folder;
using test::service;

// Listings as a source delivers them; the test waits for the one it wants.
class Inbox {
 public:
  void add(Listing listing) {
    const std::lock_guard lock(mutex_);
    all_.push_back(std::move(listing));
    arrived_.notify_all();
  }
  bool wait_for_digest(const std::string& digest) {
    std::unique_lock lock(mutex_);
    return arrived_.wait_for(lock, 10s, [&] { return !all_.empty() && all_.back().digest == digest; });
  }
  size_t count() {
    const std::lock_guard lock(mutex_);
    return all_.size();
  }
  Listing last() {
    const std::lock_guard lock(mutex_);
    return all_.back();
  }

 private:
  std::mutex mutex_;
  std::condition_variable arrived_;
  std::vector<Listing> all_;
};

struct Watched {
  explicit Watched(std::vector<std::string> roots) : source(directory_source(std::move(roots))) {
    source->start([this](Listing listing) { inbox.add(std::move(listing)); });
  }
  Inbox inbox;
  std::unique_ptr<Source> source;
};

TEST(DirectorySource, EveryWayToChangeAFile_Arrives) {
  Folder folder;
  folder.put("a.yaml", service("a", "10.0.0.1"));
  Watched watched({folder.path()});
  ASSERT_TRUE(watched.inbox.wait_for_digest(digest_of_roots({folder.path()})));
  folder.put("a.yaml", service("a", "10.0.0.2"));                // rename over it
  EXPECT_TRUE(watched.inbox.wait_for_digest(digest_of_roots({folder.path()})));
  folder.overwrite("a.yaml", service("a", "10.0.0.3"));          // in place
  EXPECT_TRUE(watched.inbox.wait_for_digest(digest_of_roots({folder.path()})));
  folder.put("new/deep/b.yaml", service("b", "10.0.0.4"));       // in a folder that did not exist
  EXPECT_TRUE(watched.inbox.wait_for_digest(digest_of_roots({folder.path()})));
  folder.put("new/deep/b.yaml", service("b", "10.0.0.5"));
  EXPECT_TRUE(watched.inbox.wait_for_digest(digest_of_roots({folder.path()})));
  folder.remove("a.yaml");
  EXPECT_TRUE(watched.inbox.wait_for_digest(digest_of_roots({folder.path()})));
  EXPECT_EQ(watched.inbox.last().resources.size(), 1u);
}

TEST(DirectorySource, ConfigMapSwaps_ArriveAsFewReadings) {
  Folder folder;
  folder.swap(1, "a.yaml", service("a", "10.0.0.1"));
  Watched watched({folder.path()});
  ASSERT_TRUE(watched.inbox.wait_for_digest(digest_of_roots({folder.path()})));
  for (int i = 2; i < 6; ++i) {
    const size_t before = watched.inbox.count();
    folder.swap(i, "a.yaml", service("a", "10.0.0." + std::to_string(i)));
    ASSERT_TRUE(watched.inbox.wait_for_digest(digest_of_roots({folder.path()}))) << i;
    EXPECT_LE(watched.inbox.count() - before, 2u);
  }
}

TEST(DirectorySource, RootThatAppearsLater_IsFollowed) {
  Folder folder;
  Watched watched({folder.at("later")});
  folder.put("later/a.yaml", service("a", "10.0.0.1"));
  EXPECT_TRUE(watched.inbox.wait_for_digest(digest_of_roots({folder.at("later")})));
  EXPECT_TRUE(watched.inbox.last().complete);
  folder.put("later/a.yaml", service("a", "10.0.0.2"));
  EXPECT_TRUE(watched.inbox.wait_for_digest(digest_of_roots({folder.at("later")})));
}

TEST(DirectorySource, RootThatIsAFile_IsFollowed) {
  Folder folder;
  folder.put("one.yaml", service("a", "10.0.0.1"));
  Watched watched({folder.at("one.yaml")});
  ASSERT_TRUE(watched.inbox.wait_for_digest(digest_of_roots({folder.at("one.yaml")})));
  folder.put("one.yaml", service("a", "10.0.0.2"));
  EXPECT_TRUE(watched.inbox.wait_for_digest(digest_of_roots({folder.at("one.yaml")})));
}

// A pipeline over two running workers.
class Harness {
 public:
  explicit Harness(std::vector<std::string> roots) {
    for (unsigned i = 0; i < 2; ++i) {
      workers_.push_back(std::make_unique<net::Worker>(net::Worker::Options{.index = i}));
      workers_.back()->attach(&current_[i]);
    }
    Pipeline::Options options{std::move(roots), [](const api::Mesh&) { return routing::Proxy{}; }};
    pipeline = std::make_unique<Pipeline>(std::move(options), std::vector<net::Worker*>{workers_[0].get(), workers_[1].get()},
                                          [](net::Worker& worker, SnapshotHandle handle, std::shared_ptr<const routing::Endpoints>) {
                                            if (handle) worker.context<SnapshotHandle>() = std::move(handle);
                                          });
    pipeline->on_published([this](const routing::Snapshot&) {
      const std::lock_guard lock(mutex_);
      ++published_;
      changed_.notify_all();
    });
    for (auto& worker : workers_) threads_.emplace_back([w = worker.get()] { w->run(); });
    pipeline->start();
  }
  ~Harness() {
    pipeline->stop();
    for (auto& worker : workers_) worker->stop();
    for (auto& thread : threads_) thread.join();
    for (auto& handle : current_) handle = {};
  }
  // Waits until exactly these bytes are live on every worker.
  bool live(const std::string& digest) {
    for (const auto end = Clock::now() + 10s; Clock::now() < end; std::this_thread::yield()) {
      const Status status = pipeline->status();
      if (status.digest == digest && status.applied_on_all_workers) return true;
    }
    return false;
  }
  int published() {
    const std::lock_guard lock(mutex_);
    return published_;
  }
  std::unique_ptr<Pipeline> pipeline;

 private:
  SnapshotHandle current_[2];
  std::vector<std::unique_ptr<net::Worker>> workers_;
  std::vector<std::thread> threads_;
  std::mutex mutex_;
  std::condition_variable changed_;
  int published_ = 0;
};

TEST(Pipeline, ChangesBecomeLive_AndNothingStaysBehind) {
  Folder folder;
  folder.put("a.yaml", service("a", "10.0.0.1"));
  Harness harness({folder.path()});
  ASSERT_TRUE(harness.live(digest_of_roots({folder.path()})));
  EXPECT_TRUE(harness.pipeline->ready());
  EXPECT_TRUE(harness.pipeline->status().problems.empty());
  for (int i = 2; i < 8; ++i) {
    const auto before = Clock::now();
    folder.put("a.yaml", service("a", "10.0.0." + std::to_string(i)));
    ASSERT_TRUE(harness.live(digest_of_roots({folder.path()})));
    EXPECT_LT(Clock::now() - before, 2s);
  }
  EXPECT_EQ(harness.pipeline->latest()->digest, digest_of_roots({folder.path()}));
  for (const auto end = Clock::now() + 10s; harness.pipeline->old_snapshots_alive() > 0 && Clock::now() < end;) std::this_thread::yield();
  EXPECT_EQ(harness.pipeline->old_snapshots_alive(), 0u);
}

TEST(Pipeline, BrokenFile_IsLiveAndListedAndTheRestGoesOn) {
  Folder folder;
  folder.put("a.yaml", service("a", "10.0.0.1"));
  Harness harness({folder.path()});
  ASSERT_TRUE(harness.live(digest_of_roots({folder.path()})));
  folder.put("b.yaml", "# \"x\"\n" + broken_service("b"));
  ASSERT_TRUE(harness.live(digest_of_roots({folder.path()})));
  const Status status = harness.pipeline->status();
  ASSERT_FALSE(status.problems.empty());
  const std::string json = status.json();
  EXPECT_TRUE(json.starts_with("{\"snapshot\":2,\"digest\":\"" + status.digest + "\",\"applied_on_all_workers\":true,\"problems\":[{\"severity\":\"error\",\"code\":\"")) << json;
  EXPECT_NE(json.find("\"object\":\"Service/default/b\",\"file\":\"b.yaml\",\"line\":"), std::string::npos) << json;
  EXPECT_NE(json.find("\"path\":\""), std::string::npos) << json;
  folder.remove("b.yaml");
  ASSERT_TRUE(harness.live(digest_of_roots({folder.path()})));
  EXPECT_TRUE(harness.pipeline->status().problems.empty());
}

TEST(Pipeline, SameBytesAgain_AreNotPublishedAgain) {
  Folder folder;
  folder.put("a.yaml", service("a", "10.0.0.1"));
  Harness harness({folder.path()});
  ASSERT_TRUE(harness.live(digest_of_roots({folder.path()})));
  for (int i = 0; i < 5; ++i) folder.put("a.yaml", service("a", "10.0.0.1"));
  folder.put("a.yaml", service("a", "10.0.0.2"));
  ASSERT_TRUE(harness.live(digest_of_roots({folder.path()})));
  EXPECT_LE(harness.pipeline->status().snapshot, 3u);
}

TEST(Pipeline, MissingRoot_IsNotReadyUntilItIsThere) {
  Folder folder;
  Harness harness({folder.at("later")});
  for (const auto end = Clock::now() + 10s; harness.pipeline->status().problems.empty() && Clock::now() < end;) std::this_thread::yield();
  const Status status = harness.pipeline->status();
  EXPECT_TRUE(status.json().starts_with("{\"snapshot\":0,\"digest\":\"\",\"applied_on_all_workers\":false,\"problems\":[{\"severity\":\"error\",")) << status.json();
  EXPECT_FALSE(harness.pipeline->ready());
  folder.put("later/a.yaml", service("a", "10.0.0.1"));
  EXPECT_TRUE(harness.live(digest_of_roots({folder.at("later")})));
  EXPECT_TRUE(harness.pipeline->ready());
}

TEST(Offline, Load_ListsProblemsByPlace) {
  Folder folder;
  folder.put("b.yaml", broken_service("b"));
  folder.put("a.yaml", service("a", "10.0.0.1", "---\n" + broken_service("c")));
  const Offline loaded = load({folder.path()});
  ASSERT_GE(loaded.problems.size(), 2u);
  EXPECT_EQ(loaded.problems.front().at.file_name(), "a.yaml");
  EXPECT_EQ(loaded.problems.back().at.file_name(), "b.yaml");
  EXPECT_EQ(loaded.mesh.services.size(), 1u);
  EXPECT_EQ(loaded.digest, digest_of_roots({folder.path()}));
}

}  // namespace
}  // namespace config
