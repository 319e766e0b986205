#pragma once

#include <string_view>

#include <fmt/format.h>

namespace init {

enum class Severity : unsigned char { kDebug, kInfo, kWarning, kError };

// Lines on stderr: "sluice-init: warning: …", or one JSON object each. Set once before anything is said.
void say_as(Severity least, bool json) noexcept;
// One line whatever the text holds: line breaks become spaces.
void say_line(Severity severity, std::string_view message);

template <class... A>
void say(Severity severity, fmt::format_string<A...> format, A&&... arguments) {
  say_line(severity, fmt::format(format, std::forward<A>(arguments)...));
}

}  // namespace init
