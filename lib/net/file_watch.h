#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace net {

// Watches directories (not files: editors and ConfigMap volumes replace them) with inotify, recursively, following the
// symbolic links that lead to directories. `changed` runs on a thread of the watch, once per burst: when nothing has happened
// for `settle` ms, at the latest after ten times that. It says nothing about what changed: the listener reads again.
// A root that does not exist yet is watched for from the nearest directory above it.
class FileWatch {
 public:
  // Null with errno when the kernel gives no inotify instance (fs.inotify.max_user_instances, descriptors). What happens after
  // it has returned is noticed.
  static std::unique_ptr<FileWatch> open(std::vector<std::string> roots, int settle_ms, std::function<void()> changed);
  virtual ~FileWatch() = default;      // waits until a running `changed` has returned
};

}  // namespace net
