#pragma once

#include <string_view>

namespace base {
std::string_view version() noexcept;        // "0.1.0"
std::string_view version_line() noexcept;   // "0.1.0 (1a2b3c4d5e6f)": what --version and /server_info show after the program's name
}  // namespace base
