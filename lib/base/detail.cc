#include "base/detail.h"

#include <cstddef>
#include <iterator>

namespace base {
namespace {
constexpr DetailRow kRows[] = {
#define SLUICE_DETAIL_ROW(name, text, flag, status, body) {text, flag, status, body},
    SLUICE_DETAILS(SLUICE_DETAIL_ROW)
#undef SLUICE_DETAIL_ROW
};
}  // namespace

const DetailRow& row(Detail detail) noexcept {
  const auto index = static_cast<size_t>(detail);
  return kRows[index < std::size(kRows) ? index : 0];
}
}  // namespace base
