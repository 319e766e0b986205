#include "api/schema.h"

#include <cmath>
#include <cstdlib>

#include <fmt/format.h>

#include "api/resource.h"
#include "doc/nearest.h"
#include "doc/scalar.h"

namespace api {
namespace {

using doc::Node;

using doc::Plain;

Plain plain_kind(const Node& node) { return node.quoted ? Plain::kText : doc::resolve(node.scalar); }

std::string_view shape(const Node& node) {
  switch (node.kind) {
    case Node::Kind::kNull: return "empty";
    case Node::Kind::kList: return "a list";
    case Node::Kind::kMap: return "a map";
    case Node::Kind::kScalar: break;
  }
  switch (plain_kind(node)) {
    case Plain::kBool: return "a boolean";
    case Plain::kInteger:
    case Plain::kFloat: return "a number";
    case Plain::kNull:
    case Plain::kText: break;
  }
  return "text";
}

class Checker {
 public:
  explicit Checker(Unknown unknown) : unknown_(unknown) {}

  void message(const Cursor& at, const Message& table, bool quiet) {
    if (!at.node().is_map()) return wrong(at, "a map of fields", table.fields.empty() ? "" : table.fields[0].name);
    open_.push_back({&table, at.path()});
    for (const Node::Entry& entry : at.node().map) {
      const Field* known = find_field(table, entry.key);
      if (!known) {
        if (!table.open) unknown(at, table, entry);
        continue;
      }
      if (entry.value.is_null()) continue;   // null means unset everywhere in Kubernetes
      const Cursor child = at.at(entry);
      if (known->use == Use::kPending && !quiet) pending(entry, child, known->note);
      field(child, *known, quiet || known->use != Use::kUsed);
    }
    for (const Field& field : table.fields)
      if (field.required && !at[field.name]) at.error(fmt::format("the field {} is missing", field.name));
    open_.pop_back();
  }

 private:
  struct Level {
    const Message* table;
    std::string path;
  };

  void field(const Cursor& at, const Field& field, bool quiet) {
    if (!field.list) return value(at, field, quiet);
    if (!at.node().is_list()) {
      const bool scalar = at.node().is_scalar();
      return at.error(fmt::format("{} where a list is expected; write {}", shape(at.node()),
                                  scalar ? fmt::format("[{}]", quoted(at.node().scalar)) : "each entry on a line that begins with '- '"));
    }
    for (const Cursor& item : at.items()) {
      if (item) value(item, field, quiet);
      else item.error("an empty list entry; remove the '-' or write the value after it");
    }
  }

  void value(const Cursor& at, const Field& field, bool quiet) {
    switch (field.type) {
      case Type::kAny: return;
      case Type::kMessage: return message(at, *field.message, quiet);
      case Type::kTextMap:
      case Type::kFreeTextMap:
      case Type::kNumberMap:
      case Type::kMessageMap: return map(at, field, quiet);
      default: break;
    }
    if (!at.node().is_scalar()) return wrong(at, expected(field.type), "");
    scalar(at, field);
  }

  void map(const Cursor& at, const Field& field, bool quiet) {
    if (!at.node().is_map()) return wrong(at, "a map", "name");
    for (const Node::Entry& entry : at.node().map) {
      const Cursor child = at.at(entry);
      if (field.type == Type::kMessageMap) {
        if (child) message(child, *field.message, quiet);
      } else if (child) {
        Field inner = field;
        inner.type = field.type == Type::kTextMap ? Type::kText : field.type == Type::kFreeTextMap ? Type::kFreeText : Type::kInteger;
        value(child, inner, quiet);
      }
    }
  }

  static std::string_view expected(Type type) {
    switch (type) {
      case Type::kBool: return "true or false";
      case Type::kInteger: return "a whole number";
      case Type::kNumber: return "a number";
      case Type::kDuration: return "a duration such as 10s";
      default: return "text";
    }
  }

  static void wrong(const Cursor& at, std::string_view wanted, std::string_view example) {
    std::string message = fmt::format("{} where {} is expected", shape(at.node()), wanted);
    if (at.node().is_scalar() && !at.node().scalar.empty()) message += fmt::format(": {}", quoted(at.node().scalar));
    if (at.node().is_list() && !example.empty()) message += "; remove the '- '";
    at.error(std::move(message));
  }

  static void scalar(const Cursor& at, const Field& field) {
    const Node& node = at.node();
    const Plain kind = plain_kind(node);
    switch (field.type) {
      case Type::kText:
      case Type::kFreeText: return text(at, kind, field.type == Type::kFreeText);
      case Type::kEnum: return choice(at, kind, field);
      case Type::kDuration: return duration(at, field);
      case Type::kBool:
        if (kind != Plain::kBool) at.error(fmt::format("{} is {}; use true or false, without quotes", quoted(node.scalar), shape(node)));
        return;
      case Type::kInteger: return integer(at, kind, field);
      case Type::kNumber:
        if (kind != Plain::kInteger && kind != Plain::kFloat) at.error(fmt::format("{} is {}; a number is expected, without quotes", quoted(node.scalar), shape(node)));
        else if (!std::isfinite(std::strtod(node.scalar.c_str(), nullptr)) || node.scalar.find_first_of("nN") != std::string::npos) at.error(fmt::format("{} is no finite number", node.scalar));
        return;
      default: return;
    }
  }

  static void text(const Cursor& at, Plain kind, bool free) {
    const Node& node = at.node();
    if (kind != Plain::kText && kind != Plain::kNull) return at.error(fmt::format("{} is {}; text is expected, write \"{}\"", node.scalar, shape(node), node.scalar));
    if (free) return;
    for (const char c : node.scalar)
      if (c == '\r' || c == '\n' || c == '\0') return at.error(fmt::format("{} has a line end inside; it must be one line", quoted(node.scalar)));
  }

  static void choice(const Cursor& at, Plain kind, const Field& field) {
    const std::string& value = at.node().scalar;
    std::vector<std::string_view> legal(field.values.begin(), field.values.end());
    if (kind == Plain::kText)
      for (const std::string_view word : legal)
        if (word == value) return;
    const std::string_view near = doc::nearest(value, legal);
    at.error(fmt::format("{} is no legal value (upper and lower case count){}; use {}", quoted(value),
                         near.empty() ? "" : fmt::format(", did you mean {}?", near), any_of(legal)));
  }

  static void duration(const Cursor& at, const Field& field) {
    const std::string& value = at.node().scalar;
    const auto parsed = parse_duration(value);
    if (!parsed) {
      const bool negative = value.starts_with('-') && parse_duration(std::string_view(value).substr(1));
      at.error(negative ? fmt::format("{} is negative; use {} or more", value, field.min == 0 ? "0s" : "1ms")
                        : fmt::format("{} is no duration in whole milliseconds; write it like 1.5s, 300ms or 1h", quoted(value)));
    } else if (parsed->count() < field.min) {
      at.error(field.min >= 1000 ? fmt::format("{} is too short; use {}s or more", value, field.min / 1000)
                                 : fmt::format("{} is too short; use {}ms or more, or leave the field out", value, field.min));
    }
  }

  static void integer(const Cursor& at, Plain kind, const Field& field) {
    const Node& node = at.node();
    if (kind == Plain::kFloat) return at.error(fmt::format("{} is no whole number", node.scalar));
    if (kind != Plain::kInteger)
      return at.error(fmt::format("{} is {}; a whole number is expected, without quotes", node.quoted ? fmt::format("\"{}\"", node.scalar) : quoted(node.scalar), shape(node)));
    const bool hex = node.scalar.starts_with("0x") || node.scalar.starts_with("0o");
    const int64_t value = at.number();
    const int64_t max = field.max == 0 ? kAnyUnsigned : field.max;
    const bool huge = node.scalar.size() > (hex ? 17u : 18u);
    if (node.scalar.starts_with('-') && field.min >= 0 && value != 0)
      return at.error(field.min == 0 ? fmt::format("{} is negative; use 0 or more", node.scalar) : fmt::format("{} is negative; use {}–{}", node.scalar, field.min, max));
    if (huge || value < field.min || value > max) {
      at.error(max == kAnyUnsigned ? fmt::format("{} is out of range; use {} or more, at most {}", node.scalar, field.min, max)
                                   : fmt::format("{} is out of range; use {}–{}", node.scalar, field.min, max));
    }
  }

  static void pending(const Node::Entry& entry, const Cursor& child, std::string_view note) {
    child.report().add(doc::Problem::Severity::kWarning, "NOT_IMPLEMENTED", entry.line, entry.column, child.path(),
                       fmt::format("{} is not implemented yet: {}", entry.key, note));
  }

  // kube-apiserver's strict mode only says "unknown field"; where the key would be at home says how to mend it.
  void unknown(const Cursor& at, const Message& table, const Node::Entry& entry) {
    const Cursor child = at.at(entry);
    const auto severity = unknown_ == Unknown::kError ? doc::Problem::Severity::kError : doc::Problem::Severity::kWarning;
    at.report().add(severity, "UNKNOWN_FIELD", entry.line, entry.column, child.path(), fmt::format("unknown field {}{}", quoted(entry.key), hint(at, table, entry.key)));
  }

  std::string hint(const Cursor& at, const Message& table, std::string_view key) {
    std::vector<std::string_view> names;
    for (const Field& field : table.fields) names.push_back(field.name);
    for (const Field& field : table.fields) {
      if (field.type != Type::kMessage || !find_field(*field.message, key)) continue;
      const Cursor inner = at[field.name];
      if (field.list) return fmt::format("; {} belongs to the entries of {}", key, inner.path());
      return fmt::format("; did you mean {}.{} (indent by 2)?", inner.path(), key);
    }
    for (size_t i = open_.size() - 1; i-- > 0;)
      if (find_field(*open_[i].table, key)) return fmt::format("; {} belongs to {}", key, open_[i].path.empty() ? "the document's top level" : open_[i].path);
    const std::string_view near = doc::nearest(key, names);
    if (!near.empty()) return fmt::format("; did you mean {}?", near);
    return {};
  }

  Unknown unknown_;
  std::vector<Level> open_;
};

}  // namespace

const Field* find_field(const Message& message, std::string_view name) {
  for (const Field& field : message.fields)
    if (field.name == name) return &field;
  return nullptr;
}

void check_schema(const Cursor& at, const Message& message, Unknown unknown) { Checker(unknown).message(at, message, false); }

}  // namespace api
