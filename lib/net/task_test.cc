#include "net/task.h"

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "net/cancel.h"
#include "net/worker.h"

namespace net {
namespace {

using namespace std::chrono_literals;

Error reason(base::Code code) { return {.code = code}; }

Task<int> one() { co_return 1; }

Task<> add_up(int times, long& sum) {
  for (int i = 0; i < times; ++i) sum += co_await one();
}

Task<int> nested(int depth) {
  if (depth == 0) co_return 0;
  const int below = co_await nested(depth - 1);
  co_return below + 1;
}

Task<int> nested_over_a_wait(Worker& worker, int depth) {
  if (depth == 0) {
    (void)co_await sleep(worker, 1ms);
    co_return 0;
  }
  const int below = co_await nested_over_a_wait(worker, depth - 1);
  co_return below + 1;
}

Task<> keep(Task<int> task, int& into) { into = co_await task; }

Task<> note_after(Worker& worker, std::chrono::milliseconds time, std::string what, std::vector<std::string>& notes) {
  if (time.count() > 0) (void)co_await sleep(worker, time);
  notes.push_back(std::move(what));
}

Task<> join(Task<> a, Task<> b, std::vector<std::string>& notes) {
  Both two = both(std::move(a), std::move(b));
  co_await two;
  notes.push_back("joined");
}

TEST(Task, MillionSynchronousCompletions_KeepTheStackFlat) {
  Worker worker({.manual_clock = true});
  long sum = 0;
  worker.spawn(add_up(1'000'000, sum));
  worker.poll();
  EXPECT_EQ(sum, 1'000'000);
  EXPECT_EQ(worker.tasks(), 0u);
}

TEST(Task, TwoThousandNested_EndAtOnceAndAfterAWait) {
  Worker worker({.manual_clock = true});
  int at_once = 0, later = 0;
  worker.spawn(keep(nested(2'000), at_once));
  worker.spawn(keep(nested_over_a_wait(worker, 2'000), later));
  worker.poll();
  EXPECT_EQ(at_once, 2'000);
  EXPECT_EQ(later, 0);
  worker.advance(1ms);
  EXPECT_EQ(later, 2'000);
}

TEST(Task, NeverStarted_IsFreed) {
  auto alive = std::make_shared<int>(1);
  std::weak_ptr<int> watch = alive;
  {
    auto hold = [](std::shared_ptr<int> held) -> Task<> {
      EXPECT_TRUE(held);
      co_return;
    };
    Task<> task = hold(std::move(alive));
    EXPECT_FALSE(watch.expired());
  }
  EXPECT_TRUE(watch.expired());
}

TEST(Task, SpawnedAndNeverRun_IsFreedWithTheWorker) {
  auto alive = std::make_shared<int>(1);
  std::weak_ptr<int> watch = alive;
  auto hold = [](std::shared_ptr<int> held) -> Task<> {
    EXPECT_TRUE(held);
    co_return;
  };
  {
    Worker worker({.manual_clock = true});
    worker.spawn(hold(std::move(alive)));
    EXPECT_EQ(worker.tasks(), 1u);
  }
  EXPECT_TRUE(watch.expired());
}

struct BothCase {
  int a, b;
  std::vector<std::string> notes;
};

TEST(Both, EveryOrderOfEnds_ResumesOnceAfterTheSecond) {
  for (const BothCase& c : {BothCase{0, 0, {"a", "b", "joined"}}, BothCase{0, 5, {"a", "b", "joined"}},
                            BothCase{5, 0, {"b", "a", "joined"}}, BothCase{3, 7, {"a", "b", "joined"}},
                            BothCase{7, 3, {"b", "a", "joined"}}, BothCase{5, 5, {"a", "b", "joined"}}}) {
    Worker worker({.manual_clock = true});
    std::vector<std::string> notes;
    worker.spawn(join(note_after(worker, std::chrono::milliseconds(c.a), "a", notes),
                      note_after(worker, std::chrono::milliseconds(c.b), "b", notes), notes));
    worker.poll();
    worker.advance(20ms);
    EXPECT_EQ(notes, c.notes) << c.a << " " << c.b;
    EXPECT_EQ(worker.tasks(), 0u);
  }
}

TEST(Both, NeverAwaited_FreesBothTasks) {
  Worker worker({.manual_clock = true});
  std::vector<std::string> notes;
  {
    Both two = both(note_after(worker, 1ms, "a", notes), note_after(worker, 1ms, "b", notes));
  }
  worker.advance(5ms);
  EXPECT_TRUE(notes.empty());
}

Task<> pause(Sleep& sleep, Result<>& result, bool& over) {
  result = co_await sleep;
  over = true;
}

TEST(Cancel, FirstReasonWins) {
  Worker worker({.manual_clock = true});
  Sleep nap(worker, 10ms);
  Result<> result;
  bool over = false;
  worker.spawn(pause(nap, result, over));
  worker.poll();
  nap.cancel(reason(base::Code::kTimeout));
  nap.cancel(reason(base::Code::kReset));
  EXPECT_FALSE(over) << "cancel() must resume nobody in its own stack";
  worker.poll();
  ASSERT_TRUE(over);
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code, base::Code::kTimeout);
}

TEST(Cancel, BeforeTheWait_EndsItWithTheReason) {
  Worker worker({.manual_clock = true});
  Sleep nap(worker, 10ms);
  nap.cancel(reason(base::Code::kDraining));
  Result<> result;
  bool over = false;
  worker.spawn(pause(nap, result, over));
  worker.poll();
  ASSERT_TRUE(over);
  EXPECT_EQ(result.error().code, base::Code::kDraining);
}

TEST(Cancel, AfterTheSleepIsOver_ChangesNothing) {
  Worker worker({.manual_clock = true});
  Sleep nap(worker, 10ms);
  Result<> result = std::unexpected(reason(base::Code::kInternal));
  bool over = false;
  worker.spawn(pause(nap, result, over));
  worker.poll();
  worker.advance(10ms);
  EXPECT_TRUE(over && result);
  nap.cancel(reason(base::Code::kReset));
  EXPECT_EQ(worker.poll(), 0u);
}

TEST(Deadline, FiresWithItsReasonUnlessDisarmed) {
  Worker worker({.manual_clock = true});
  Sleep nap(worker, 1h), other(worker, 20ms);
  Result<> result, other_result;
  bool over = false, other_over = false;
  worker.spawn(pause(nap, result, over));
  worker.spawn(pause(other, other_result, other_over));
  worker.poll();
  Deadline deadline(worker, nap), harmless(worker, other);
  deadline.arm(15ms, reason(base::Code::kTimeout));
  harmless.arm(15ms, reason(base::Code::kTimeout));
  harmless.disarm();
  worker.advance(14ms);
  EXPECT_FALSE(over);
  EXPECT_EQ(deadline.left(), 1ms);
  worker.advance(1ms);
  ASSERT_TRUE(over);
  EXPECT_EQ(result.error().code, base::Code::kTimeout);
  EXPECT_FALSE(deadline.armed());
  worker.advance(5ms);
  EXPECT_TRUE(other_over && other_result);
}

struct Counter : Op {
  Counter() : Op([](Op& op) noexcept { ++static_cast<Counter&>(op).runs; }) {}
  int runs = 0;
};

TEST(ReadyQueue, OneRunPerQueueing_AndLeavesWhenItDies) {
  Worker worker({.manual_clock = true});
  Counter kept;
  {
    Counter dies;
    worker.ready(dies);
    worker.ready(kept);
    worker.ready(kept);
  }
  EXPECT_EQ(worker.poll(), 1u);
  EXPECT_EQ(kept.runs, 1);
}

}  // namespace
}  // namespace net
