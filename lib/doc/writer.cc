#include "doc/writer.h"

#include <cmath>

#include <fmt/format.h>

#include "doc/scalar.h"

namespace doc {
namespace {

// Words and shapes that one YAML reader or another takes for something else than text (YAML 1.1: yes, on, 1_000, 2001-01-01).
bool looks_typed(std::string_view text) noexcept {
  if (resolve(text) != Plain::kText) return true;
  const char first = text.front();
  if ((first >= '0' && first <= '9') || first == '+' || first == '.') {
    return text.find_first_not_of("0123456789+-._:eExXoabcdfABCDFTZ ") == std::string_view::npos;
  }
  std::string lower(text.substr(0, 6));
  for (char& c : lower) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
  for (const std::string_view word : {"y", "n", "yes", "no", "on", "off"})
    if (text.size() == word.size() && lower == word) return true;
  return false;
}

bool safe_unquoted(std::string_view text) noexcept {
  // At column 0 "..." ends the document.
  if (text.empty() || text == "<<" || text.starts_with("...") || looks_typed(text)) return false;
  if (text.find_first_of(" \t") == 0 || text.back() == ' ' || text.back() == '\t' || text.back() == ':') return false;
  if (std::string_view("-?:,[]{}#&*!|>'\"%@`=").find(text.front()) != std::string_view::npos) return false;
  if (text.find(": ") != std::string_view::npos || text.find(" #") != std::string_view::npos) return false;
  for (const char c : text) {
    // Flow punctuation is legal in block context but not inside [ ]; text that has it is rare enough to quote always.
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7F || std::string_view(",[]{}\t").find(c) != std::string_view::npos) return false;
    if (static_cast<unsigned char>(c) >= 0x80) return false;
  }
  return true;
}

// A literal block shows certificates and scripts as they are. Anything unusual goes into double quotes instead.
bool fits_literal(std::string_view text) noexcept {
  if (text.size() < 2 || text.find('\n') == std::string_view::npos) return false;
  if (text.front() == ' ' || text.front() == '\n' || text.front() == '\t') return false;
  for (size_t i = 0; i < text.size(); ++i) {
    const auto c = static_cast<unsigned char>(text[i]);
    if ((c < 0x20 && c != '\n') || c == 0x7F || c == 0xC2 || c == 0xE2 || c == 0xEF) return false;   // NEL, LS, PS, BOM among others
    // Lines of blanks only, and blanks at a line's end, are where readers differ.
    if (c == '\n' && i > 0 && text[i - 1] == ' ') return false;
  }
  return text.back() != ' ' && !text.ends_with("\n\n");
}

void append_scalar(std::string& out, const Node& node, int indent) {
  const std::string_view text = node.scalar;
  if (!node.quoted && resolve(text) != Plain::kText) {
    out += text;
    return;
  }
  if (safe_unquoted(text)) {
    out += text;
    return;
  }
  if (indent == 0 || !fits_literal(text)) return append_json_string(out, text);   // also a YAML double-quoted scalar
  out += text.ends_with('\n') ? "|" : "|-";
  size_t at = 0;
  while (at < text.size()) {
    const size_t end = std::min(text.find('\n', at), text.size());
    out += '\n';
    if (end > at) out.append(static_cast<size_t>(indent), ' ');
    out += text.substr(at, end - at);
    at = end + 1;
  }
}

void append_key(std::string& out, const std::string& key) {
  if (safe_unquoted(key)) out += key;
  else append_json_string(out, key);
  out += ':';
}

void append_block(std::string& out, const Node& node, int indent);

// What stands after "key:" or "-": on the same line when it is short, else below it.
void append_value(std::string& out, const Node& node, int indent, bool in_list) {
  switch (node.kind) {
    case Node::Kind::kNull: out += " null\n"; return;
    case Node::Kind::kScalar:
      out += ' ';
      append_scalar(out, node, indent + 2);
      out += '\n';
      return;
    case Node::Kind::kList:
      if (node.list.empty()) {
        out += " []\n";
        return;
      }
      if (in_list) {   // "- - a"
        out += ' ';
        append_block(out, node, indent + 2);
        return;
      }
      out += '\n';
      out.append(static_cast<size_t>(indent), ' ');
      append_block(out, node, indent);
      return;
    case Node::Kind::kMap:
      if (node.map.empty()) {
        out += " {}\n";
        return;
      }
      if (in_list) {
        out += ' ';
      } else {
        out += '\n';
        out.append(static_cast<size_t>(indent) + 2, ' ');
      }
      append_block(out, node, indent + 2);
      return;
  }
}

// The cursor stands at column `indent` already.
void append_block(std::string& out, const Node& node, int indent) {
  bool first = true;
  const auto line = [&] {
    if (!first) out.append(static_cast<size_t>(indent), ' ');
    first = false;
  };
  for (const Node& child : node.list) {
    line();
    out += '-';
    append_value(out, child, indent, true);
  }
  for (const Node::Entry& entry : node.map) {
    line();
    append_key(out, entry.key);
    append_value(out, entry.value, indent, false);
  }
}

void append_json_scalar(std::string& out, const Node& node) {
  const Plain kind = node.quoted ? Plain::kText : resolve(node.scalar);
  switch (kind) {
    case Plain::kNull: out += "null"; return;
    case Plain::kBool: out += node.scalar[0] == 't' || node.scalar[0] == 'T' ? "true" : "false"; return;
    case Plain::kInteger:
    case Plain::kFloat:
      if (is_json_number(node.scalar)) {
        out += node.scalar;
        return;
      }
      break;
    case Plain::kText: break;
  }
  append_json_string(out, node.scalar);
}

class JsonPrinter {
 public:
  JsonPrinter(std::string& out, bool pretty) : out_(out), pretty_(pretty) {}
  void print(const Node& node, int depth) {
    switch (node.kind) {
      case Node::Kind::kNull: out_ += "null"; return;
      case Node::Kind::kScalar: append_json_scalar(out_, node); return;
      case Node::Kind::kList:
        open('[');
        for (size_t i = 0; i < node.list.size(); ++i) {
          line(i, depth + 1);
          print(node.list[i], depth + 1);
        }
        close(']', node.list.empty(), depth);
        return;
      case Node::Kind::kMap:
        open('{');
        for (size_t i = 0; i < node.map.size(); ++i) {
          line(i, depth + 1);
          append_json_string(out_, node.map[i].key);
          out_ += pretty_ ? ": " : ":";
          print(node.map[i].value, depth + 1);
        }
        close('}', node.map.empty(), depth);
        return;
    }
  }

 private:
  void open(char c) { out_ += c; }
  void line(size_t index, int depth) {
    if (index > 0) out_ += ',';
    if (pretty_) newline(depth);
  }
  void newline(int depth) {
    out_ += '\n';
    out_.append(static_cast<size_t>(depth) * 2, ' ');
  }
  void close(char c, bool empty, int depth) {
    if (pretty_ && !empty) newline(depth);
    out_ += c;
  }
  std::string& out_;
  bool pretty_;
};

}  // namespace

std::string to_yaml(const Node& node) {
  std::string out;
  if ((node.is_map() && !node.map.empty()) || (node.is_list() && !node.list.empty())) {
    append_block(out, node, 0);
    return out;
  }
  if (node.is_scalar()) append_scalar(out, node, 0);
  else out = node.is_map() ? "{}" : node.is_list() ? "[]" : "null";
  out += '\n';
  return out;
}

std::string to_json(const Node& node, bool pretty) {
  std::string out;
  JsonPrinter(out, pretty).print(node, 0);
  return out;
}

void append_json_string(std::string& out, std::string_view text) {
  out += '"';
  for (size_t i = 0; i < text.size();) {
    const auto c = static_cast<unsigned char>(text[i]);
    const size_t length = utf8_length(text.substr(i));
    if (length == 0) {
      out += "\xEF\xBF\xBD";
      ++i;
      continue;
    }
    if (c == '"' || c == '\\') (out += '\\') += text[i];
    else if (c == '\n') out += "\\n";
    else if (c == '\r') out += "\\r";
    else if (c == '\t') out += "\\t";
    else if (c < 0x20 || c == 0x7F) fmt::format_to(std::back_inserter(out), "\\u{:04x}", c);
    else out.append(text, i, length);
    i += length;
  }
  out += '"';
}

// stack_: one character per open level. 'o' and 'a': nothing in it yet; 'O' and 'A': the next entry needs a comma; 'v': a key
// has been written and its value comes next (pushed by key(), popped by the value).
void JsonWriter::separate() {
  if (stack_.empty()) return;
  char& top = stack_.back();
  if (top == 'v') {
    stack_.pop_back();
    return;
  }
  if (top == 'A' || top == 'O') out_ += ',';
  top = top == 'a' ? 'A' : top == 'o' ? 'O' : top;
  if (!pretty_) return;
  out_ += '\n';
  out_.append(stack_.size() * 2, ' ');
}

JsonWriter& JsonWriter::begin_object() {
  separate();
  out_ += '{';
  stack_ += 'o';
  return *this;
}

JsonWriter& JsonWriter::end_object() {
  const bool filled = !stack_.empty() && stack_.back() == 'O';
  if (!stack_.empty()) stack_.pop_back();
  if (pretty_ && filled) (out_ += '\n').append(stack_.size() * 2, ' ');
  out_ += '}';
  return *this;
}

JsonWriter& JsonWriter::begin_array() {
  separate();
  out_ += '[';
  stack_ += 'a';
  return *this;
}

JsonWriter& JsonWriter::end_array() {
  const bool filled = !stack_.empty() && stack_.back() == 'A';
  if (!stack_.empty()) stack_.pop_back();
  if (pretty_ && filled) (out_ += '\n').append(stack_.size() * 2, ' ');
  out_ += ']';
  return *this;
}

JsonWriter& JsonWriter::key(std::string_view name) {
  separate();
  append_json_string(out_, name);
  out_ += pretty_ ? ": " : ":";
  stack_ += 'v';
  return *this;
}

JsonWriter& JsonWriter::value(std::string_view text) {
  separate();
  append_json_string(out_, text);
  return *this;
}

JsonWriter& JsonWriter::value(bool truth) {
  separate();
  out_ += truth ? "true" : "false";
  return *this;
}

JsonWriter& JsonWriter::value(int64_t number) {
  separate();
  fmt::format_to(std::back_inserter(out_), "{}", number);
  return *this;
}

JsonWriter& JsonWriter::value(uint64_t number) {
  separate();
  fmt::format_to(std::back_inserter(out_), "{}", number);
  return *this;
}

JsonWriter& JsonWriter::value(double number) {
  separate();
  // JSON has no infinity and no NaN.
  if (std::isfinite(number)) fmt::format_to(std::back_inserter(out_), "{}", number);
  else out_ += "null";
  return *this;
}

JsonWriter& JsonWriter::null() {
  separate();
  out_ += "null";
  return *this;
}

}  // namespace doc
