#pragma once

#include <string_view>

namespace base {

// A file of this name in a --config root says that `sluice up` wrote the root: what stands in it replaces the user's own
// objects by intention. Its dot keeps it out of the configuration and of the digest.
inline constexpr std::string_view kGeneratedMark = ".sluice-generated";

}  // namespace base
