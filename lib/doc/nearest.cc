#include "doc/nearest.h"

#include <algorithm>

namespace doc {
namespace {

char lower(char c) noexcept { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }

bool equal_but_for_case(std::string_view a, std::string_view b) noexcept {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](char x, char y) { return lower(x) == lower(y); });
}

// Edit distance where swapping two neighbours counts once, as typing mistakes do; gives up above `limit`.
size_t distance(std::string_view a, std::string_view b, size_t limit) {
  const size_t gap = a.size() > b.size() ? a.size() - b.size() : b.size() - a.size();
  if (gap > limit) return limit + 1;
  std::vector<size_t> before(b.size() + 1), last(b.size() + 1), row(b.size() + 1);
  for (size_t j = 0; j <= b.size(); ++j) last[j] = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      row[j] = std::min({last[j] + 1, row[j - 1] + 1, last[j - 1] + (lower(a[i - 1]) == lower(b[j - 1]) ? 0 : 1)});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) row[j] = std::min(row[j], before[j - 2] + 1);
    }
    if (*std::min_element(row.begin(), row.end()) > limit) return limit + 1;
    before.swap(last);
    last.swap(row);
  }
  return last[b.size()];
}

}  // namespace

std::string_view nearest(std::string_view wrong, const std::vector<std::string_view>& candidates) {
  // Names longer than any Kubernetes allows are not compared: a hostile file must not buy quadratic work.
  if (wrong.empty() || wrong.size() > 253) return {};
  std::string_view best;
  size_t limit = std::max<size_t>(1, wrong.size() / 3);
  if (wrong.size() < 3) limit = 0;
  for (const std::string_view candidate : candidates) {
    if (candidate == wrong || candidate.empty() || candidate.size() > 253) continue;
    if (equal_but_for_case(candidate, wrong)) return candidate;
    const size_t far = distance(wrong, candidate, limit);
    if (far > limit || (far == limit && !best.empty())) continue;
    best = candidate;
    limit = far;
  }
  return best;
}

}  // namespace doc
