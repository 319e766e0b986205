#include "stats/registry.h"

#include <algorithm>
#include <array>
#include <functional>
#include <mutex>
#include <unordered_map>
#include <unordered_set>

#include "stats/series.h"

namespace stats {
namespace {

constexpr size_t kChunk = 64;            // series per allocation: 64 counters are eight cache lines of one worker

// Cells stand together, apart from the texts, so that a request touches few cache lines.
struct alignas(64) Chunk {
  std::array<Cell, kChunk> cells;
  std::array<std::unique_ptr<const Series>, kChunk> series;
  std::array<std::unique_ptr<Histogram>, kChunk> histograms;
  // How many are complete. The owner stores with release after filling the slot, readers load with acquire: what they see
  // below it never changes again.
  std::atomic<uint32_t> count{0};
  std::atomic<Chunk*> next{nullptr};     // release and acquire, as `count`
};

bool same(const SeriesView& a, const SeriesView& b) noexcept { return a.kind == b.kind && a.name == b.name && *a.labels == *b.labels; }

struct Hash {
  using is_transparent = void;
  size_t operator()(const SeriesView& s) const noexcept {
    size_t h = std::hash<std::string_view>()(s.name) + static_cast<size_t>(s.kind);
    for (const auto& [key, value] : *s.labels) h = h * 31 + std::hash<std::string_view>()(value);
    return h;
  }
  size_t operator()(const Series* s) const noexcept { return (*this)(s->view()); }
};
struct Equal {
  using is_transparent = void;
  bool operator()(const Series* a, const Series* b) const noexcept { return same(a->view(), b->view()); }
  bool operator()(const SeriesView& a, const Series* b) const noexcept { return same(a, b->view()); }
  bool operator()(const Series* a, const SeriesView& b) const noexcept { return same(a->view(), b); }
};

Labels folded(const Labels& labels) {
  Labels all = labels;
  for (auto& [key, value] : all) value = "overflow";
  return all;
}

// How many series of one name exist over all shards. Shards ask for it once per name, so the lock is not on a request's way.
class Families {
 public:
  std::atomic<size_t>& family(std::string_view name) {
    const std::lock_guard lock(mutex_);
    return counts_.try_emplace(std::string(name), 0).first->second;   // nodes of unordered_map stay where they are
  }

 private:
  std::mutex mutex_;
  std::unordered_map<std::string, std::atomic<size_t>> counts_;
};

struct Slot {
  Chunk* chunk;
  size_t at;
};

}  // namespace

struct Shard::Impl {
  Impl(Families& all, size_t most) : families(all), cap(most) {}
  ~Impl() {
    for (Chunk* chunk = first.next.load(std::memory_order_relaxed); chunk;) {
      Chunk* next = chunk->next.load(std::memory_order_relaxed);
      delete chunk;
      chunk = next;
    }
  }

  Slot find_or_add(Kind kind, std::string_view name, const Labels& labels, const Bounds* bounds) {
    const SeriesView wanted{kind, name, &labels};
    if (const auto found = index.find(wanted); found != index.end()) return found->second;
    auto mine = counts.find(name);
    if (mine == counts.end()) mine = counts.emplace(std::string(name), &families.family(name)).first;
    // Relaxed: a plain tally. Two shards that add at the same moment cannot both take the last place.
    if (mine->second->fetch_add(1, std::memory_order_relaxed) < cap) return add(kind, name, labels, bounds);
    mine->second->fetch_sub(1, std::memory_order_relaxed);
    const Labels rest = folded(labels);
    if (const auto found = index.find(SeriesView{kind, name, &rest}); found != index.end()) return found->second;
    return add(kind, name, rest, bounds);   // not counted: one more per set of label names
  }

  Slot add(Kind kind, std::string_view name, const Labels& labels, const Bounds* bounds) {
    uint32_t at = last->count.load(std::memory_order_relaxed);
    if (at == kChunk) {
      auto* fresh = new Chunk;
      last->next.store(fresh, std::memory_order_release);
      last = fresh;
      at = 0;
    }
    last->series[at] = std::make_unique<const Series>(Series{kind, std::string(name), labels});
    if (bounds) last->histograms[at] = std::make_unique<Histogram>(*bounds);
    index.emplace(last->series[at].get(), Slot{last, at});
    last->count.store(at + 1, std::memory_order_release);
    return {last, at};
  }

  // Any thread: every series that is complete by now.
  template <class F> void walk(F visit) const {
    for (const Chunk* chunk = &first; chunk; chunk = chunk->next.load(std::memory_order_acquire)) {
      const uint32_t count = chunk->count.load(std::memory_order_acquire);
      for (uint32_t i = 0; i < count; ++i) visit(*chunk->series[i], chunk->cells[i], chunk->histograms[i].get());
    }
  }

  struct NameHash {
    using is_transparent = void;
    size_t operator()(std::string_view name) const noexcept { return std::hash<std::string_view>()(name); }
  };
  Families& families;
  const size_t cap;
  Chunk first;
  Chunk* last = &first;                  // owner only, as index and counts
  std::unordered_map<const Series*, Slot, Hash, Equal> index;
  std::unordered_map<std::string, std::atomic<size_t>*, NameHash, std::equal_to<>> counts;
};

Shard::Shard(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Shard::~Shard() = default;

Cell& Shard::counter(std::string_view name, const Labels& labels) {
  const Slot slot = impl_->find_or_add(Kind::kCounter, name, labels, nullptr);
  return slot.chunk->cells[slot.at];
}

Cell& Shard::gauge(std::string_view name, const Labels& labels) {
  const Slot slot = impl_->find_or_add(Kind::kGauge, name, labels, nullptr);
  return slot.chunk->cells[slot.at];
}

Histogram& Shard::histogram(std::string_view name, const Bounds& bounds, const Labels& labels) {
  const Slot slot = impl_->find_or_add(Kind::kHistogram, name, labels, &bounds);
  return *slot.chunk->histograms[slot.at];
}

void Histogram::record(double value) noexcept {
  const auto bucket = std::lower_bound(bounds_.begin(), bounds_.end(), value) - bounds_.begin();   // the first bound that holds it
  buckets_[static_cast<size_t>(bucket)].add();
  sum_.store(sum_.load(std::memory_order_relaxed) + value, std::memory_order_relaxed);
}

// Envoy has one list of buckets, in milliseconds or bytes alike, and Istio leaves it as it is.
const Bounds& duration_ms_bounds() {
  static const Bounds bounds{0.5,  1,    5,    10,    25,    50,    100,    250,    500,    1000,
                             2500, 5000, 10000, 30000, 60000, 300000, 600000, 1800000, 3600000};
  return bounds;
}
const Bounds& bytes_bounds() { return duration_ms_bounds(); }

struct Registry::Impl {
  explicit Impl(size_t most) : cap(most) {}
  const size_t cap;
  Families families;
  mutable std::mutex mutex;              // of `shards`: scrapes and make_shard, never a worker
  std::vector<std::unique_ptr<Shard>> shards;
};

Registry::Registry(size_t series_cap_per_name) : impl_(std::make_unique<Impl>(series_cap_per_name)) {}
Registry::~Registry() = default;

Shard& Registry::make_shard() {
  std::unique_ptr<Shard> shard(new Shard(std::make_unique<Shard::Impl>(impl_->families, impl_->cap)));
  const std::lock_guard lock(impl_->mutex);
  return *impl_->shards.emplace_back(std::move(shard));
}

std::vector<Registry::Sample> Registry::merged() const {
  std::vector<Sample> samples;
  std::unordered_map<const Series*, size_t, Hash, Equal> places;
  const std::lock_guard lock(impl_->mutex);
  for (const auto& shard : impl_->shards) {
    shard->impl_->walk([&](const Series& series, const Cell& cell, const Histogram* histogram) {
      const auto [place, fresh] = places.try_emplace(&series, samples.size());
      if (fresh) samples.push_back({series.name, &series.labels, series.kind, 0, nullptr, {}, 0});
      Sample& sample = samples[place->second];
      if (!histogram) {
        sample.value += cell.value();
        return;
      }
      if (!sample.bounds) {
        sample.bounds = &histogram->bounds();
        sample.buckets.assign(histogram->bounds().size() + 1, 0);
      }
      for (size_t i = 0; i < std::min(sample.buckets.size(), histogram->bounds().size() + 1); ++i) sample.buckets[i] += histogram->bucket(i);
      sample.sum += histogram->sum();
    });
  }
  std::sort(samples.begin(), samples.end(), [](const Sample& a, const Sample& b) {
    if (a.name != b.name) return a.name < b.name;
    if (a.kind != b.kind) return a.kind < b.kind;
    return *a.labels < *b.labels;
  });
  return samples;
}

}  // namespace stats
