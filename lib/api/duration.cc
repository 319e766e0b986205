#include "api/resource.h"

namespace api {

// Go's time.ParseDuration, which Istio's reader uses: a sum of decimal numbers with a unit each. Counted in nanoseconds, so
// that "whole milliseconds" is exact.
std::optional<std::chrono::milliseconds> parse_duration(std::string_view text) {
  struct Unit {
    std::string_view name;
    int64_t nanoseconds;
  };
  static constexpr Unit kUnits[] = {{"ns", 1}, {"us", 1'000}, {"ms", 1'000'000}, {"s", 1'000'000'000}, {"m", 60'000'000'000}, {"h", 3'600'000'000'000}};
  constexpr int64_t kMost = int64_t{1} << 53;   // about 104 days; far below overflow in every product below
  if (text == "0") return std::chrono::milliseconds(0);
  if (text.empty()) return std::nullopt;
  int64_t total = 0;
  while (!text.empty()) {
    const size_t end = text.find_first_not_of("0123456789.");
    if (end == 0 || end == std::string_view::npos) return std::nullopt;
    const std::string_view number = text.substr(0, end);
    text.remove_prefix(end);
    const std::string_view unit = text.substr(0, text.find_first_of("0123456789."));
    int64_t scale = 0;
    for (const Unit& known : kUnits)
      if (known.name == unit) scale = known.nanoseconds;
    if (scale == 0) return std::nullopt;
    text.remove_prefix(unit.size());

    int64_t value = 0;
    const size_t dot = number.find('.');
    if (number == "." || (dot != std::string_view::npos && number.find('.', dot + 1) != std::string_view::npos)) return std::nullopt;
    for (const char c : number.substr(0, dot)) {
      value = value * 10 + (c - '0');
      if (value > kMost / scale) return std::nullopt;
    }
    value *= scale;
    int64_t place = scale;
    for (const char c : dot == std::string_view::npos ? std::string_view() : number.substr(dot + 1)) {
      if (place % 10 != 0 && c != '0') return std::nullopt;   // finer than a nanosecond
      place /= 10;
      value += place * (c - '0');
    }
    total += value;
    if (total > kMost) return std::nullopt;
  }
  if (total % 1'000'000 != 0) return std::nullopt;
  return std::chrono::milliseconds(total / 1'000'000);
}

}  // namespace api
