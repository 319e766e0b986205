#pragma once

#include <chrono>
#include <string>

#include "log/log.h"

namespace logs {

// One line of the process's own log, newline included. Inside this room only.
std::string own_line(std::chrono::system_clock::time_point at, Component component, Level level, std::string_view message, bool json);

}  // namespace logs
