#include <algorithm>
#include <sstream>

#include <fmt/format.h>
#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/exceptions.h>
#include <yaml-cpp/parser.h>

#include "doc/limits.h"
#include "doc/reader.h"
#include "doc/scalar.h"
#include "doc/tree_builder.h"

namespace doc {
namespace {

bool is_marker(std::string_view line, std::string_view marker) noexcept {
  if (!line.starts_with(marker)) return false;
  return line.size() == marker.size() || line[marker.size()] == ' ' || line[marker.size()] == '\t' || line[marker.size()] == '\r';
}

// A stretch of the file that holds at most one document: from a `---` line (kept) or after a `...` line (dropped) to the next
// of either. Cutting before parsing is safe: YAML 1.2 §9.1.2 forbids both at column 0 inside any scalar.
struct Piece {
  std::string_view text;
  size_t begin = 0;
  int line = 1;        // of its first line
  bool empty = true;   // nothing but blank lines, comments, directives and the marker
};

// yaml-cpp 0.7 writes the escapes \N and \_ of double-quoted text as the single bytes 0x85 and 0xA0. The file was UTF-8, so any
// byte that is no part of a character comes from there and becomes U+0085 or U+00A0, as YAML 1.2 §5.7 says.
std::string whole_characters(const std::string& text) {
  std::string out;
  for (size_t at = 0; at < text.size();) {
    const size_t length = utf8_length(std::string_view(text).substr(at));
    if (length == 0) out += '\xC2';
    out.append(text, at, length == 0 ? 1 : length);
    at += length == 0 ? 1 : length;
  }
  return out;
}

class Pieces {
 public:
  explicit Pieces(std::string_view bytes) : bytes_(bytes) {}
  bool next(Piece& piece) {
    if (at_ >= bytes_.size()) return false;
    piece = {{}, at_, line_, true};
    bool first = true;
    while (at_ < bytes_.size()) {
      const size_t end = std::min(bytes_.find('\n', at_), bytes_.size());
      const std::string_view line = bytes_.substr(at_, end - at_);
      const bool start = is_marker(line, "---"), stop = is_marker(line, "...");
      if (start && !first) break;
      const size_t here = at_;
      at_ = std::min(end + 1, bytes_.size());
      ++line_;
      if (stop) {
        piece.text = bytes_.substr(piece.begin, here - piece.begin);
        return true;
      }
      // Directives before `---` belong to no document here; %YAML says nothing we need and %TAG has no use without tags.
      if (!start && !blank(line) && !(piece.empty && line.starts_with('%'))) piece.empty = false;
      if (start && !blank(line.substr(3))) piece.empty = false;
      first = false;
    }
    piece.text = bytes_.substr(piece.begin, at_ - piece.begin);
    return true;
  }

 private:
  static bool blank(std::string_view line) noexcept {
    const size_t at = line.find_first_not_of(" \t\r");
    return at == std::string_view::npos || line[at] == '#';
  }
  std::string_view bytes_;
  size_t at_ = 0;
  int line_ = 1;
};

// yaml-cpp's parser can be stopped from inside only by an exception; it is one of its own and caught in read_piece.
[[noreturn]] void refuse(const YAML::Mark& mark, const std::string& why) { throw YAML::ParserException(mark, why); }

class Handler final : public YAML::EventHandler {
 public:
  Handler(std::string_view text, int first_line, size_t& nodes_left) : text_(text), first_line_(first_line), builder_(nodes_left) {}
  Node take() { return builder_.take(); }

  void OnDocumentStart(const YAML::Mark&) override {}
  void OnDocumentEnd() override {}
  void OnAnchor(const YAML::Mark& mark, const std::string&) override { no_anchor(mark); }
  void OnAlias(const YAML::Mark& mark, YAML::anchor_t) override { no_anchor(mark); }

  void OnNull(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    if (anchor) no_anchor(mark);
    Node node;
    place(mark, node);
    place_absent(mark, node);
    check(mark, builder_.leaf(std::move(node)));
  }

  void OnScalar(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor, const std::string& value) override {
    if (anchor) no_anchor(mark);
    no_tag(mark, tag);
    no_tab_before(mark);
    if (builder_.wants_key() && tag == "?" && value == "<<") refuse(mark, "merge keys (<<) are not accepted; write the fields out");
    if (value.find('\0') != std::string::npos) refuse(mark, "the escape of a NUL byte is not accepted");
    Node node = Node::plain(tag == "!" ? whole_characters(value) : value);
    node.quoted = tag == "!";
    place(mark, node);
    if (node.quoted) look_at_source(mark, node);
    check(mark, builder_.leaf(std::move(node)));
  }

  void OnSequenceStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor, YAML::EmitterStyle::value style) override {
    begin(mark, tag, anchor, Node::Kind::kList, style);
  }
  void OnMapStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor, YAML::EmitterStyle::value style) override {
    begin(mark, tag, anchor, Node::Kind::kMap, style);
  }
  void OnSequenceEnd() override { end(); }
  void OnMapEnd() override { end(); }

 private:
  void begin(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor, Node::Kind kind, YAML::EmitterStyle::value style) {
    if (anchor) no_anchor(mark);
    no_tag(mark, tag);
    no_tab_before(mark);
    check(mark, builder_.begin(kind, first_line_ + mark.line, mark.column + 1));
    if (style == YAML::EmitterStyle::Flow || flow_ > 0) ++flow_;
  }
  void end() {
    if (flow_ > 0) --flow_;
    builder_.end();
  }
  void place(const YAML::Mark& mark, Node& node) const {
    node.line = first_line_ + mark.line;
    node.column = mark.column + 1;
  }
  // What is left empty is reported where the next token stands; people look at the '-' or ':' before it.
  void place_absent(const YAML::Mark& mark, Node& node) const {
    const size_t at = static_cast<size_t>(mark.pos);
    if (at == 0 || at > text_.size()) return;
    const size_t before = text_.find_last_not_of(" \t\r\n", at - 1);
    if (before == std::string_view::npos || (text_[before] != '-' && text_[before] != ':')) return;
    const auto lines = std::count(text_.begin() + static_cast<ptrdiff_t>(before), text_.begin() + static_cast<ptrdiff_t>(at), '\n');
    node.line -= static_cast<int>(lines);
    // On the same line the distance is enough: looking for the line's start again and again would be quadratic in one long line.
    const size_t start = lines == 0 ? at - static_cast<size_t>(mark.column) : text_.rfind('\n', before) + 1;   // npos + 1 is 0
    node.column = static_cast<int>(before - start) + 1;
  }
  void check(const YAML::Mark& mark, const char* problem) const {
    if (!problem) return;
    std::string why = problem;
    if (why == "duplicate key") why += fmt::format(" \"{}\"; each key may stand once in a map", builder_.duplicate_of());
    refuse(mark, why);
  }
  [[noreturn]] static void no_anchor(const YAML::Mark& mark) {
    refuse(mark, "anchors (&) and aliases (*) are not accepted; write the value out, or quote it when it is text");
  }
  static void no_tag(const YAML::Mark& mark, const std::string& tag) {
    if (tag.empty() || tag == "?" || tag == "!") return;
    refuse(mark, fmt::format("tags ({}) are not accepted", tag));
  }
  // Within { } and [ ] white space carries no meaning; elsewhere a tab would be an indentation of unknown width.
  void no_tab_before(const YAML::Mark& mark) const {
    if (flow_ > 0 || mark.is_null()) return;
    const size_t at = std::min<size_t>(static_cast<size_t>(mark.pos), text_.size());
    const size_t start = at - std::min<size_t>(at, static_cast<size_t>(mark.column));
    for (size_t i = start; i < at; ++i) {
      if (text_[i] == '\t') refuse(mark, "a tab is used for indentation; use blanks");
      if (text_[i] != ' ') return;
    }
  }
  // yaml-cpp 0.7 takes a quoted scalar that the end of the file cuts off for complete, and does not tell literal blocks from
  // quotes; the source does.
  void look_at_source(const YAML::Mark& mark, Node& node) const {
    const size_t at = static_cast<size_t>(mark.pos);
    if (at >= text_.size()) return;
    const char style = text_[at];
    if (style == '"' || style == '\'') {
      if (!closed(at, style)) refuse(mark, fmt::format("the {} that opens this text is never closed", style == '"' ? "double quote" : "single quote"));
    } else if (style == '|') {
      node.content_column = content_column(at);
    }
  }
  bool closed(size_t at, char quote) const {
    for (size_t i = at + 1; i < text_.size(); ++i) {
      if (quote == '"' && text_[i] == '\\') ++i;
      else if (text_[i] == quote && quote == '\'' && i + 1 < text_.size() && text_[i + 1] == quote) ++i;
      else if (text_[i] == quote) return true;
    }
    return false;
  }
  int content_column(size_t at) const {
    size_t line = text_.find('\n', at);
    while (line != std::string_view::npos) {
      const size_t first = text_.find_first_not_of(' ', line + 1);
      if (first == std::string_view::npos) return 0;
      if (text_[first] != '\n' && text_[first] != '\r') return static_cast<int>(first - line);
      line = text_.find('\n', first);
    }
    return 0;
  }

  std::string_view text_;
  int first_line_;
  int flow_ = 0;
  TreeBuilder builder_;
};

struct Place {
  int line = 0, column = 0;
};

Place place_of(const Piece& piece, size_t offset) {
  const std::string_view before = piece.text.substr(0, offset);
  const size_t last = before.rfind('\n');
  return {piece.line + static_cast<int>(std::count(before.begin(), before.end(), '\n')),
          static_cast<int>(last == std::string_view::npos ? offset : offset - last - 1) + 1};
}

// Characters that YAML 1.2 §5.1 does not allow in a file. Empty when there is none; else what it is, and `offset`.
std::string bad_character(std::string_view text, size_t& offset) {
  for (size_t i = 0; i < text.size();) {
    const auto c = static_cast<unsigned char>(text[i]);
    offset = i;
    if (c == 0) return "a NUL byte; the file must be UTF-8 text";
    if ((c < 0x20 && c != '\t' && c != '\n' && c != '\r') || c == 0x7F) return fmt::format("a control character (0x{:02x}) is not allowed", c);
    const size_t length = utf8_length(text.substr(i));
    if (length == 0) return fmt::format("the byte 0x{:02x} is not UTF-8; save the file as UTF-8", c);
    i += length;
  }
  return {};
}

// yaml-cpp's words for the mistakes that people make most often say little; these say what to look at.
std::string explain(std::string_view message) {
  struct Row {
    std::string_view theirs, ours;
  };
  static constexpr Row kRows[] = {
      {"illegal map value", "a value stands where none can stand: is the indentation of this line, or a missing quote around a text with ': ', the cause?"},
      {"end of map not found", "this line does not continue the map above it: check the indentation, and ':' after each key"},
      {"end of sequence not found", "this line does not continue the list above it: check the indentation and the '- '"},
      {"end of map flow not found", "the '{' is never closed by '}'"},
      {"end of sequence flow not found", "the '[' is never closed by ']'"},
      {"illegal flow end", "a ']' or '}' without its opening bracket"},
      {"illegal block entry", "a list entry ('- ') stands where none can stand: check the indentation"},
      {"illegal map key", "a key stands where none can stand: check the indentation"},
      {"unknown token", "a character stands here that can begin no value; put the text in quotes"},
      {"illegal EOF in scalar", "the quote that opens this text is never closed"},
      {"illegal document indicator in scalar", "the quote that opens this text is never closed"},
      {"illegal tab when looking for indentation", "a tab is used for indentation; use blanks"},
  };
  for (const Row& row : kRows)
    if (message == row.theirs) return std::string(row.ours);
  return std::string(message);
}

// The line at fault begins with a tab: that is the cause, whatever the parser stumbled over.
bool tab_indents_line(const Piece& piece, const YAML::Mark& mark) {
  if (mark.is_null() || mark.column < 0 || mark.pos < mark.column) return false;
  const size_t start = static_cast<size_t>(mark.pos - mark.column);
  const size_t first = piece.text.find_first_not_of(' ', start);
  return first != std::string_view::npos && piece.text[first] == '\t';
}

// Kind/namespace/name as far as a document that cannot be parsed shows them, so that messages and the store know whom it means.
std::string object_of(std::string_view text) {
  std::string kind, name, name_space;
  size_t at = 0;
  while (at < text.size()) {
    const size_t end = std::min(text.find('\n', at), text.size());
    std::string_view line = text.substr(at, end - at);
    at = end + 1;
    const auto value_of = [line](std::string_view key) -> std::string {
      if (!line.starts_with(key)) return {};
      std::string_view value = line.substr(key.size());
      const size_t first = value.find_first_not_of(" \"'");
      if (first == std::string_view::npos) return {};
      value.remove_prefix(first);
      value = value.substr(0, value.find_first_of(" \t\r\"'#,}"));
      const bool plain = value.find_first_not_of("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-") == std::string_view::npos;
      return plain ? std::string(value) : std::string();
    };
    if (kind.empty()) kind = value_of("kind:");
    if (name.empty()) name = value_of("  name:");
    if (name.empty()) name = value_of("metadata: {name:");
    if (name_space.empty()) name_space = value_of("  namespace:");
    if (const size_t inner = line.find(", namespace:"); name_space.empty() && line.starts_with("metadata: {") && inner != std::string_view::npos) {
      line.remove_prefix(inner + 2);
      name_space = value_of("namespace:");
    }
    if (line.starts_with("spec:")) break;
  }
  if (kind.empty() || name.empty()) return "-";
  return kind + '/' + (name_space.empty() ? "default" : name_space) + '/' + name;
}

class Reader {
 public:
  explicit Reader(std::string_view file_name) { file_ = std::make_shared<const std::string>(file_name); }

  void read(std::string_view bytes, size_t shift) {
    Pieces pieces(bytes);
    for (Piece piece; pieces.next(piece);) {
      size_t offset = 0;
      if (std::string bad = bad_character(piece.text, offset); !bad.empty()) {
        const Place place = place_of(piece, offset);
        complain(place.line, place.column, object_of(piece.text), std::move(bad));
      } else if (!piece.empty) {
        read_piece(piece, shift);
      }
    }
  }
  void complain(int line, int column, std::string object, std::string message) {
    out_.problems.push_back({Problem::Severity::kError, "YAML", std::move(object), {}, std::move(message), {file_, line, column}});
  }
  File take() { return std::move(out_); }

 private:
  void read_piece(const Piece& piece, size_t shift) {
    Handler handler(piece.text, piece.line, nodes_left_);
    YAML::Mark mark;
    std::string why;
    try {
      std::istringstream stream{std::string(piece.text)};
      YAML::Parser parser(stream);
      if (!parser.HandleNextDocument(handler)) return;
      Document document{file_, handler.take(), shift + piece.begin, shift + piece.begin + piece.text.size()};
      if (parser) {
        mark.line = document.root.line - piece.line;
        mark.column = document.root.column - 1;
        why = "something follows the end of the document; separate documents by a line '---'";
      } else {
        if (!document.root.is_null()) out_.documents.push_back(std::move(document));
        return;
      }
    } catch (const YAML::Exception& e) {
      mark = e.mark;
      why = tab_indents_line(piece, mark) ? "a tab is used for indentation; use blanks" : explain(e.msg);
    } catch (const std::exception& e) {
      why = e.what();
    }
    const bool placed = !mark.is_null();
    complain(piece.line + (placed ? mark.line : 0), placed ? mark.column + 1 : 1, object_of(piece.text), std::move(why));
  }

  std::shared_ptr<const std::string> file_;
  size_t nodes_left_ = kMaxNodes;
  File out_;
};

}  // namespace

File read_yaml(std::string_view file_name, std::string_view bytes) {
  Reader reader(file_name);
  if (bytes.size() > kMaxFileBytes) {
    reader.complain(0, 0, "-", fmt::format("the file has {} bytes; at most {} are read", bytes.size(), kMaxFileBytes));
  } else if (bytes.starts_with("\xFF\xFE") || bytes.starts_with("\xFE\xFF")) {
    reader.complain(1, 1, "-", "the file is UTF-16; save it as UTF-8");
  } else {
    const size_t mark = bytes.starts_with("\xEF\xBB\xBF") ? 3 : 0;
    reader.read(bytes.substr(mark), mark);
  }
  return reader.take();
}

}  // namespace doc
