#include "api/meta.h"

#include <tuple>

namespace api {

bool selects(const Labels& selector, const Labels& labels) {
  for (const auto& [key, value] : selector) {
    const auto found = labels.find(key);
    if (found == labels.end() || found->second != value) return false;
  }
  return true;
}

bool older(const Meta& a, const Meta& b) {
  return std::tie(a.created, a.name, a.name_space, a.kind) < std::tie(b.created, b.name, b.name_space, b.kind);
}

}  // namespace api
