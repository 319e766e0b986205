#include "config/pipeline.h"
#include "doc/writer.h"

namespace config {

std::string Status::json() const {
  doc::JsonWriter out;
  out.begin_object().member("snapshot", snapshot).member("digest", digest).member("applied_on_all_workers", applied_on_all_workers);
  out.key("problems").begin_array();
  for (const doc::Problem& problem : problems) {
    out.begin_object()
        .member("severity", doc::severity_name(problem.severity))
        .member("code", problem.code)
        .member("object", problem.object.empty() ? "-" : problem.object)
        .member("file", problem.at.file_name())
        .member("line", problem.at.line)
        .member("path", problem.field)
        .member("message", problem.message)
        .end_object();
  }
  out.end_array().end_object();
  return out.take();
}

}  // namespace config
