#pragma once

#include <cstdio>
#include <string>
#include <string_view>

#include <fmt/format.h>

namespace ctl {

// One line on stderr that says what went wrong and what to do.
inline void complain(std::string_view line) { fmt::print(stderr, "sluice: {}\n", line); }

// Escape sequences for a terminal, empty strings for anything else (or where NO_COLOR is set).
struct Style {
  std::string_view bold, dim, green, red, yellow, cyan, plain;
  static Style of(std::FILE* stream);
};

bool is_terminal(std::FILE* stream);

}  // namespace ctl
