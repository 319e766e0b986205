#include "api/report.h"

#include <charconv>
#include <cstdlib>

#include <fmt/format.h>

namespace api {

void Report::add(doc::Problem::Severity severity, std::string_view code, int line, int column, std::string field, std::string message) {
  failed_ |= severity == doc::Problem::Severity::kError;
  if (problems_.size() > kMost) return;
  if (problems_.size() == kMost) {
    problems_.push_back({doc::Problem::Severity::kWarning, "TOO_MANY", object_, {}, "further problems of this object are left out", {file_, line, column}});
    return;
  }
  problems_.push_back({severity, std::string(code), object_, std::move(field), std::move(message), {file_, line, column}});
}

Cursor Cursor::operator[](std::string_view key) const {
  const doc::Node* child = node_ ? node_->find(key) : nullptr;
  return {child, path_.empty() ? std::string(key) : fmt::format("{}.{}", path_, key), *report_};
}

Cursor Cursor::at(const doc::Node::Entry& entry) const {
  return {&entry.value, path_.empty() ? entry.key : fmt::format("{}.{}", path_, entry.key), *report_};
}

std::vector<Cursor> Cursor::items() const {
  std::vector<Cursor> out;
  if (!node_) return out;
  out.reserve(node_->list.size());
  for (size_t i = 0; i < node_->list.size(); ++i) out.emplace_back(&node_->list[i], fmt::format("{}[{}]", path_, i), *report_);
  return out;
}

const std::vector<doc::Node::Entry>& Cursor::entries() const {
  static const std::vector<doc::Node::Entry> none;
  return node_ ? node_->map : none;
}

std::string Cursor::text(std::string_view fallback) const { return std::string(node_ ? node_->text_or(fallback) : fallback); }

Text Cursor::marked_text() const { return {text(), mark()}; }

int64_t Cursor::number(int64_t fallback) const {
  if (!*this) return fallback;
  std::string_view digits = node_->scalar;
  int base = 10;
  if (digits.starts_with("0x") || digits.starts_with("0o")) {
    base = digits[1] == 'x' ? 16 : 8;
    digits.remove_prefix(2);
  } else if (digits.starts_with('+')) {
    digits.remove_prefix(1);
  }
  int64_t value = fallback;
  std::from_chars(digits.data(), digits.data() + digits.size(), value, base);
  return value;
}

double Cursor::real(double fallback) const { return *this ? std::strtod(node_->scalar.c_str(), nullptr) : fallback; }

bool Cursor::truth(bool fallback) const {
  if (!*this) return fallback;
  return node_->scalar.starts_with('t') || node_->scalar.starts_with('T');
}

Labels Cursor::labels() const {
  Labels out;
  for (const doc::Node::Entry& entry : entries()) out[entry.key] = entry.value.text_or();
  return out;
}

std::vector<Text> Cursor::texts() const {
  std::vector<Text> out;
  for (const Cursor& item : items()) out.push_back(item.marked_text());
  return out;
}

void Cursor::say(doc::Problem::Severity severity, std::string_view code, std::string message) const {
  report_->add(severity, code, node_ ? node_->line : 0, node_ ? node_->column : 0, path_, std::move(message));
}

std::string any_of(const std::vector<std::string_view>& words) {
  std::string out;
  for (size_t i = 0; i < words.size(); ++i) {
    if (i > 0) out += i + 1 == words.size() ? " or " : ", ";
    out += words[i];
  }
  return out;
}

std::string quoted(std::string_view value) {
  constexpr size_t kShown = 80;
  if (value.size() <= kShown && !value.empty() && value.find_first_of(" \t\n\"") == std::string_view::npos) return std::string(value);
  size_t end = std::min(value.size(), kShown);
  while (end < value.size() && end > 0 && (static_cast<unsigned char>(value[end]) & 0xC0) == 0x80) --end;
  return fmt::format("\"{}{}\"", value.substr(0, end), end < value.size() ? "…" : "");
}

}  // namespace api
