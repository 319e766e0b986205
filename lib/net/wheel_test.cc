#include "net/wheel.h"

#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <random>
#include <vector>

#include "net/worker.h"

namespace net {
namespace {

using std::chrono::milliseconds;
using namespace std::chrono_literals;

// Notes when it fires; may do something more then.
class Alarm final : public Timer {
 public:
  explicit Alarm(Worker& w, std::function<void(Alarm&)> then = {}) : Timer(w), then_(std::move(then)) {}
  std::vector<milliseconds> fired;

 private:
  void fire() noexcept override {
    static const auto since = [](Worker& w) { return w.now().time_since_epoch(); };
    fired.push_back(std::chrono::duration_cast<milliseconds>(since(worker())));
    if (then_) then_(*this);
  }
  std::function<void(Alarm&)> then_;
};

milliseconds time_of(Worker& worker) { return std::chrono::duration_cast<milliseconds>(worker.now().time_since_epoch()); }

// Waits of every length the levels know, their borders included.
milliseconds some_wait(std::mt19937_64& random) {
  const unsigned bits = random() % 30;
  const uint64_t about = uint64_t{1} << bits;
  switch (random() % 4) {
    case 0: return milliseconds(about);
    case 1: return milliseconds(about - 1);
    default: return milliseconds(random() % (2 * about));
  }
}

TEST(Wheel, RandomSchedules_EachTimerOnItsMillisecond) {
  for (unsigned seed = 0; seed < 60; ++seed) {
    std::mt19937_64 random(seed);
    Worker worker({.manual_clock = true});
    worker.advance(some_wait(random));                   // so that the digits of now are not all zero
    std::vector<std::unique_ptr<Alarm>> alarms;
    std::vector<milliseconds> due;
    for (int i = 0; i < 200; ++i) {
      const milliseconds wait = some_wait(random);
      alarms.push_back(std::make_unique<Alarm>(worker));
      alarms.back()->arm(wait);
      due.push_back(time_of(worker) + wait);
      if (random() % 4 == 0) worker.advance(milliseconds(random() % 50));
    }
    std::vector<bool> taken_back(200);
    for (int i = 0; i < 40; ++i) {
      const size_t index = random() % 200;
      if (!alarms[index]->armed()) continue;
      alarms[index]->disarm();
      taken_back[index] = true;
    }
    for (int i = 0; i < 80; ++i) {                       // put off, brought forward, or armed anew after all
      const size_t index = random() % 200;
      if (!alarms[index]->fired.empty()) continue;
      const milliseconds wait = some_wait(random);
      alarms[index]->arm(wait);
      due[index] = time_of(worker) + wait;
      taken_back[index] = false;
    }
    worker.advance(milliseconds(uint64_t{1} << 31));
    for (size_t i = 0; i < 200; ++i) {
      if (taken_back[i]) {
        EXPECT_TRUE(alarms[i]->fired.empty());
      } else {
        ASSERT_EQ(alarms[i]->fired.size(), 1u) << "seed " << seed << " timer " << i;
        EXPECT_EQ(alarms[i]->fired[0], due[i]) << "seed " << seed << " timer " << i;
      }
    }
  }
}

TEST(Wheel, SameMillisecond_FiresInTheOrderOfArming) {
  Worker worker({.manual_clock = true});
  std::vector<int> order;
  std::vector<std::unique_ptr<Alarm>> alarms;
  const milliseconds total = 100'000ms;
  for (int i = 0; i < 50; ++i) {
    alarms.push_back(std::make_unique<Alarm>(worker, [&order, i](Alarm&) { order.push_back(i); }));
    alarms.back()->arm(total - milliseconds(i * 1'999));
    worker.advance(1'999ms);
  }
  worker.advance(total);
  ASSERT_EQ(order.size(), 50u);
  for (int i = 0; i < 50; ++i) EXPECT_EQ(order[i], i);
}

TEST(Wheel, TimerThatFires_MayArmItselfAndDisarmOthers) {
  Worker worker({.manual_clock = true});
  Alarm victim(worker);
  Alarm every(worker, [&victim](Alarm& self) {
    victim.disarm();
    if (self.fired.size() < 5) self.arm(10ms);
  });
  const milliseconds start = time_of(worker);
  every.arm(10ms);
  victim.arm(10ms);                                      // due in the same millisecond, behind the other
  worker.advance(1s);
  EXPECT_TRUE(victim.fired.empty());
  ASSERT_EQ(every.fired.size(), 5u);
  for (int i = 0; i < 5; ++i) EXPECT_EQ(every.fired[i] - start, 10ms * (i + 1));
}

TEST(Wheel, ZeroOrLess_FiresInTheNextTurn) {
  Worker worker({.manual_clock = true});
  Alarm now(worker), before(worker);
  now.arm(0ms);
  before.arm(-5ms);
  EXPECT_TRUE(now.fired.empty());
  worker.poll();
  EXPECT_EQ(now.fired.size(), 1u);
  EXPECT_EQ(before.fired.size(), 1u);
}

TEST(Wheel, ArmedAgain_CountsFromTheSecondTime) {
  Worker worker({.manual_clock = true});
  Alarm alarm(worker);
  alarm.arm(10ms);
  worker.advance(9ms);
  alarm.arm(10ms);
  worker.advance(9ms);
  EXPECT_TRUE(alarm.fired.empty());
  EXPECT_EQ(alarm.left(), 1ms);
  worker.advance(1ms);
  EXPECT_EQ(alarm.fired.size(), 1u);
  EXPECT_EQ(alarm.left(), 0ms);
}

// 2^36 ms is once around the top level.
TEST(Wheel, CrossesTheEndOfTheTopLevel) {
  Worker worker({.manual_clock = true});
  const uint64_t around = uint64_t{1} << 36;
  worker.advance(milliseconds(around - 1'000));
  Alarm before(worker), after(worker), far(worker);
  const milliseconds start = time_of(worker);
  before.arm(900ms);
  after.arm(1'100ms);
  far.arm(milliseconds(uint64_t{1} << 34));
  worker.advance(milliseconds(uint64_t{1} << 34));
  ASSERT_EQ(before.fired.size() + after.fired.size() + far.fired.size(), 3u);
  EXPECT_EQ(before.fired[0] - start, 900ms);
  EXPECT_EQ(after.fired[0] - start, 1'100ms);
  EXPECT_EQ((far.fired[0] - start).count(), int64_t{1} << 34);
}

TEST(Wheel, LongerThanItReaches_IsCut) {
  Worker worker({.manual_clock = true});
  Alarm alarm(worker);
  alarm.arm(milliseconds(uint64_t{1} << 40));
  EXPECT_EQ(alarm.left().count(), static_cast<int64_t>(Wheel::kFurthest));
}

TEST(Wheel, DiesArmed_IsForgotten) {
  Worker worker({.manual_clock = true});
  {
    Alarm alarm(worker);
    alarm.arm(10ms);
  }
  EXPECT_EQ((worker.advance(20ms), worker.poll()), 0u);
}

TEST(Wheel, RealClock_NeverEarly_AndLongDeadlinesWakeNobody) {
  Worker worker({});
  std::vector<std::unique_ptr<Alarm>> hours;
  for (int i = 0; i < 6'200; ++i) {
    hours.push_back(std::make_unique<Alarm>(worker));
    hours.back()->arm(1h + milliseconds(i));
  }
  Alarm end(worker, [&worker](Alarm&) { worker.stop(); });
  const auto start = worker.now();
  end.arm(100ms);
  worker.run();
  EXPECT_GE(worker.now() - start, 100ms);
  EXPECT_EQ(worker.turns(), 1u);
}

}  // namespace
}  // namespace net
