#include <algorithm>
#include <filesystem>

#include <fmt/format.h>

#include "base/version.h"
#include "config/pipeline.h"
#include "ctl/commands.h"
#include "ctl/say.h"
#include "doc/writer.h"

namespace ctl {
namespace {

using Severity = doc::Problem::Severity;

std::string as_json(const doc::Problems& problems) {
  doc::JsonWriter out(true);
  out.begin_array();
  for (const auto& problem : problems)
    out.begin_object()
        .member("file", problem.at.file_name())
        .member("line", problem.at.line)
        .member("column", problem.at.column)
        .member("severity", doc::severity_name(problem.severity))
        .member("code", problem.code)
        .member("object", problem.object)
        .member("field", problem.field)
        .member("message", problem.message)
        .end_object();
  out.end_array();
  return out.take() + '\n';
}

// SARIF 2.1.0, as code hosts read it.
std::string as_sarif(const doc::Problems& problems) {
  doc::JsonWriter out(true);
  out.begin_object()
      .member("$schema", "https://json.schemastore.org/sarif-2.1.0.json")
      .member("version", "2.1.0")
      .key("runs")
      .begin_array()
      .begin_object();
  out.key("tool")
      .begin_object()
      .key("driver")
      .begin_object()
      .member("name", "sluice lint")
      .member("version", base::version())
      .end_object()
      .end_object();
  out.key("results").begin_array();
  for (const auto& problem : problems) {
    const std::string_view level = problem.severity == Severity::kError     ? "error"
                                   : problem.severity == Severity::kWarning ? "warning"
                                                                            : "note";
    out.begin_object().member("ruleId", problem.code).member("level", level).key("message").begin_object();
    out.member("text", fmt::format("{} {}: {}", problem.object, problem.field, problem.message)).end_object();
    out.key("locations").begin_array().begin_object().key("physicalLocation").begin_object();
    out.key("artifactLocation").begin_object().member("uri", problem.at.file_name()).end_object();
    // SARIF counts from 1; a problem of the whole file stands at its first line.
    out.key("region")
        .begin_object()
        .member("startLine", std::max(problem.at.line, 1))
        .member("startColumn", std::max(problem.at.column, 1))
        .end_object();
    out.end_object().end_object().end_array().end_object();
  }
  out.end_array().end_object().end_array().end_object();
  return out.take() + '\n';
}

}  // namespace

int lint(const LintOptions& options) {
  for (const auto& path : options.paths) {
    std::error_code error;
    if (!std::filesystem::exists(path, error)) {
      complain(fmt::format("lint: {} does not exist", path));
      return kUsage;
    }
  }
  const auto loaded = config::load(options.paths);
  if (options.output == "json")
    fmt::print("{}", as_json(loaded.problems));
  else if (options.output == "sarif")
    fmt::print("{}", as_sarif(loaded.problems));
  else
    for (const auto& problem : loaded.problems) fmt::print("{}\n", doc::line_of(problem));
  const bool errors =
      std::any_of(loaded.problems.begin(), loaded.problems.end(), [](const auto& p) { return p.severity == Severity::kError; });
  return errors ? kFailed : kFine;
}

}  // namespace ctl
