#pragma once

#ifdef __SSE2__
#include <emmintrin.h>
#endif

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>

namespace http {

// Classes of bytes as RFC 9110 §5.6.2 and RFC 3986 define them, one table for every scanner of this room.
enum CharClass : uint8_t {
  kToken = 1,     // tchar
  kTarget = 2,    // visible ASCII: what a request target may consist of before its form is judged
  kHostName = 4,  // reg-name without percent-encoding: unreserved and sub-delims
  kDigit = 8,
  kUnreserved = 16,
  kControl = 32,  // below 0x20 except HTAB, and DEL
};

namespace detail {
constexpr bool is_in(std::string_view set, unsigned char c) noexcept { return set.find(static_cast<char>(c)) != std::string_view::npos; }
constexpr auto kClasses = [] {
  std::array<uint8_t, 256> table{};
  for (unsigned i = 0; i < 256; ++i) {
    const auto c = static_cast<unsigned char>(i);
    const bool digit = c >= '0' && c <= '9';
    const bool word = digit || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
    if (word || (c != 0 && is_in("!#$%&'*+-.^_`|~", c))) table[i] |= kToken;
    if (c > 0x20 && c < 0x7f) table[i] |= kTarget;
    if (word || (c != 0 && is_in("-._~!$&'()*+,;=", c))) table[i] |= kHostName;
    if (digit) table[i] |= kDigit;
    if (word || (c != 0 && is_in("-._~", c))) table[i] |= kUnreserved;
    if ((c < 0x20 && c != '\t') || c == 0x7f) table[i] |= kControl;
  }
  return table;
}();
// The lower-case form of a token byte, 0 for a byte that no field name may have.
constexpr auto kLowerToken = [] {
  std::array<char, 256> table{};
  for (unsigned i = 0; i < 256; ++i)
    if (kClasses[i] & kToken) table[i] = static_cast<char>(i >= 'A' && i <= 'Z' ? i + 32 : i);
  return table;
}();
}  // namespace detail

constexpr bool is(char c, CharClass wanted) noexcept { return detail::kClasses[static_cast<unsigned char>(c)] & wanted; }
constexpr char lower_token(char c) noexcept { return detail::kLowerToken[static_cast<unsigned char>(c)]; }
constexpr char lower(char c) noexcept { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; }
constexpr int hex_value(char c) noexcept {
  if (c >= '0' && c <= '9') return c - '0';
  c = lower(c);
  return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}
constexpr bool equal_ignoring_case(std::string_view text, std::string_view lower_case) noexcept {
  if (text.size() != lower_case.size()) return false;
  for (size_t i = 0; i < text.size(); ++i)
    if (lower(text[i]) != lower_case[i]) return false;
  return true;
}
constexpr std::string_view without_blanks(std::string_view text) noexcept {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) text.remove_suffix(1);
  return text;
}
// Calls `each(member)` for every member of a comma-separated list, empty ones included.
template <class Each>
constexpr void for_each_member(std::string_view list, Each each) {
  for (;;) {
    const size_t comma = list.find(',');
    each(without_blanks(list.substr(0, comma)));
    if (comma == std::string_view::npos) return;
    list.remove_prefix(comma + 1);
  }
}

// Which of the 16 bytes at `text` are controls (HTAB is none), one bit each.
inline uint32_t controls_of_16(const char* text) noexcept {
#ifdef __SSE2__
  const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(text));
  const __m128i low = _mm_cmpeq_epi8(_mm_min_epu8(bytes, _mm_set1_epi8(0x1f)), bytes);
  const __m128i visible = _mm_cmpeq_epi8(bytes, _mm_set1_epi8('\t'));
  return static_cast<uint32_t>(_mm_movemask_epi8(_mm_or_si128(_mm_andnot_si128(visible, low), _mm_cmpeq_epi8(bytes, _mm_set1_epi8(0x7f)))));
#else
  uint32_t mask = 0;
  for (unsigned i = 0; i < 16; ++i) mask |= static_cast<uint32_t>(is(text[i], kControl)) << i;
  return mask;
#endif
}

// The same for up to 16 bytes at `at` of `size`, without ever looking behind the end: the last ones come from a load that
// overlaps what was seen already.
inline uint32_t controls_at(const char* text, size_t at, size_t size) noexcept {
  if (size - at >= 16) return controls_of_16(text + at);
  if (size >= 16) return controls_of_16(text + size - 16) >> (16 - (size - at));
  uint32_t mask = 0;
  for (size_t i = at; i < size; ++i) mask |= static_cast<uint32_t>(is(text[i], kControl)) << (i - at);
  return mask;
}

inline size_t count_controls(std::string_view text) noexcept {
  size_t count = 0;
  for (size_t at = 0; at < text.size(); at += 16)
    for (uint32_t mask = controls_at(text.data(), at, text.size()); mask != 0; mask &= mask - 1) ++count;  // two per line: few
  return count;
}

}  // namespace http
