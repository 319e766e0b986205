#pragma once

#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "config/pipeline.h"

namespace config {

// Reads files and folders again and again and parses only what has changed. A root that disappears as a whole is no order to
// forget everything: its files stay as they were last seen, and that is a problem. Not thread-safe.
class Reader {
 public:
  explicit Reader(std::vector<std::string> roots);
  Listing read();

 private:
  struct Parsed;                       // one file's bytes and what they mean; immutable
  struct Root {
    std::string path;
    std::map<std::string, std::shared_ptr<const Parsed>> files;   // as last read, by relative path: bytewise order
    std::vector<std::string> unread;   // paths of the last walk that could not be looked at
  };
  bool read_root(Root& root, doc::Problems& problems);
  static std::shared_ptr<const Parsed> parse(const std::string& path, std::string bytes);
  static void add(Listing& listing, const Root& root);

  std::vector<Root> roots_;
};

// What of "Kind/namespace/name" a text shows that is no YAML: the first value of each key. Empty where there is none.
struct Identity {
  std::string kind, name_space, name;
};
Identity guess_identity(std::string_view text);
// The document that has line `line` (from 1): from its `---` to the next.
std::string_view document_at(std::string_view bytes, int line) noexcept;

}  // namespace config
