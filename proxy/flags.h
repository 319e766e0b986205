#pragma once

#include <array>
#include <string>
#include <string_view>

#include "base/detail.h"

namespace proxy {

// The response flags of one request, in the order they were set (traffic.md §0-20). There are never more than a few.
class Flags {
 public:
  void add(std::string_view flag) noexcept {
    if (flag.empty() || count_ == flags_.size()) return;
    for (size_t i = 0; i < count_; ++i)
      if (flags_[i] == flag) return;
    flags_[count_++] = flag;
  }
  void add(base::Detail detail) noexcept { add(base::row(detail).flag); }
  bool empty() const noexcept { return count_ == 0; }
  // "-" or "URX,UF". The view is good as long as `scratch`.
  std::string_view text(std::string& scratch) const {
    if (count_ == 0) return "-";
    if (count_ == 1) return flags_[0];
    scratch.clear();
    for (size_t i = 0; i < count_; ++i) {
      if (i != 0) scratch += ',';
      scratch += flags_[i];
    }
    return scratch;
  }

 private:
  std::array<std::string_view, 6> flags_{};
  size_t count_ = 0;
};

}  // namespace proxy
