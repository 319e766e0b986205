#include "proxy/overload.h"

#include <utility>

#include "log/log.h"

namespace proxy {
namespace {
// Of the limit, in percent. The gap below 100 is what arrives between two readings and what the kernel itself needs.
constexpr uint64_t kBegin = 90, kEnd = 85;
constexpr uint64_t kMiB = 1024 * 1024;
}  // namespace

Overload::Overload(Read read, stats::Shard& shard)
    : read_(std::move(read)), used_(shard.gauge("sluice_memory_used_bytes")), limit_(shard.gauge("sluice_memory_limit_bytes")),
      active_(shard.gauge("sluice_overload_active")), times_(shard.counter("sluice_overload_total")) {}

bool Overload::look() {
  const auto use = read_();
  if (!use) return shedding_;
  used_.set(use->used);
  limit_.set(use->limit);
  const uint64_t percent = use->limit / 100 > 0 ? use->used / (use->limit / 100) : 100;
  if (!shedding_ && percent >= kBegin) {
    shedding_ = true;
    times_.add();
    logs::warn(logs::Component::kMain, "memory: {} of {} MiB used, from {} % on new requests get 503 (OM) and idle connections are closed",
               use->used / kMiB, use->limit / kMiB, kBegin);
  } else if (shedding_ && percent < kEnd) {
    shedding_ = false;
    logs::info(logs::Component::kMain, "memory: {} of {} MiB used, requests are served again", use->used / kMiB, use->limit / kMiB);
  }
  active_.set(shedding_);
  return shedding_;
}

}  // namespace proxy
