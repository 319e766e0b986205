#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace net {

// Watches directories (not files: editors and ConfigMap volumes replace them) with inotify, recursively, following the
// symbolic links that lead to directories. `changed` runs on a thread of the watch, once per burst: when nothing has happened
// for `settle` ms, at the latest after ten times that. It says nothing about what changed: the listener reads again.
class FileWatch {
 public:
  static std::unique_ptr<FileWatch> open(std::vector<std::string> roots, int settle_ms, std::function<void()> changed);
  virtual ~FileWatch() = default;      // waits until a running `changed` has returned
};

}  // namespace net
