#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace doc {

// A place in a user's file. Lines and columns count from 1; line 0 = the file as a whole. The file's name is shared by all
// marks of a document; it is the path as the user will recognise it (relative to its configuration root).
struct Mark {
  std::shared_ptr<const std::string> file;
  int line = 0, column = 0;
  const std::string& file_name() const noexcept {
    static const std::string none;
    return file ? *file : none;
  }
};

// One thing to tell the user about the configuration.
struct Problem {
  enum class Severity : uint8_t { kError, kWarning, kInfo } severity = Severity::kError;
  std::string code;      // Istio's analysis code where one exists (IST0101), else ours (YAML, UNKNOWN_FIELD, NOT_IMPLEMENTED …)
  std::string object;    // Kind/namespace/name, "-" where none is known
  std::string field;     // spec.http[0].route[1].weight; empty: the object as a whole
  std::string message;   // what is wrong, the offending value, and what would be right
  Mark at;
};
using Problems = std::vector<Problem>;

std::string_view severity_name(Problem::Severity severity) noexcept;   // "error", "warning", "info"
// "path:line:col: severity CODE object field: message", the line format of `sluice lint` (CONTRACT). No newline.
std::string line_of(const Problem& problem);

}  // namespace doc
