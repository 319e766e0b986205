#pragma once

#include <functional>
#include <string>
#include <string_view>

#include "api/resource.h"

namespace config {

// Who an object is, whatever version its apiVersion names. Views into the resource. Inside this room only.
struct Key {
  std::string_view group_kind, name_space, name;
  friend bool operator==(const Key&, const Key&) = default;
};
struct KeyHash {
  size_t operator()(const Key& key) const noexcept {
    const std::hash<std::string_view> hash;
    return (hash(key.group_kind) * 31 + hash(key.name_space)) * 31 + hash(key.name);
  }
};
inline Key key_of(const api::Resource& resource) noexcept { return {resource.group_kind, resource.meta.name_space, resource.meta.name}; }

}  // namespace config
