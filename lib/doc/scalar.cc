#include "doc/scalar.h"

#include <algorithm>

namespace doc {
namespace {

bool digit(char c) noexcept { return c >= '0' && c <= '9'; }

size_t digits(std::string_view text, size_t from) noexcept {
  size_t end = from;
  while (end < text.size() && digit(text[end])) ++end;
  return end - from;
}

bool one_of(std::string_view text, std::initializer_list<std::string_view> words) noexcept {
  return std::find(words.begin(), words.end(), text) != words.end();
}

// [-+]? ( \. [0-9]+ | [0-9]+ ( \. [0-9]* )? ) ( [eE] [-+]? [0-9]+ )?
Plain decimal(std::string_view text) noexcept {
  size_t at = !text.empty() && (text[0] == '-' || text[0] == '+') ? 1 : 0;
  bool whole = true;
  const size_t before = digits(text, at);
  at += before;
  if (at < text.size() && text[at] == '.') {
    const size_t after = digits(text, at + 1);
    if (before == 0 && after == 0) return Plain::kText;
    at += 1 + after;
    whole = false;
  } else if (before == 0) {
    return Plain::kText;
  }
  if (at < text.size() && (text[at] == 'e' || text[at] == 'E')) {
    ++at;
    if (at < text.size() && (text[at] == '-' || text[at] == '+')) ++at;
    const size_t exponent = digits(text, at);
    if (exponent == 0) return Plain::kText;
    at += exponent;
    whole = false;
  }
  if (at != text.size()) return Plain::kText;
  return whole ? Plain::kInteger : Plain::kFloat;
}

bool all_of(std::string_view text, std::string_view legal) noexcept {
  return !text.empty() && text.find_first_not_of(legal) == std::string_view::npos;
}

}  // namespace

Plain resolve(std::string_view plain) noexcept {
  if (one_of(plain, {"", "~", "null", "Null", "NULL"})) return Plain::kNull;
  if (one_of(plain, {"true", "True", "TRUE", "false", "False", "FALSE"})) return Plain::kBool;
  if (plain.starts_with("0x") && all_of(plain.substr(2), "0123456789abcdefABCDEF")) return Plain::kInteger;
  if (plain.starts_with("0o") && all_of(plain.substr(2), "01234567")) return Plain::kInteger;
  std::string_view magnitude = plain;
  if (magnitude.starts_with('-') || magnitude.starts_with('+')) magnitude.remove_prefix(1);
  if (one_of(magnitude, {".inf", ".Inf", ".INF"}) || one_of(plain, {".nan", ".NaN", ".NAN"})) return Plain::kFloat;
  return decimal(plain);
}

bool is_json_number(std::string_view text) noexcept {
  std::string_view magnitude = text;
  if (magnitude.starts_with('-')) magnitude.remove_prefix(1);
  if (magnitude.empty() || !digit(magnitude[0])) return false;
  if (magnitude[0] == '0' && magnitude.size() > 1 && digit(magnitude[1])) return false;
  const size_t dot = magnitude.find('.');
  if (dot != std::string_view::npos && (dot + 1 == magnitude.size() || !digit(magnitude[dot + 1]))) return false;
  const Plain kind = decimal(text);
  return kind == Plain::kInteger || kind == Plain::kFloat;
}

size_t utf8_length(std::string_view text) noexcept {
  if (text.empty()) return 0;
  const auto byte = [&](size_t i) { return static_cast<unsigned char>(text[i]); };
  const auto tail = [&](size_t i) { return i < text.size() && (byte(i) & 0xC0) == 0x80; };
  const unsigned char first = byte(0);
  if (first < 0x80) return 1;
  if (first >= 0xC2 && first <= 0xDF) return tail(1) ? 2 : 0;
  if (first >= 0xE0 && first <= 0xEF) {
    if (!tail(1) || !tail(2)) return 0;
    if (first == 0xE0 && byte(1) < 0xA0) return 0;
    if (first == 0xED && byte(1) > 0x9F) return 0;
    return 3;
  }
  if (first >= 0xF0 && first <= 0xF4) {
    if (!tail(1) || !tail(2) || !tail(3)) return 0;
    if (first == 0xF0 && byte(1) < 0x90) return 0;
    if (first == 0xF4 && byte(1) > 0x8F) return 0;
    return 4;
  }
  return 0;
}

}  // namespace doc
