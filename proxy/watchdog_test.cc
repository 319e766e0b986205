#include "proxy/watchdog.h"

#include <gtest/gtest.h>

#include <condition_variable>
#include <mutex>
#include <thread>

namespace proxy {
namespace {
using namespace std::chrono_literals;

// A worker on a thread of its own, with a function on it that does not return before the test says so.
class Watched : public testing::Test {
 protected:
  Watched() : worker_({.index = 3}), thread_([this] { worker_.run(); }) {}
  ~Watched() override {
    release();
    worker_.stop();
    thread_.join();
  }
  void block() {
    worker_.post([this] {
      std::unique_lock lock(mutex_);
      inside_ = true;
      changed_.notify_all();
      changed_.wait(lock, [this] { return released_; });
      inside_ = released_ = false;
      changed_.notify_all();
    });
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return inside_; });
  }
  void release() {
    std::unique_lock lock(mutex_);
    if (!inside_) return;
    released_ = true;
    changed_.notify_all();
    changed_.wait(lock, [this] { return !inside_; });
  }
  uint64_t stuck() const { return shard_.counter("sluice_worker_stuck_total", {{"worker", "3"}}).value(); }

  stats::Registry registry_;
  stats::Shard& shard_ = registry_.make_shard();
  net::Worker worker_;
  net::Worker* const workers_[1] = {&worker_};
  Watchdog watchdog_{workers_, shard_};
  std::mutex mutex_;
  std::condition_variable changed_;
  bool inside_ = false, released_ = false;
  std::thread thread_;
};

TEST_F(Watched, TurnOfMoreThanASecond_IsCountedOnce) {
  block();
  const auto began = worker_.turn_started();
  ASSERT_NE(began, std::chrono::steady_clock::time_point{});
  watchdog_.look(began + 300ms);
  watchdog_.look(began + 900ms);
  EXPECT_EQ(stuck(), 0u);
  watchdog_.look(began + 1100ms);
  EXPECT_EQ(stuck(), 1u);
  watchdog_.look(began + 5s);
  EXPECT_EQ(stuck(), 1u) << "one report for one turn";
  release();
  block();
  const auto again = worker_.turn_started();
  watchdog_.look(again + 250ms);
  EXPECT_EQ(stuck(), 1u) << "another turn, still young";
  watchdog_.look(again + 2s);
  EXPECT_EQ(stuck(), 2u);
}

TEST_F(Watched, OldTurnSeenForTheFirstTime_IsNotJudgedYet) {
  block();
  watchdog_.look(worker_.turn_started() + 1h);   // the whole process had been stopped
  EXPECT_EQ(stuck(), 0u);
}

TEST_F(Watched, WorkerThatWaitsForEvents_IsNeverStuck) {
  block();
  release();
  // The turn may not have ended yet when release() returns; a function behind it has run in a later one.
  block();
  release();
  for (int i = 1; i < 20; ++i) watchdog_.look(std::chrono::steady_clock::now() + i * 10ms);
  EXPECT_EQ(stuck(), 0u);
}

}  // namespace
}  // namespace proxy
