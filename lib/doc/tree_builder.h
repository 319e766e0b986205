#pragma once

#include <string>
#include <unordered_set>
#include <vector>

#include "doc/node.h"

namespace doc {

// Makes a tree out of the events of a reader, YAML or JSON, and holds the limits that both share. Every method returns null
// when all is well, else what is wrong in words for people; the reader stops there.
class TreeBuilder {
 public:
  // `nodes_left` counts down over all documents of one file.
  explicit TreeBuilder(size_t& nodes_left) : nodes_left_(nodes_left) {}
  const char* begin(Node::Kind kind, int line, int column);
  const char* end();
  const char* leaf(Node node);               // a scalar or null; in a map, every other one is a key
  bool wants_key() const noexcept { return !open_.empty() && open_.back().kind == Node::Kind::kMap && !open_.back().has_key; }
  size_t depth() const noexcept { return open_.size(); }
  Node take() { return std::move(root_); }
  const std::string& duplicate_of() const noexcept { return duplicate_; }   // the key of the last "duplicate key"

 private:
  // Lists and maps under construction; a finished one moves into its parent.
  struct Level {
    Node::Kind kind;
    Node node;
    bool has_key = false;
    Node::Entry entry;                       // the key that waits for its value
    std::unordered_set<std::string> keys;    // filled from the 17th key on; before, a walk is cheaper
  };
  const char* key(Node node);
  const char* put(Node node);
  bool known(Level& level, const std::string& name);

  size_t& nodes_left_;
  std::vector<Level> open_;
  Node root_;
  std::string duplicate_;
};

}  // namespace doc
