#include "doc/reader.h"

namespace doc {
namespace {

// Moves every mark of an inner document to where its text stands in the outer file. Only a literal block keeps its lines;
// inside quotes the scalar's own place is all there is to point at.
struct Shift {
  int line = 0, column = 0;   // of the scalar
  int content_column = 0;

  void apply(int& inner_line, int& inner_column) const {
    if (inner_line == 0) inner_line = inner_column = 1;
    if (content_column == 0) {
      inner_line = line;
      inner_column = column;
      return;
    }
    inner_line += line;
    inner_column += content_column - 1;
  }
  void apply(Node& node) const {
    apply(node.line, node.column);
    if (node.content_column > 0) node.content_column += content_column > 0 ? content_column - 1 : 0;
    for (Node& child : node.list) apply(child);
    for (Node::Entry& entry : node.map) {
      apply(entry.line, entry.column);
      apply(entry.value);
    }
  }
};

}  // namespace

File read(std::string_view file_name, std::string_view bytes) {
  return file_name.ends_with(".json") ? read_json(file_name, bytes) : read_yaml(file_name, bytes);
}

File read_embedded(const Document& outer, const Node& at) {
  File inner = read_yaml(outer.file ? std::string_view(*outer.file) : std::string_view(), at.scalar);
  const Shift shift{at.line, at.column, at.content_column};
  for (Document& document : inner.documents) {
    document.file = outer.file;
    document.begin = outer.begin;
    document.end = outer.end;
    shift.apply(document.root);
  }
  for (Problem& problem : inner.problems) {
    problem.at.file = outer.file;
    shift.apply(problem.at.line, problem.at.column);
  }
  return inner;
}

}  // namespace doc
