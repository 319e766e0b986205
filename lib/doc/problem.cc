#include "doc/problem.h"

#include <fmt/format.h>

namespace doc {

std::string_view severity_name(Problem::Severity severity) noexcept {
  switch (severity) {
    case Problem::Severity::kError: return "error";
    case Problem::Severity::kWarning: return "warning";
    case Problem::Severity::kInfo: return "info";
  }
  return "error";
}

std::string line_of(const Problem& problem) {
  const std::string& file = problem.at.file_name();
  std::string line = fmt::format("{}:{}:{}: {} {} {}", file.empty() ? "-" : file, problem.at.line, problem.at.column,
                                 severity_name(problem.severity), problem.code, problem.object.empty() ? "-" : problem.object);
  if (!problem.field.empty()) line += ' ' + problem.field;
  line += ": ";
  // One problem is one line, whatever bytes of the user's file the message quotes.
  for (const char c : problem.message) line += static_cast<unsigned char>(c) < 0x20 ? ' ' : c;
  return line;
}

}  // namespace doc
