#include "doc/tree_builder.h"

#include "doc/limits.h"

namespace doc {

const char* TreeBuilder::begin(Node::Kind kind, int line, int column) {
  if (wants_key()) return "a key must be text, not a list or a map";
  if (open_.size() >= kMaxDepth) return "nested deeper than 64 levels";
  if (nodes_left_ == 0) return "more than 1000000 values in one file";
  --nodes_left_;
  Level level;
  level.kind = kind;
  level.node.kind = kind;
  level.node.line = line;
  level.node.column = column;
  open_.push_back(std::move(level));
  return nullptr;
}

const char* TreeBuilder::end() {
  Node node = std::move(open_.back().node);
  open_.pop_back();
  return put(std::move(node));
}

const char* TreeBuilder::leaf(Node node) {
  if (wants_key()) return key(std::move(node));
  if (nodes_left_ == 0) return "more than 1000000 values in one file";
  --nodes_left_;
  return put(std::move(node));
}

const char* TreeBuilder::key(Node node) {
  if (!node.is_scalar()) return "a key is missing before ':'";
  Level& level = open_.back();
  if (known(level, node.scalar)) {
    duplicate_ = std::move(node.scalar);
    return "duplicate key";
  }
  level.has_key = true;
  level.entry = {std::move(node.scalar), node.line, node.column, {}};
  return nullptr;
}

bool TreeBuilder::known(Level& level, const std::string& name) {
  constexpr size_t kWalk = 16;
  const auto& map = level.node.map;
  if (map.size() < kWalk) return level.node.find(name) != nullptr;
  if (level.keys.empty())
    for (const Node::Entry& entry : map) level.keys.insert(entry.key);
  return !level.keys.insert(name).second;
}

const char* TreeBuilder::put(Node node) {
  if (open_.empty()) {
    root_ = std::move(node);
    return nullptr;
  }
  Level& level = open_.back();
  if (level.kind == Node::Kind::kList) {
    level.node.list.push_back(std::move(node));
    return nullptr;
  }
  level.entry.value = std::move(node);
  level.node.map.push_back(std::move(level.entry));
  level.has_key = false;
  return nullptr;
}

}  // namespace doc
