#pragma once

#include <string_view>
#include <vector>

namespace doc {

// The candidate that was probably meant by `wrong`: equal but for case, else the smallest edit distance of at most a third of
// its length (at least one), else empty. For "did you mean". Ties go to the earlier candidate.
std::string_view nearest(std::string_view wrong, const std::vector<std::string_view>& candidates);

}  // namespace doc
