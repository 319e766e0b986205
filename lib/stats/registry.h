#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace stats {

// Counters cost their worker one relaxed load and store: a cell has exactly one writing thread, readers merge.
class Cell {
 public:
  void add(uint64_t n = 1) noexcept { value_.store(value_.load(std::memory_order_relaxed) + n, std::memory_order_relaxed); }
  void sub(uint64_t n = 1) noexcept { value_.store(value_.load(std::memory_order_relaxed) - n, std::memory_order_relaxed); }
  void set(uint64_t n) noexcept { value_.store(n, std::memory_order_relaxed); }
  uint64_t value() const noexcept { return value_.load(std::memory_order_relaxed); }

 private:
  // Relaxed: each cell stands for itself; a scrape may see one counter a moment older than another.
  std::atomic<uint64_t> value_{0};
};

using Labels = std::vector<std::pair<std::string, std::string>>;   // in the order they are printed

enum class Kind : uint8_t { kCounter, kGauge, kHistogram };

// Bucket bounds of one histogram family, in its own unit, ascending; +Inf is implied.
using Bounds = std::vector<double>;
const Bounds& duration_ms_bounds();      // Istio's (reference traffic.md §4.5)
const Bounds& bytes_bounds();            // Istio's, which are Envoy's only list: the same

class Histogram {
 public:
  explicit Histogram(const Bounds& bounds) : bounds_(bounds), buckets_(bounds.size() + 1) {}
  void record(double value) noexcept;    // by its one writing thread
  const Bounds& bounds() const noexcept { return bounds_; }
  uint64_t bucket(size_t i) const noexcept { return buckets_[i].value(); }
  double sum() const noexcept { return sum_.load(std::memory_order_relaxed); }

 private:
  const Bounds& bounds_;
  std::vector<Cell> buckets_;
  std::atomic<double> sum_{0};           // one writer, relaxed as the cells
};

// The series of one thread (a worker, main, config). Only its owner adds series and writes; any thread may walk it at any
// time: series are published in append-only chunks, with release by the owner and acquire by the reader. Handles stay valid
// as long as the registry.
class Registry;
class Shard {
 public:
  ~Shard();
  // Finds or makes the series. Beyond the registry's cap of series per name one folded series (every label "overflow") counts
  // the rest. The returned references live as long as the registry.
  Cell& counter(std::string_view name, const Labels& labels = {});
  Cell& gauge(std::string_view name, const Labels& labels = {});
  Histogram& histogram(std::string_view name, const Bounds& bounds, const Labels& labels = {});

 private:
  friend class Registry;
  struct Impl;
  explicit Shard(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

// All series of the process. Names have no prefix added: `istio_requests_total`, `envoy_cluster_upstream_cx_total`.
class Registry {
 public:
  explicit Registry(size_t series_cap_per_name = 10'000);
  ~Registry();
  Shard& make_shard();                   // call before the threads start

  // One series summed over all shards.
  struct Sample {
    std::string_view name;
    const Labels* labels;
    Kind kind;
    uint64_t value = 0;                  // counter, gauge
    const Bounds* bounds = nullptr;      // histogram …
    std::vector<uint64_t> buckets;       // … not cumulative, one more than bounds
    double sum = 0;
  };
  std::vector<Sample> merged() const;    // any thread; sorted by name, then labels
  // Prometheus text format 0.0.4, with # TYPE lines. `used_only` leaves zeros out; `filter` is a substring of the name.
  std::string prometheus(bool used_only = false, std::string_view filter = {}) const;
  // Envoy's `name: value` lines: labels joined into the name with dots.
  std::string text(bool used_only = false, std::string_view filter = {}) const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace stats
