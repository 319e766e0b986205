#include "stats/registry.h"

#include <gtest/gtest.h>

#include <thread>

namespace stats {
namespace {

TEST(Registry, Shards_AreSummed) {
  Registry registry;
  Shard& a = registry.make_shard();
  Shard& b = registry.make_shard();
  a.counter("requests", {{"code", "200"}}).add(3);
  b.counter("requests", {{"code", "200"}}).add(4);
  b.counter("requests", {{"code", "503"}}).add();
  b.gauge("active").set(7);
  const auto merged = registry.merged();
  ASSERT_EQ(merged.size(), 3u);
  EXPECT_EQ(merged[0].name, "active");
  EXPECT_EQ(merged[0].value, 7u);
  EXPECT_EQ(merged[1].value, 7u);
  EXPECT_EQ((*merged[2].labels)[0].second, "503");
}

TEST(Registry, SameSeriesAgain_IsTheSameCell) {
  Registry registry;
  Shard& shard = registry.make_shard();
  Cell& first = shard.counter("x", {{"a", "1"}});
  for (int i = 0; i < 500; ++i) shard.counter("x", {{"a", std::to_string(i)}});
  EXPECT_EQ(&first, &shard.counter("x", {{"a", "1"}}));
  EXPECT_NE(&first, &shard.gauge("x", {{"a", "1"}}));
}

TEST(Registry, Prometheus_TypesEscapesAndCumulativeBuckets) {
  Registry registry;
  Shard& shard = registry.make_shard();
  shard.counter("a_total", {{"path", "x\"y\\z\nw"}, {"b.c", ""}}).add(2);
  shard.counter("a_total", {{"path", "other"}, {"b.c", ""}});
  static const Bounds bounds{0.5, 1, 2500};
  Histogram& histogram = shard.histogram("ms", bounds);
  for (const double value : {0.25, 0.5, 0.75, 2500.0, 1e6}) histogram.record(value);
  EXPECT_EQ(registry.prometheus(),
            "# TYPE a_total counter\n"
            "a_total{path=\"other\",b_c=\"\"} 0\n"
            "a_total{path=\"x\\\"y\\\\z\\nw\",b_c=\"\"} 2\n"
            "# TYPE ms histogram\n"
            "ms_bucket{le=\"0.5\"} 2\n"
            "ms_bucket{le=\"1\"} 3\n"
            "ms_bucket{le=\"2500\"} 4\n"
            "ms_bucket{le=\"+Inf\"} 5\n"
            "ms_sum 1002501.5\n"
            "ms_count 5\n");
  EXPECT_EQ(registry.prometheus(true, "a_tot"), "# TYPE a_total counter\na_total{path=\"x\\\"y\\\\z\\nw\",b_c=\"\"} 2\n");
}

TEST(Registry, Text_IsEnvoysForm) {
  Registry registry;
  Shard& shard = registry.make_shard();
  shard.counter("cluster.a.upstream_cx_total").add(5);
  shard.counter("istio_requests_total", {{"reporter", "source"}}).add(1);
  shard.gauge("zero");
  static const Bounds bounds{10, 20};
  for (int i = 0; i < 10; ++i) shard.histogram("h", bounds).record(15);
  EXPECT_EQ(registry.text(true),
            "cluster.a.upstream_cx_total: 5\n"
            "h: P0(nan,10) P25(nan,12.5) P50(nan,15) P75(nan,17.5) P90(nan,19) P95(nan,19.5) P99(nan,19.9) P99.5(nan,19.95) "
            "P99.9(nan,19.99) P100(nan,20)\n"
            "istio_requests_total.reporter.source: 1\n");
  EXPECT_NE(registry.text().find("zero: 0\n"), std::string::npos);
}

TEST(Registry, BeyondTheCap_OneFoldedSeriesCountsTheRest) {
  Registry registry(10);
  Shard& a = registry.make_shard();
  Shard& b = registry.make_shard();
  for (int i = 0; i < 1000; ++i) (i % 2 ? a : b).counter("hosts", {{"host", std::to_string(i)}, {"code", "404"}}).add();
  a.counter("other", {{"host", "x"}}).add();
  uint64_t total = 0, folded = 0;
  size_t hosts = 0;
  for (const auto& sample : registry.merged()) {
    if (sample.name != "hosts") continue;
    ++hosts;
    total += sample.value;
    if (*sample.labels == Labels{{"host", "overflow"}, {"code", "overflow"}}) folded = sample.value;
  }
  EXPECT_EQ(hosts, 11u);
  EXPECT_EQ(total, 1000u);
  EXPECT_EQ(folded, 990u);
  EXPECT_NE(registry.text().find("other.host.x: 1\n"), std::string::npos);
}

TEST(Registry, ScrapeWhileSeriesAreAdded_SeesWholeSeriesAndNeverLess) {
  Registry registry;
  constexpr int kThreads = 3, kSeries = 2000;
  std::atomic<int> running{kThreads};
  std::vector<std::thread> workers;
  for (int t = 0; t < kThreads; ++t) {
    workers.emplace_back([&running, &shard = registry.make_shard()] {
      for (int i = 0; i < kSeries; ++i) {
        shard.counter("c", {{"i", std::to_string(i)}}).add();
        if (i % 10 == 0) shard.histogram("h", duration_ms_bounds(), {{"i", std::to_string(i)}}).record(i);
      }
      running.fetch_sub(1);
    });
  }
  uint64_t before = 0;
  bool last = false;
  while (true) {
    uint64_t sum = 0;
    for (const auto& sample : registry.merged()) {
      sum += sample.value;
      ASSERT_EQ(sample.labels->size(), 1u);
    }
    EXPECT_GE(sum, before);
    before = sum;
    if (last) break;
    last = running.load() == 0;          // one more walk after everybody has ended
  }
  for (auto& worker : workers) worker.join();
  EXPECT_EQ(before, uint64_t{kThreads} * kSeries);
}

}  // namespace
}  // namespace stats
