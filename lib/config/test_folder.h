#pragma once

// For the tests of this room: folders that change as users, editors and the kubelet change them.
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>

namespace config::test {

class Folder {
 public:
  Folder() {
    std::string name = (std::filesystem::temp_directory_path() / "config-test-XXXXXX").string();
    path_ = ::mkdtemp(name.data());
  }
  ~Folder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  Folder(const Folder&) = delete;
  const std::string& path() const { return path_; }
  std::string at(const std::string& name) const { return path_ + '/' + name; }

  // As the exam and kubectl-like tools do: written aside, then one rename.
  void put(const std::string& name, const std::string& text) const {
    const std::filesystem::path target(at(name));
    std::filesystem::create_directories(target.parent_path());
    const std::filesystem::path aside = target.parent_path() / ('.' + target.filename().string() + ".new");
    std::ofstream(aside, std::ios::binary) << text;
    std::filesystem::rename(aside, target);
  }
  // As some editors and `echo >` do: truncated and written in place.
  void overwrite(const std::string& name, const std::string& text) const { std::ofstream(at(name), std::ios::binary) << text; }
  void remove(const std::string& name) const { std::filesystem::remove_all(at(name)); }
  void link(const std::string& to, const std::string& name) const { std::filesystem::create_symlink(to, at(name)); }

  // As the kubelet does with a ConfigMap volume: a new folder, ..data moved over by rename, the old folder removed.
  void swap(int version, const std::string& name, const std::string& text) const {
    const std::string folder = "..2026_" + std::to_string(version), before = "..2026_" + std::to_string(version - 1);
    std::filesystem::create_directory(at(folder));
    std::ofstream(at(folder + '/' + name), std::ios::binary) << text;
    link(folder, "..data_tmp");
    std::filesystem::rename(at("..data_tmp"), at("..data"));
    if (!std::filesystem::is_symlink(at(name))) link("..data/" + name, name);
    remove(before);
  }

 private:
  std::string path_;
};

inline std::string service(const std::string& name, const std::string& ip, const std::string& extra = {}) {
  return "apiVersion: v1\nkind: Service\nmetadata:\n  name: " + name + "\n  namespace: default\nspec:\n  clusterIP: " + ip +
         "\n  ports:\n  - name: http\n    port: 80\n" + extra;
}
inline std::string broken_service(const std::string& name) { return "apiVersion: v1\nkind: Service\nmetadata:\n  name: " + name + "\n spec: [\n"; }

}  // namespace config::test
