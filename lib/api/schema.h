#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "api/report.h"

// Internal to api: what fields a kind has, as tables. One walk over a document with its table finds every unknown field,
// wrong type and value out of range, and says which known fields have no effect yet. Decoders after it may trust types.
namespace api {

enum class Type : uint8_t { kText, kFreeText /* may have several lines */, kBool, kInteger, kNumber, kDuration, kEnum, kMessage, kTextMap, kFreeTextMap, kMessageMap, kNumberMap, kAny };
enum class Use : uint8_t {
  kUsed,
  kPending,      // Istio's, not implemented here yet: one warning where it stands
  kSilent,       // known, changes nothing by design, or is said by a sibling
};

struct Message;
struct Field {
  std::string_view name;
  Type type = Type::kText;
  Use use = Use::kUsed;
  bool list = false;
  bool required = false;
  int64_t min = 0, max = 0;                            // kInteger; kDuration: min in milliseconds
  const Message* message = nullptr;                    // kMessage, kMessageMap
  std::span<const std::string_view> values = {};       // kEnum
  std::string_view note = {};                          // kPending: what happens instead
};
struct Message {
  std::span<const Field> fields;
  bool open = false;                                   // further fields are somebody else's business and pass silently
};

constexpr int64_t kAnyUnsigned = 0xFFFFFFFF;

constexpr Field text(std::string_view name) { return {name}; }
constexpr Field free_text(std::string_view name) { return {name, Type::kFreeText}; }
constexpr Field truth(std::string_view name) { return {name, Type::kBool}; }
constexpr Field integer(std::string_view name, int64_t min = 0, int64_t max = kAnyUnsigned) {
  return {name, Type::kInteger, Use::kUsed, false, false, min, max};
}
constexpr Field port(std::string_view name) { return integer(name, 1, 65535); }
constexpr Field number(std::string_view name) { return {name, Type::kNumber}; }
constexpr Field duration(std::string_view name, int64_t least_ms = 1) {
  return {name, Type::kDuration, Use::kUsed, false, false, least_ms};
}
constexpr Field choice(std::string_view name, std::span<const std::string_view> values) {
  return {name, Type::kEnum, Use::kUsed, false, false, 0, 0, nullptr, values};
}
constexpr Field message(std::string_view name, const Message& of) { return {name, Type::kMessage, Use::kUsed, false, false, 0, 0, &of}; }
constexpr Field text_map(std::string_view name) { return {name, Type::kTextMap}; }
constexpr Field free_text_map(std::string_view name) { return {name, Type::kFreeTextMap}; }
constexpr Field number_map(std::string_view name) { return {name, Type::kNumberMap}; }
constexpr Field message_map(std::string_view name, const Message& of) {
  return {name, Type::kMessageMap, Use::kUsed, false, false, 0, 0, &of};
}
constexpr Field anything(std::string_view name) { return {name, Type::kAny}; }
constexpr Field list(Field field) { return field.list = true, field; }
constexpr Field required(Field field) { return field.required = true, field; }
constexpr Field pending(Field field, std::string_view note = "it has no effect") {
  field.use = Use::kPending;
  field.note = note;
  return field;
}
constexpr Field silent(Field field) { return field.use = Use::kSilent, field; }

// How hard an unknown field is taken: by Istio's kinds as by kube-apiserver's strict mode; by MeshConfig as istiod does, which
// goes on without it.
enum class Unknown : uint8_t { kError, kWarning };

// Checks `at` against the table; everything found goes into its report.
void check_schema(const Cursor& at, const Message& message, Unknown unknown = Unknown::kError);

const Field* find_field(const Message& message, std::string_view name);

}  // namespace api
