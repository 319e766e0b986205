#include <algorithm>
#include <array>

#include "inject/build.h"
#include "inject/container.h"

namespace inject {
namespace {

std::string_view merge_key(std::string_view field) {
  static constexpr std::array<std::pair<std::string_view, std::string_view>, 7> kKeys{{{"env", "name"},
                                                                                       {"ports", "containerPort"},
                                                                                       {"volumeMounts", "mountPath"},
                                                                                       {"volumes", "name"},
                                                                                       {"containers", "name"},
                                                                                       {"initContainers", "name"},
                                                                                       {"imagePullSecrets", "name"}}};
  const auto row = std::find_if(kKeys.begin(), kKeys.end(), [field](const auto& r) { return r.first == field; });
  return row == kKeys.end() ? std::string_view{} : row->second;
}

doc::Node merged_list(const doc::Node& base, const doc::Node& patch, std::string_view key) {
  doc::Node out = doc::Node::make_list();
  const auto same = [key](const doc::Node& a) { return [key, &a](const doc::Node& b) { return text_at(a, key) == text_at(b, key); }; };
  for (const auto& item : patch.list)
    if (std::none_of(base.list.begin(), base.list.end(), same(item))) out.list.push_back(item);
  for (const auto& item : base.list) {
    const auto over = std::find_if(patch.list.begin(), patch.list.end(), same(item));
    out.list.push_back(over == patch.list.end() ? item : merged(item, *over));
  }
  return out;
}

}  // namespace

doc::Node* named(doc::Node* items, std::string_view name) {
  if (!items) return nullptr;
  for (auto& item : items->list)
    if (text_at(item, "name") == name) return &item;
  return nullptr;
}
const doc::Node* named(const doc::Node* items, std::string_view name) { return named(const_cast<doc::Node*>(items), name); }

doc::Node merged(const doc::Node& base, const doc::Node& patch, std::string_view field) {
  if (base.is_map() && patch.is_map()) {
    doc::Node out = base;
    for (const auto& entry : patch.map) {
      const doc::Node* old = out.find(entry.key);
      if (entry.value.is_null())
        out.erase(entry.key);
      else if (old)
        out.set(entry.key, merged(*old, entry.value, entry.key));
      else
        out.set(entry.key, entry.value);
    }
    return out;
  }
  if (const auto key = merge_key(field); !key.empty() && base.is_list() && patch.is_list()) return merged_list(base, patch, key);
  return patch;
}

}  // namespace inject
