#pragma once

#include <expected>
#include <string>
#include <string_view>
#include <vector>

#include "doc/node.h"
#include "doc/problem.h"

namespace doc {

// Everything one file holds. A broken document does not take the others down: it becomes a problem, and reading goes on at
// the next line that is `---`. Documents that are empty or only comments are left out.
struct File {
  std::vector<Document> documents;
  Problems problems;
};

// Reads YAML 1.2 as Kubernetes does, strictly: anchors, aliases, merge keys, tags, duplicate keys, tabs for indentation,
// non-UTF-8, NUL, more than 64 levels, 1,000,000 nodes or 16 MiB are errors with file:line:col. A leading BOM and CRLF are fine.
File read_yaml(std::string_view file_name, std::string_view bytes);
// RFC 8259, one value; same limits; duplicate keys are errors.
File read_json(std::string_view file_name, std::string_view bytes);
// By the ending of the name: .json, else YAML.
File read(std::string_view file_name, std::string_view bytes);

// A value inside a string of another document (MeshConfig in a ConfigMap, proxy.istio.io/config): marks are shifted so that
// they point into the outer file. `at` is the scalar's node there.
File read_embedded(const Document& outer, const Node& at);

}  // namespace doc
