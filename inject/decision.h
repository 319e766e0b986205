#pragma once

#include <string>
#include <string_view>

#include "api/meta.h"
#include "doc/node.h"

namespace inject {

struct Verdict {
  bool inject = false;
  std::string why;      // half a sentence for people
  std::string warning;  // empty, or what in the pod had no effect
};

// The webhook configuration's selectors: would the API server call us for this pod? `namespace_labels` null: no such namespace
// is known, which counts as without labels (inject.md §1.2).
Verdict selected(const api::Labels* namespace_labels, const api::Labels& pod_labels, std::string_view revision);

// The server's own rules for a pod that reached it, policy enabled (inject.md §1.3).
Verdict required(const doc::Node& pod, std::string_view name_space);

}  // namespace inject
