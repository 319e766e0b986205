#pragma once

#include "api/mesh.h"
#include "doc/problem.h"

namespace validate {

// Checks that need more than one object, or more than a field's own form: references that lead nowhere (subset, host, port,
// gateway name, gateway selector without a pod), rules that can never match, subsets that select nothing, hosts that conflict.
// All of them warnings that name what was probably meant; each stands at the line of the reference. Pure.
doc::Problems check(const api::Mesh& mesh);

// The candidate nearest to `wrong` (edit distance, at most a third of its length), or empty: for "did you mean".
std::string_view nearest(std::string_view wrong, const std::vector<std::string_view>& candidates);

}  // namespace validate
