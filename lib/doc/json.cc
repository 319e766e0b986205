#include <fmt/format.h>

#include "doc/limits.h"
#include "doc/reader.h"
#include "doc/scalar.h"
#include "doc/tree_builder.h"

namespace doc {
namespace {

// One pass over RFC 8259 text, without recursion; keeps line and column. Each step returns false once `why_` is set.
class JsonReader {
 public:
  explicit JsonReader(std::string_view text) : text_(text), builder_(nodes_left_) {}

  bool read() {
    if (!value()) return false;
    while (builder_.depth() > 0)
      if (!next()) return false;
    skip_blanks();
    return at_ == text_.size() || fail("something follows the value; a JSON file holds one");
  }
  Node take() { return builder_.take(); }
  const std::string& why() const noexcept { return why_; }
  int line() const noexcept { return line_; }
  int column() const noexcept { return static_cast<int>(at_ - line_start_) + 1; }

 private:
  bool fail(std::string why) {
    if (why_.empty()) why_ = std::move(why);
    return false;
  }
  bool check(const char* problem) {
    if (!problem) return true;
    return fail(builder_.duplicate_of().empty() ? problem
                                                : fmt::format("{} \"{}\"; each key may stand once in an object", problem, builder_.duplicate_of()));
  }
  void skip_blanks() {
    for (; at_ < text_.size(); ++at_) {
      const char c = text_[at_];
      if (c == '\n') {
        ++line_;
        line_start_ = at_ + 1;
      } else if (c != ' ' && c != '\t' && c != '\r') {
        return;
      }
    }
  }
  char peek() {
    skip_blanks();
    return at_ < text_.size() ? text_[at_] : '\0';
  }

  // Inside a list or map: the next entry, or its end.
  bool next() {
    const bool in_map = closers_.back() == '}';
    char c = peek();
    if (c == closers_.back()) {
      if (after_comma_) return fail("a value is missing after ','");
      ++at_;
      closers_.pop_back();
      after_comma_ = false;
      fresh_ = false;
      return check(builder_.end());
    }
    if (!fresh_ && !after_comma_) {
      if (c != ',') return fail(fmt::format("',' or '{}' expected", closers_.back()));
      ++at_;
      after_comma_ = true;
      return true;
    }
    fresh_ = after_comma_ = false;
    return in_map ? key() && value() : value();
  }

  bool key() {
    if (peek() != '"') return fail("a key in double quotes is expected");
    if (!text()) return false;
    if (peek() != ':') return fail("':' is expected after the key");
    ++at_;
    return true;
  }

  bool value() {
    const char c = peek();
    if (c == '{' || c == '[') {
      if (!check(builder_.begin(c == '{' ? Node::Kind::kMap : Node::Kind::kList, line_, column()))) return false;
      ++at_;
      closers_ += c == '{' ? '}' : ']';
      fresh_ = true;
      return true;
    }
    return c == '"' ? text() : word();
  }

  // true, false, null or a number.
  bool word() {
    const size_t end = std::min(text_.find_first_of(" \t\r\n,:]}[{\"", at_), text_.size());
    const std::string_view word = text_.substr(at_, end - at_);
    if (word.empty()) return fail("a value is expected");
    Node node;
    node.line = line_;
    node.column = column();
    if (word != "null") {
      if (word != "true" && word != "false" && !is_json_number(word))
        return fail(utf8_length(word) == 0 ? "not UTF-8" : fmt::format("{} is no JSON value; text needs double quotes", shortened(word)));
      node.kind = Node::Kind::kScalar;
      node.scalar = word;
    }
    if (!check(builder_.leaf(std::move(node)))) return false;
    at_ = end;
    return true;
  }

  static std::string shortened(std::string_view word) {
    std::string out;
    while (!word.empty() && out.size() < 40) {
      const size_t length = utf8_length(word);
      if (length == 0) break;
      out += word.substr(0, length);
      word.remove_prefix(length);
    }
    return out;
  }

  bool text() {
    Node node = Node::text({});
    node.line = line_;
    node.column = column();
    size_t at = at_ + 1;
    while (true) {
      if (at >= text_.size()) return fail("the double quote that opens this text is never closed");
      const char c = text_[at];
      if (c == '"') break;
      if (static_cast<unsigned char>(c) < 0x20) return fail("a line end or control character inside a text; write \\n or \\u00xx");
      if (c == '\\') {
        if (!escape(at, node.scalar)) return false;
        continue;
      }
      const size_t length = utf8_length(text_.substr(at));
      if (length == 0) return fail("the text is not UTF-8");
      node.scalar.append(text_, at, length);
      at += length;
    }
    if (!check(builder_.leaf(std::move(node)))) return false;
    at_ = at + 1;
    return true;
  }

  bool escape(size_t& at, std::string& out) {
    static constexpr std::string_view kNames = "\"\\/bfnrt", kValues = "\"\\/\b\f\n\r\t";
    const char c = at + 1 < text_.size() ? text_[at + 1] : '\0';
    if (const size_t i = kNames.find(c); c != '\0' && i != std::string_view::npos) {
      out += kValues[i];
      at += 2;
      return true;
    }
    uint32_t code = 0;
    if (c != 'u' || !hex(at + 2, code)) return fail("no JSON escape; use \\n, \\t, \\\" or \\u and four hex digits");
    at += 6;
    if (code >= 0xDC00 && code <= 0xDFFF) return fail("half of a surrogate pair");
    if (code >= 0xD800 && code <= 0xDBFF) {
      uint32_t low = 0;
      if (!text_.substr(at).starts_with("\\u") || !hex(at + 2, low) || low < 0xDC00 || low > 0xDFFF) return fail("half of a surrogate pair");
      at += 6;
      code = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00);
    }
    if (code == 0) return fail("a NUL character is not allowed");
    append_utf8(code, out);
    return true;
  }
  bool hex(size_t at, uint32_t& code) const {
    if (at + 4 > text_.size()) return false;
    code = 0;
    for (const char c : text_.substr(at, 4)) {
      const size_t digit = std::string_view("0123456789abcdef").find(static_cast<char>(c >= 'A' && c <= 'F' ? c + 32 : c));
      if (digit == std::string_view::npos) return false;
      code = code * 16 + static_cast<uint32_t>(digit);
    }
    return true;
  }
  static void append_utf8(uint32_t code, std::string& out) {
    const auto tail = [&out, code](int shift) { out += static_cast<char>(0x80 | ((code >> shift) & 0x3F)); };
    if (code < 0x80) {
      out += static_cast<char>(code);
    } else if (code < 0x800) {
      out += static_cast<char>(0xC0 | (code >> 6));
      tail(0);
    } else if (code < 0x10000) {
      out += static_cast<char>(0xE0 | (code >> 12));
      tail(6);
      tail(0);
    } else {
      out += static_cast<char>(0xF0 | (code >> 18));
      tail(12);
      tail(6);
      tail(0);
    }
  }

  std::string_view text_;
  size_t at_ = 0, line_start_ = 0, nodes_left_ = kMaxNodes;
  int line_ = 1;
  bool fresh_ = false, after_comma_ = false;   // just after '{' or '['; just after ','
  std::string closers_, why_;
  TreeBuilder builder_;
};

}  // namespace

File read_json(std::string_view file_name, std::string_view bytes) {
  File out;
  const auto file = std::make_shared<const std::string>(file_name);
  const auto complain = [&](int line, int column, std::string why) {
    out.problems.push_back({Problem::Severity::kError, "JSON", "-", {}, std::move(why), {file, line, column}});
  };
  if (bytes.size() > kMaxFileBytes) {
    complain(0, 0, fmt::format("the file has {} bytes; at most {} are read", bytes.size(), kMaxFileBytes));
    return out;
  }
  const size_t shift = bytes.starts_with("\xEF\xBB\xBF") ? 3 : 0;
  bytes.remove_prefix(shift);
  if (bytes.find_first_not_of(" \t\r\n") == std::string_view::npos) return out;
  JsonReader reader(bytes);
  if (!reader.read()) {
    complain(reader.line(), reader.column(), reader.why());
    return out;
  }
  Document document{file, reader.take(), shift, shift + bytes.size()};
  if (!document.root.is_null()) out.documents.push_back(std::move(document));
  return out;
}

}  // namespace doc
