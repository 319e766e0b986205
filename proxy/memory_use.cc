#include "proxy/memory_use.h"

#include <algorithm>
#include <filesystem>
#include <fstream>

namespace proxy {
namespace {
// v1 says "no limit" with the largest multiple of a page; nobody has an exbibyte.
constexpr uint64_t kNoLimit = uint64_t{1} << 60;

std::optional<uint64_t> number(const std::string& path) {
  std::ifstream file(path);
  uint64_t value = 0;
  if (!(file >> value)) return std::nullopt;   // v2 writes "max"
  return value;
}

uint64_t entry(const std::string& path, const char* wanted) {
  std::ifstream file(path);
  std::string key;
  for (uint64_t value = 0; file >> key >> value;)
    if (key == wanted) return value;
  return 0;
}
}  // namespace

CgroupMemory::CgroupMemory(const std::string& mounts, const std::string& membership) {
  std::ifstream file(membership);
  for (std::string line; std::getline(file, line);) {
    const auto first = line.find(':'), second = line.find(':', first + 1);
    if (first == std::string::npos || second == std::string::npos) continue;
    const std::string controllers = "," + line.substr(first + 1, second - first - 1) + ",", path = line.substr(second + 1);
    if (controllers == ",,") {
      add(mounts, path, true);
      add(mounts + "/unified", path, true);
    } else if (controllers.find(",memory,") != std::string::npos) {
      add(mounts + "/memory", path, false);
    }
  }
}

// The group itself and those above it. In a container the path may be the host's while the mount begins at our own group: then
// only the mount's root exists.
void CgroupMemory::add(const std::string& mount, std::string path, bool v2) {
  while (path.ends_with('/')) path.pop_back();
  for (;;) {
    const std::string folder = mount + path;
    Group group{.used = folder + (v2 ? "/memory.current" : "/memory.usage_in_bytes"),
                .limit = folder + (v2 ? "/memory.max" : "/memory.limit_in_bytes"),
                .stat = folder + "/memory.stat",
                .inactive = v2 ? "inactive_file" : "total_inactive_file"};
    std::error_code ignored;
    if (std::filesystem::exists(group.limit, ignored) && std::filesystem::exists(group.used, ignored))
      groups_.push_back(std::move(group));
    if (path.empty()) return;
    path.erase(path.rfind('/'));
  }
}

std::optional<MemoryUse> CgroupMemory::read() const {
  std::optional<MemoryUse> tightest;
  for (const Group& group : groups_) {
    const auto limit = number(group.limit);
    if (!limit || *limit == 0 || *limit >= kNoLimit) continue;
    const auto used = number(group.used);
    if (!used) continue;
    const MemoryUse use{*used - std::min(*used, entry(group.stat, group.inactive)), *limit};
    // Compared as ratios, without losing bits: neither side exceeds 2^53 in any machine there is.
    const auto full = [](const MemoryUse& m) { return static_cast<double>(m.used) / static_cast<double>(m.limit); };
    if (!tightest || full(use) > full(*tightest)) tightest = use;
  }
  return tightest;
}

}  // namespace proxy
