#include "net/worker.h"

#include <gtest/gtest.h>

#include <atomic>
#include <cstring>
#include <string>
#include <thread>
#include <vector>

#include "net/checks.h"
#include "net/socket_testing.h"

namespace net {
namespace {

using namespace std::chrono_literals;

TEST(Worker, PostsOfManyThreads_AllRun_EachThreadsInOrder) {
  constexpr int kThreads = 4, kEach = 5'000;
  Worker worker({});
  std::vector<int> last(kThreads, -1);
  int ran = 0, disorder = 0;
  std::thread runner([&worker] { worker.run(); });
  std::vector<std::thread> posters;
  for (int t = 0; t < kThreads; ++t) {
    posters.emplace_back([&, t] {
      for (int i = 0; i < kEach; ++i) {
        worker.post([&, t, i] {
          if (last[t] != i - 1) ++disorder;
          last[t] = i;
          if (++ran == kThreads * kEach) worker.stop();
        });
      }
    });
  }
  for (auto& poster : posters) poster.join();
  runner.join();
  EXPECT_EQ(ran, kThreads * kEach);
  EXPECT_EQ(disorder, 0);
}

TEST(Worker, StopBeforeRun_ReturnsAtOnce_AndRunsAgainLater) {
  Worker worker({});
  worker.stop();
  worker.run();
  bool ran = false;
  worker.post([&] {
    ran = true;
    worker.stop();
  });
  worker.run();
  EXPECT_TRUE(ran);
}

TEST(Worker, PostedAndNeverRun_IsDestroyedWithTheWorker) {
  auto alive = std::make_shared<int>(1);
  std::weak_ptr<int> watch = alive;
  {
    Worker worker({.manual_clock = true});
    worker.post([held = std::move(alive)] { EXPECT_TRUE(held); });
  }
  EXPECT_TRUE(watch.expired());
}

struct Step : Op {
  Step(std::string n, std::vector<std::string>& l) : Op(&run), name(std::move(n)), log(l) {}
  static void run(Op& op) noexcept {
    auto& self = static_cast<Step&>(op);
    self.log.push_back(self.name + " begins");
    if (self.then) self.worker->ready(*self.then);
    self.log.push_back(self.name + " ends");
  }
  std::string name;
  std::vector<std::string>& log;
  Step* then = nullptr;
  Worker* worker = nullptr;
};

TEST(Worker, Ready_RunsAfterTheTurnNeverInsideIt) {
  Worker worker({.manual_clock = true});
  std::vector<std::string> log;
  Step second("second", log), first("first", log);
  first.then = &second;
  first.worker = &worker;
  worker.ready(first);
  EXPECT_EQ(worker.poll(), 2u);
  EXPECT_EQ(log, (std::vector<std::string>{"first begins", "first ends", "second begins", "second ends"}));
}

// Two operations that wake each other for ever, as two ends of a pipe in memory could.
struct Restless : Op {
  explicit Restless(Worker& w) : Op([](Op& op) noexcept { static_cast<Restless&>(op).go(); }), worker(w) {}
  void go() {
    ++runs;
    if (!enough) worker.ready(*other);
  }
  Worker& worker;
  Restless* other = nullptr;
  long runs = 0;
  bool enough = false;
};

TEST(Worker, OperationsThatKeepEachOtherBusy_DoNotStarveTheLoop) {
  Worker worker({});
  Restless a(worker), b(worker);
  a.other = &b;
  b.other = &a;
  worker.ready(a);
  std::thread other([&] {
    worker.post([&] { a.enough = b.enough = true; });
    worker.post([&] { worker.stop(); });
  });
  worker.run();
  other.join();
  EXPECT_GT(a.runs, 0);
}

Task<> pause(Worker& worker, std::chrono::milliseconds time) { (void)co_await sleep(worker, time); }

TEST(Worker, WhenIdle_RunsOnceAfterTheLastTask) {
  Worker worker({.manual_clock = true});
  int idle = 0;
  worker.spawn(pause(worker, 5ms));
  worker.spawn(pause(worker, 9ms));
  worker.when_idle([&] { ++idle; });
  worker.advance(8ms);
  EXPECT_EQ(idle, 0);
  EXPECT_EQ(worker.tasks(), 1u);
  worker.advance(1ms);
  EXPECT_EQ(idle, 1);
  worker.when_idle([&] { ++idle; });
  EXPECT_EQ(idle, 1) << "in a turn of its own";
  worker.poll();
  EXPECT_EQ(idle, 2);
}

TEST(Worker, ManualClock_StandsStillUntilAdvanced) {
  Worker worker({.manual_clock = true});
  const auto steady = worker.now();
  const auto wall = worker.wall();
  worker.spawn(pause(worker, 1ms));
  worker.poll();
  EXPECT_EQ(worker.now(), steady);
  EXPECT_EQ(worker.tasks(), 1u);
  worker.advance(90min);
  EXPECT_EQ(worker.now() - steady, 90min);
  EXPECT_EQ(worker.wall() - wall, 90min);
}

TEST(Worker, TimeIsOnePerTurn) {
  Worker worker({});
  bool same = false;
  worker.post([&] {
    const auto before = worker.now();
    while (std::chrono::steady_clock::now() - before < 2ms) {
    }
    same = worker.now() == before;
    worker.stop();
  });
  worker.run();
  EXPECT_TRUE(same);
}

TEST(Worker, TurnStarted_IsSeenWhileATurnRunsAndOnlyThen) {
  Worker worker({});
  const std::chrono::steady_clock::time_point never{};
  std::atomic<bool> inside{false}, seen{false};
  std::thread runner([&] { worker.run(); });
  worker.post([&] {
    inside = true;
    while (!seen) std::this_thread::yield();
  });
  while (!inside) std::this_thread::yield();
  EXPECT_NE(worker.turn_started(), never);
  const uint64_t turns = worker.turns();
  seen = true;
  while (worker.turn_started() != never) std::this_thread::yield();
  EXPECT_GT(worker.turns(), turns);
  worker.stop();
  runner.join();
}

TEST(Worker, ScratchOfAnEarlierTurn_IsRubbishInCheckedBuilds) {
  Worker worker({.manual_clock = true});
  const std::byte* kept = nullptr;
  worker.post([&] {
    auto scratch = worker.scratch();
    std::memset(scratch.data(), 'x', 4);
    kept = scratch.data();
    EXPECT_EQ(text_of(worker.borrow_scratch(4).bytes()), "xxxx");
  });
  worker.poll();
#if __has_feature(address_sanitizer)
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_DEATH({ volatile auto late = *kept; (void)late; }, "use-after-poison");
#else
  if constexpr (kChecked) EXPECT_EQ(*kept, std::byte{0xDD});
#endif
  ASSERT_NE(kept, nullptr);
}

TEST(Worker, BlocksComeInFourSizesAndAreCounted) {
  Worker worker({.manual_clock = true});
  const std::pair<uint32_t, uint32_t> cases[] = {{1, 4096}, {4096, 4096}, {4097, 16384}, {65537, 131072}, {131073, 131073}};
  for (const auto& [wanted, got] : cases) {
    uint32_t capacity = wanted;
    std::byte* block = worker.take_block(capacity);
    EXPECT_EQ(capacity, got);
    EXPECT_EQ(worker.block_bytes(), got);
    worker.give_block(block, capacity);
    EXPECT_EQ(worker.block_bytes(), 0u);
  }
}

}  // namespace
}  // namespace net
