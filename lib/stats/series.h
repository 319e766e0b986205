#pragma once

#include <string>
#include <string_view>

#include "stats/registry.h"

namespace stats {

// What tells one series from another. Inside this room only.
struct SeriesView {
  Kind kind;
  std::string_view name;
  const Labels* labels;
};
struct Series {
  Kind kind;
  std::string name;
  Labels labels;
  SeriesView view() const noexcept { return {kind, name, &labels}; }
};

}  // namespace stats
