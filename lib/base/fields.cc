#include "base/fields.h"

#include <algorithm>
#include <array>
#include <cstring>

namespace base {
namespace {
constexpr std::string_view kNames[] = {
    "",
#define SLUICE_FIELD_TEXT(name, text) text,
    SLUICE_FIELDS(SLUICE_FIELD_TEXT)
#undef SLUICE_FIELD_TEXT
};
constexpr size_t kCount = std::size(kNames);

constexpr uint32_t hash_of(std::string_view text) noexcept {
  // FNV-1a over at most 64 bytes: names are short, and a stranger's long name must not cost us more.
  uint32_t hash = kNameHashSeed;
  for (size_t i = 0; i < text.size() && i < kHashedBytes; ++i) hash = name_hash_step(hash, text[i]);
  return hash;
}

// Open addressing over a power of two well above the number of names; built at compile time.
constexpr size_t kSlots = 128;
constexpr auto kTable = [] {
  std::array<uint8_t, kSlots> table{};
  for (size_t i = 1; i < kCount; ++i) {
    size_t slot = hash_of(kNames[i]) % kSlots;
    while (table[slot] != 0) slot = (slot + 1) % kSlots;
    table[slot] = static_cast<uint8_t>(i);
  }
  return table;
}();
static_assert(kCount < kSlots / 2);
static_assert(kCount <= 64, "Fields keeps a bit for each id");
constexpr auto kHashes = [] {
  std::array<uint32_t, kCount> hashes{};
  for (size_t i = 0; i < kCount; ++i) hashes[i] = hash_of(kNames[i]);
  return hashes;
}();

FieldId id_of(std::string_view lower, uint32_t hash) noexcept {
  for (size_t slot = hash % kSlots; kTable[slot] != 0; slot = (slot + 1) % kSlots)
    if (kNames[kTable[slot]] == lower) return static_cast<FieldId>(kTable[slot]);
  return FieldId::kOther;
}

Field make(std::string_view name, std::string_view value) noexcept {
  const uint32_t hash = hash_of(name);
  return {.name = name, .value = value, .raw = nullptr, .id = id_of(name, hash), .unused = 0, .hash = hash};
}
}  // namespace

FieldId field_id(std::string_view lower) noexcept { return id_of(lower, hash_of(lower)); }
std::string_view field_name(FieldId id) noexcept { return kNames[static_cast<size_t>(id) < kCount ? static_cast<size_t>(id) : 0]; }
FieldId field_id(std::string_view lower, uint32_t hash) noexcept { return id_of(lower, hash); }
uint32_t name_hash(std::string_view lower) noexcept { return hash_of(lower); }

const Field* Fields::find_seen(FieldId id) const noexcept {
  for (const Field& field : list_)
    if (field.id == id) return &field;
  return nullptr;
}
const Field* Fields::find(std::string_view lower) const noexcept {
  const uint32_t hash = hash_of(lower);
  for (const Field& field : list_)
    if (field.hash == hash && field.name == lower) return &field;
  return nullptr;
}
std::string_view Fields::get(std::string_view lower) const noexcept {
  const Field* field = find(lower);
  return field ? field->value : std::string_view{};
}
size_t Fields::count(FieldId id) const noexcept {
  return static_cast<size_t>(std::ranges::count_if(list_, [id](const Field& field) { return field.id == id; }));
}
void Fields::add(std::string_view name, std::string_view value) { add(make(name, value)); }
void Fields::add(FieldId id, std::string_view value) {
  add({.name = field_name(id), .value = value, .raw = nullptr, .id = id, .unused = 0, .hash = kHashes[static_cast<size_t>(id)]});
}
void Fields::set(std::string_view name, std::string_view value) {
  const Field row = make(name, value);
  const auto same = [&row](const Field& field) { return field.hash == row.hash && field.name == row.name; };
  const auto first = std::ranges::find_if(list_, same);
  if (first == list_.end()) return add(row);
  first->value = value;
  list_.erase(std::remove_if(first + 1, list_.end(), same), list_.end());
}
void Fields::set(FieldId id, std::string_view value) {   // the hot one: compares numbers only
  if (!(seen_ & bit(id))) return add(id, value);
  const auto same = [id](const Field& field) { return field.id == id; };
  const auto first = std::ranges::find_if(list_, same);
  if (first == list_.end()) return add(id, value);
  first->value = value;
  list_.erase(std::remove_if(first + 1, list_.end(), same), list_.end());
}
size_t Fields::remove(std::string_view lower) noexcept {
  const uint32_t hash = hash_of(lower);
  return std::erase_if(list_, [=](const Field& field) { return field.hash == hash && field.name == lower; });
}
size_t Fields::remove_seen(FieldId id) noexcept {
  return std::erase_if(list_, [id](const Field& field) { return field.id == id; });
}
std::string_view Fields::keep(std::string_view text) {
  if (text.empty()) return {};
  char* copy = static_cast<char*>(arena()->allocate(text.size(), 1));
  std::memcpy(copy, text.data(), text.size());
  return {copy, text.size()};
}

}  // namespace base
