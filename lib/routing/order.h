#pragma once

#include <algorithm>
#include <functional>
#include <numeric>
#include <utility>
#include <vector>

namespace routing {

// Sorts by key, equal keys keep their order. The standard library's own goes through a deprecated function of this libstdc++,
// which clang reports at every use.
template <class T, class Key, class Less = std::less<>> void sort_keeping_order(std::vector<T>& list, Key key, Less less = {}) {
  std::vector<size_t> order(list.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::ranges::sort(order, [&](size_t a, size_t b) {
    if (less(key(list[a]), key(list[b]))) return true;
    return !less(key(list[b]), key(list[a])) && a < b;
  });
  std::vector<T> out;
  out.reserve(list.size());
  for (const size_t i : order) out.push_back(std::move(list[i]));
  list = std::move(out);
}

}  // namespace routing
