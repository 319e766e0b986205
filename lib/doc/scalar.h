#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace doc {

// What an unquoted scalar means: YAML 1.2's core schema, which is what Kubernetes' own reader makes of the values that occur
// in its objects.
enum class Plain : uint8_t { kText, kNull, kBool, kInteger, kFloat };
Plain resolve(std::string_view plain) noexcept;

// True when JSON can spell the number as it stands.
bool is_json_number(std::string_view text) noexcept;

// The length of the first character when it is well-formed UTF-8 (RFC 3629: no overlong form, no surrogate), else 0.
size_t utf8_length(std::string_view text) noexcept;

}  // namespace doc
