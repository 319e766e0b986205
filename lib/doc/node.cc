#include "doc/node.h"

#include <algorithm>

#include "doc/scalar.h"

namespace doc {
namespace {

bool same_scalar(const Node& a, const Node& b) noexcept {
  if (a.scalar != b.scalar) return false;
  if (a.quoted == b.quoted) return true;
  return resolve(a.scalar) == Plain::kText;
}

bool same_map(const Node& a, const Node& b) noexcept {
  if (a.map.size() != b.map.size()) return false;
  for (size_t i = 0; i < a.map.size(); ++i) {
    // Most maps that are compared have the same order, so the same place is tried first.
    const Node::Entry& mine = a.map[i];
    const Node* theirs = b.map[i].key == mine.key ? &b.map[i].value : b.find(mine.key);
    if (!theirs || !(mine.value == *theirs)) return false;
  }
  return true;
}

}  // namespace

const Node* Node::find(std::string_view key) const noexcept {
  for (const Entry& entry : map)
    if (entry.key == key) return &entry.value;
  return nullptr;
}

Node* Node::find(std::string_view key) noexcept { return const_cast<Node*>(std::as_const(*this).find(key)); }

const Node* Node::at_path(std::string_view dotted) const noexcept {
  const Node* node = this;
  while (node) {
    const size_t dot = dotted.find('.');
    node = node->find(dotted.substr(0, dot));
    if (dot == std::string_view::npos) return node;
    dotted.remove_prefix(dot + 1);
  }
  return nullptr;
}

Node& Node::set(std::string_view key, Node value) {
  if (kind == Kind::kNull) kind = Kind::kMap;
  if (Node* old = find(key)) return *old = std::move(value);
  Entry entry;
  entry.key = key;
  entry.value = std::move(value);
  map.push_back(std::move(entry));
  return map.back().value;
}

void Node::erase(std::string_view key) noexcept {
  std::erase_if(map, [key](const Entry& entry) { return entry.key == key; });
}

std::string_view Node::text_or(std::string_view fallback) const noexcept {
  return kind == Kind::kScalar ? std::string_view(scalar) : fallback;
}

Node Node::text(std::string value) {
  Node node = plain(std::move(value));
  node.quoted = true;
  return node;
}

Node Node::plain(std::string value) {
  Node node;
  node.kind = Kind::kScalar;
  node.scalar = std::move(value);
  return node;
}

Node Node::make_map() {
  Node node;
  node.kind = Kind::kMap;
  return node;
}

Node Node::make_list() {
  Node node;
  node.kind = Kind::kList;
  return node;
}

bool operator==(const Node& a, const Node& b) noexcept {
  if (a.kind != b.kind) return false;
  switch (a.kind) {
    case Node::Kind::kNull: return true;
    case Node::Kind::kScalar: return same_scalar(a, b);
    case Node::Kind::kList: return std::equal(a.list.begin(), a.list.end(), b.list.begin(), b.list.end());
    case Node::Kind::kMap: return same_map(a, b);
  }
  return false;
}

}  // namespace doc
