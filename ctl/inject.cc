#include "inject/inject.h"

#include <algorithm>
#include <fstream>
#include <iostream>
#include <iterator>

#include <fmt/format.h>

#include "ctl/commands.h"
#include "ctl/say.h"
#include "doc/reader.h"
#include "doc/writer.h"
#include "runner/manifests.h"

namespace ctl {
namespace {

std::optional<std::string> read_all(const std::string& file) {
  if (file == "-") return std::string{std::istreambuf_iterator<char>(std::cin), {}};
  std::ifstream in(file, std::ios::binary);
  if (!in) return std::nullopt;
  return std::string{std::istreambuf_iterator<char>(in), {}};
}

// MeshConfig of the folders, and the administrator's values. Empty: fine.
std::string take_settings(const InjectOptions& options, inject::Settings& settings) {
  for (const auto& folder : options.config)
    for (const auto& document : runner::read_folder(folder).documents) {
      const auto text = [&document](std::string_view path) {
        const doc::Node* node = document.root.at_path(path);
        return node ? node->text_or() : std::string_view{};
      };
      if (text("kind") != "ConfigMap" || text("metadata.name") != "istio" || text("metadata.namespace") != "istio-system") continue;
      const doc::Node* mesh = document.root.at_path("data.mesh");
      if (!mesh) continue;
      const doc::File parsed = doc::read_embedded(document, *mesh);
      if (!parsed.problems.empty()) return doc::line_of(parsed.problems.front());
      if (!parsed.documents.empty()) inject::apply_mesh(settings, parsed.documents.front().root);
    }
  if (options.values.empty()) return {};
  const auto bytes = read_all(options.values);
  if (!bytes) return options.values + " cannot be read";
  const doc::File file = doc::read(options.values, *bytes);
  if (!file.problems.empty()) return doc::line_of(file.problems.front());
  if (file.documents.empty()) return {};
  for (const auto& problem : inject::apply_values(settings, file.documents.front())) {
    if (problem.severity == doc::Problem::Severity::kError) return doc::line_of(problem);
    fmt::print(stderr, "{}\n", doc::line_of(problem));
  }
  return {};
}

std::string_view outcome(inject::Report::Outcome outcome) {
  switch (outcome) {
    case inject::Report::Outcome::kInjected:
      return "injected";
    case inject::Report::Outcome::kAlready:
      return "unchanged";
    case inject::Report::Outcome::kSkipped:
      return "not injected";
    case inject::Report::Outcome::kRefused:
      return "refused";
  }
  return "";
}

// Documents that nothing was done to are handed on byte by byte, comments included.
void append(std::string& out, std::string_view bytes, const doc::Document& document, bool changed) {
  if (!out.empty()) out += "---\n";
  if (changed) {
    out += doc::to_yaml(document.root);
    return;
  }
  std::string_view text = bytes.substr(document.begin, document.end - document.begin);
  if (text.starts_with("---")) text.remove_prefix(std::min(text.find('\n') + 1, text.size()));
  out += text;
  if (!out.ends_with('\n')) out += '\n';
}

}  // namespace

int inject(const InjectOptions& options) {
  inject::Settings settings;
  if (const auto why = take_settings(options, settings); !why.empty()) {
    complain("inject: " + why);
    return kFailed;
  }
  const auto bytes = read_all(options.file);
  if (!bytes) {
    complain(fmt::format("inject: {} cannot be read", options.file));
    return kFailed;
  }
  doc::File file = doc::read(options.file == "-" ? "stdin" : options.file, *bytes);
  for (const auto& problem : file.problems) fmt::print(stderr, "{}\n", doc::line_of(problem));
  bool failed = !file.problems.empty();
  std::string out;
  for (doc::Document& document : file.documents) {
    bool changed = false;
    for (const auto& report : inject::inject_document(document, settings, nullptr)) {
      changed |= report.outcome == inject::Report::Outcome::kInjected;
      failed |= report.outcome == inject::Report::Outcome::kRefused;
      for (const auto& problem : report.problems) fmt::print(stderr, "{}\n", doc::line_of(problem));
      if (options.explain)
        fmt::print("{}:{}: {}: {}: {}\n", report.at.file_name(), report.at.line, report.object, outcome(report.outcome), report.why);
      else if (report.outcome == inject::Report::Outcome::kSkipped)
        fmt::print(stderr, "sluice: {} is not injected: {}\n", report.object, report.why);
    }
    append(out, *bytes, document, changed);
  }
  // All or nothing: half a file that is applied is worse than none.
  if (failed) return kFailed;
  if (!options.explain) fmt::print("{}", out);
  return kFine;
}

int uninject(const std::string& path) {
  const auto bytes = read_all(path);
  if (!bytes) {
    complain(fmt::format("uninject: {} cannot be read", path));
    return kFailed;
  }
  doc::File file = doc::read(path == "-" ? "stdin" : path, *bytes);
  for (const auto& problem : file.problems) fmt::print(stderr, "{}\n", doc::line_of(problem));
  if (!file.problems.empty()) return kFailed;
  std::string out;
  for (doc::Document& document : file.documents) {
    bool changed = false;
    for (auto& workload : inject::workloads_in(document)) changed |= inject::uninject_pod(*workload.pod);
    append(out, *bytes, document, changed);
  }
  fmt::print("{}", out);
  return kFine;
}

}  // namespace ctl
