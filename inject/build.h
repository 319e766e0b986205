#pragma once

#include <initializer_list>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "doc/node.h"

// Short words for building typed nodes. The pod is built as a tree and never as text, so that no annotation can become YAML.
namespace inject {

inline doc::Node str(std::string_view text) { return doc::Node::text(std::string(text)); }
inline doc::Node num(int64_t number) { return doc::Node::plain(std::to_string(number)); }
inline doc::Node yes() { return doc::Node::plain("true"); }
inline doc::Node no() { return doc::Node::plain("false"); }
inline doc::Node map(std::initializer_list<std::pair<std::string_view, doc::Node>> entries) {
  doc::Node node = doc::Node::make_map();
  for (const auto& [key, value] : entries) node.set(key, value);
  return node;
}
inline doc::Node list(std::vector<doc::Node> items) {
  doc::Node node = doc::Node::make_list();
  node.list = std::move(items);
  return node;
}
inline doc::Node strings(const std::vector<std::string>& texts) {
  doc::Node node = doc::Node::make_list();
  for (const auto& text : texts) node.list.push_back(str(text));
  return node;
}
// The map at `key`, made when it is missing or null.
inline doc::Node& map_at(doc::Node& parent, std::string_view key) {
  doc::Node* child = parent.find(key);
  return child && child->is_map() ? *child : parent.set(key, doc::Node::make_map());
}
inline doc::Node& list_at(doc::Node& parent, std::string_view key) {
  doc::Node* child = parent.find(key);
  return child && child->is_list() ? *child : parent.set(key, doc::Node::make_list());
}
inline std::string_view text_at(const doc::Node& parent, std::string_view key) {
  const doc::Node* child = parent.find(key);
  return child ? child->text_or() : std::string_view{};
}
// The item of a list of maps whose `name` is this.
doc::Node* named(doc::Node* items, std::string_view name);
const doc::Node* named(const doc::Node* items, std::string_view name);

}  // namespace inject
