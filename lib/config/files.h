#pragma once

#include <string>
#include <vector>

#include "doc/problem.h"

namespace config {

// One file below a root that is configuration by its name (CONTRACT, Configuration directory).
struct Found {
  std::string path;                    // relative to the root, as digest and marks say it; for a root that is a file: its name
  std::string real;                    // to open
};
struct Walk {
  std::vector<Found> files;            // by the bytes of `path`
  doc::Problems problems;              // what could not be looked at: folders, links that lead nowhere, sockets
  std::vector<std::string> unread;     // their paths; a folder's ends with '/'
  bool exists = true;                  // the root is there and can be listed
};
Walk walk(const std::string& root);

// The parser's own limit; bigger files are not even read.
constexpr size_t kMostBytes = size_t{16} << 20;

struct Content {
  enum class Kind { kRead, kVanished, kFailed } kind = Kind::kRead;
  std::string bytes;                   // kRead
  std::string why;                     // kFailed, for the user
};
// The whole file, read again while somebody is just writing it (size or time of the file changed meanwhile). May sleep some
// milliseconds. A file that is gone is no failure.
Content read_file(const std::string& real);

doc::Problem file_problem(const std::string& path, std::string message);

}  // namespace config
