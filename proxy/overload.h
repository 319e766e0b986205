#pragma once

#include <functional>
#include <optional>

#include "proxy/memory_use.h"
#include "stats/registry.h"

namespace proxy {

// Decides whether requests are refused because memory runs out: from 90 % of the limit until it is below 85 % again. Between
// the two the last decision stands, so that a proxy at the edge does not flap with each reading.
class Overload {
 public:
  using Read = std::function<std::optional<MemoryUse>()>;
  Overload(Read read, stats::Shard& shard);   // the shard is written by look() only
  // One reading; true: shed load now. Says in the log when that changes. A reading that fails keeps the decision.
  bool look();
  bool shedding() const noexcept { return shedding_; }

 private:
  const Read read_;
  bool shedding_ = false;
  stats::Cell &used_, &limit_, &active_, &times_;
};

}  // namespace proxy
