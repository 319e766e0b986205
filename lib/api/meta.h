#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "doc/problem.h"

namespace api {

using Labels = std::map<std::string, std::string>;

// Every label of `selector` is on `labels` with the same value. An empty selector fits everything.
bool selects(const Labels& selector, const Labels& labels);

struct Meta {
  std::string kind, name, name_space;    // name_space "default" when the file says nothing
  Labels labels, annotations;
  // creationTimestamp in seconds since 1970; files without one count as equally old, and the name decides (traffic.md §2.1.1).
  int64_t created = 0;
  doc::Mark at;                          // of the document's first key
  // "VirtualService/default/reviews"; cluster-wide kinds have two parts: "Namespace/default".
  std::string id() const { return name_space.empty() ? kind + '/' + name : kind + '/' + name_space + '/' + name; }
};

// Older first, then name, then namespace: the order in which Istio lets objects win.
bool older(const Meta& a, const Meta& b);

// A text together with the place where it was written, for fields that other fields refer to.
struct Text {
  std::string value;
  doc::Mark at;
  bool empty() const noexcept { return value.empty(); }
};

}  // namespace api
