#pragma once

#include <memory_resource>
#include <optional>
#include <string_view>

#include "http/h1.h"

namespace http {

// The form of a path that matching, policy and the next hop all see (Istio: MeshConfig pathNormalization). `target` begins
// with a slash and has no fragment; what stands behind '?' is never touched. The answer is `target` itself when nothing had
// to change, else text in `arena`. nullopt: refuse the request, the path holds an encoded NUL (not looked for in kNone).
// kBase decodes unreserved characters, turns '\' into '/' and resolves dot segments (above the root they stay at the root);
// kMergeSlashes then makes one slash of several; kDecodeAndMergeSlashes decodes %2F and %5C before all that. Nothing is
// decoded twice, and escapes that are none stay as they are. Pure.
std::optional<std::string_view> normal_path(std::string_view target, PathMode mode, std::pmr::memory_resource* arena);

}  // namespace http
