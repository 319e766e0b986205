#include "runner/manifests.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>

namespace runner {
namespace {

namespace fs = std::filesystem;

void collect(const fs::path& folder, const std::string& relative, std::vector<std::string>& out, int depth) {
  std::error_code error;
  if (depth > 16) return;  // a link that leads back to its own folder
  for (const auto& entry : fs::directory_iterator(folder, error)) {
    const std::string name = entry.path().filename();
    if (name.starts_with('.')) continue;
    const std::string path = relative.empty() ? name : relative + '/' + name;
    if (entry.is_directory(error))
      collect(entry.path(), path, out, depth + 1);
    else if (path.ends_with(".yaml") || path.ends_with(".yml") || path.ends_with(".json"))
      out.push_back(path);
  }
}

}  // namespace

doc::File read_folder(const std::string& folder) {
  std::vector<std::string> paths;
  collect(folder, "", paths, 0);
  std::sort(paths.begin(), paths.end());
  doc::File all;
  for (const auto& path : paths) {
    std::ifstream in(folder + '/' + path, std::ios::binary);
    const std::string bytes{std::istreambuf_iterator<char>(in), {}};
    doc::File file = doc::read(path, bytes);
    std::move(file.documents.begin(), file.documents.end(), std::back_inserter(all.documents));
    std::move(file.problems.begin(), file.problems.end(), std::back_inserter(all.problems));
  }
  return all;
}

}  // namespace runner
