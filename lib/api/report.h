#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "api/meta.h"
#include "doc/node.h"
#include "doc/problem.h"

// Internal to api: where decoders say what they found, and how they walk a document without losing the path.
namespace api {

// The problems of one object. After kMost of them one more says that the rest is left out, so a hostile file stays cheap.
class Report {
 public:
  Report(const doc::Document& document, std::string object) : file_(document.file), object_(std::move(object)) {}
  Report(std::shared_ptr<const std::string> file, std::string object) : file_(std::move(file)), object_(std::move(object)) {}

  void add(doc::Problem::Severity severity, std::string_view code, int line, int column, std::string field, std::string message);
  doc::Mark mark(const doc::Node& node) const { return {file_, node.line, node.column}; }
  doc::Mark mark(const doc::Node::Entry& entry) const { return {file_, entry.line, entry.column}; }
  bool failed() const noexcept { return failed_; }
  doc::Problems take() { return std::move(problems_); }

 private:
  static constexpr size_t kMost = 100;
  std::shared_ptr<const std::string> file_;
  std::string object_;
  doc::Problems problems_;
  bool failed_ = false;
};

// A place in a document: the node (null when the field is absent or null), its path, and the report. Cheap to copy; does not
// own the node.
class Cursor {
 public:
  Cursor(const doc::Node* node, std::string path, Report& report) : node_(node), path_(std::move(path)), report_(&report) {}

  explicit operator bool() const noexcept { return node_ && !node_->is_null(); }
  const doc::Node& node() const noexcept { return *node_; }
  const std::string& path() const noexcept { return path_; }
  Report& report() const noexcept { return *report_; }

  Cursor operator[](std::string_view key) const;
  Cursor at(const doc::Node::Entry& entry) const;
  std::vector<Cursor> items() const;                       // of a list; empty when absent
  const std::vector<doc::Node::Entry>& entries() const;    // of a map; empty when absent

  // Values, for fields whose type has been checked; the fallback when absent.
  std::string text(std::string_view fallback = {}) const;
  Text marked_text() const;
  int64_t number(int64_t fallback = 0) const;
  double real(double fallback = 0) const;
  bool truth(bool fallback = false) const;
  Labels labels() const;
  std::vector<Text> texts() const;
  doc::Mark mark() const { return node_ ? report_->mark(*node_) : doc::Mark{}; }

  // IST0106 is Istio's code for a value that its schema or validation refuses.
  void error(std::string message) const { say(doc::Problem::Severity::kError, "IST0106", std::move(message)); }
  void warn(std::string_view code, std::string message) const { say(doc::Problem::Severity::kWarning, code, std::move(message)); }
  void say(doc::Problem::Severity severity, std::string_view code, std::string message) const;

 private:
  const doc::Node* node_;
  std::string path_;
  Report* report_;
};

// "a, b or c".
std::string any_of(const std::vector<std::string_view>& words);

// A value as a message quotes it: in quotes when it is empty or has blanks, cut when it is long.
std::string quoted(std::string_view value);

}  // namespace api
