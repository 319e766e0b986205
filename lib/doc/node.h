#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "doc/problem.h"

namespace doc {

// One value of a YAML or JSON document with the place where it stands. Maps keep the order of the file and have no duplicate
// keys (the reader refuses them). Plain scalars know whether they were quoted: `"80"` is text, `80` may be a number.
class Node {
 public:
  enum class Kind : uint8_t { kNull, kScalar, kList, kMap };
  struct Entry;

  Kind kind = Kind::kNull;
  bool quoted = false;                       // kScalar: single, double or block style: never a number, bool or null
  int line = 0, column = 0;                  // of the value's first character; columns count bytes
  // kScalar in a literal block (`|`): the column where each of its lines begins, the first standing below `line`. Else 0.
  int content_column = 0;
  std::string scalar;
  std::vector<Node> list;
  std::vector<Entry> map;

  bool is_null() const noexcept { return kind == Kind::kNull; }
  bool is_scalar() const noexcept { return kind == Kind::kScalar; }
  bool is_list() const noexcept { return kind == Kind::kList; }
  bool is_map() const noexcept { return kind == Kind::kMap; }
  const Node* find(std::string_view key) const noexcept;         // null when it is no map or has no such key
  Node* find(std::string_view key) noexcept;
  const Node* at_path(std::string_view dotted) const noexcept;   // "spec.selector.app": maps only
  Node& set(std::string_view key, Node value);                   // replaces or appends; makes a null node a map
  void erase(std::string_view key) noexcept;
  std::string_view text_or(std::string_view fallback = {}) const noexcept;   // the scalar, else the fallback

  static Node text(std::string value);       // quoted scalar
  static Node plain(std::string value);      // 80, true, 1.5
  static Node make_map();
  static Node make_list();
  friend bool operator==(const Node& a, const Node& b) noexcept; // meaning, not places; map order does not count
};
struct Node::Entry {
  std::string key;
  int line = 0, column = 0;                  // of the key
  Node value;
};

// One document of a file. `text` slices (begin, end) are byte offsets into the file, for tools that show or replace it.
struct Document {
  std::shared_ptr<const std::string> file;
  Node root;
  size_t begin = 0, end = 0;
  Mark mark(const Node& node) const { return {file, node.line, node.column}; }
};

}  // namespace doc
