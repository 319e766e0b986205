#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/ip.h"

// Appending to a line without allocating; only this room includes it.
namespace telemetry {

void append_number(std::string& out, uint64_t number);
void append_ip(std::string& out, const base::Ip& ip);                    // no brackets
// Control bytes as \xNN, quotes and backslashes with a backslash before them: one line, balanced quotes.
void append_line_text(std::string& out, std::string_view text);
// The inside of a JSON string. Bytes that are not UTF-8 become the text \xNN.
void append_json_text(std::string& out, std::string_view text);
// Letters, digits and .-*:_ stay, everything else becomes "_".
void append_host_name(std::string& out, std::string_view text);
// Empty format: 2026-08-22T10:11:12.345Z. Otherwise strftime's, in UTC, with Envoy's additions %f, %1f to %9f, %E3S and %s.
void append_time(std::string& out, std::chrono::system_clock::time_point at, const std::string& format);

}  // namespace telemetry
