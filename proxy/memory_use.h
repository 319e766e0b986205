#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace proxy {

struct MemoryUse {
  uint64_t used = 0, limit = 0;   // bytes; limit is never 0
};

// The memory of the control group this process lives in, as the kernel's OOM killer counts it: use without the file pages it
// would drop first. Groups nest, and any level may carry the limit that strikes: the one that is nearest to its limit counts.
// cgroup v1 and v2; both may be mounted side by side.
class CgroupMemory {
 public:
  // Finds the groups once: a process is hardly ever moved. Their limits are read anew each time, for those do change.
  explicit CgroupMemory(const std::string& mounts = "/sys/fs/cgroup", const std::string& membership = "/proc/self/cgroup");
  std::optional<MemoryUse> read() const;   // nullopt: no group has a limit

 private:
  struct Group {
    std::string used, limit, stat;         // paths
    const char* inactive;                  // the key in `stat`
  };
  void add(const std::string& mount, std::string path, bool v2);
  std::vector<Group> groups_;
};

}  // namespace proxy
