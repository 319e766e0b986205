#include "config/files.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <ctime>
#include <memory>
#include <string_view>
#include <thread>

#include <fmt/format.h>

namespace config {
namespace {

constexpr size_t kMostDepth = 32;      // folders below folders; a guard against mounts and links that lead in circles
constexpr int kReadAgain = 5;
constexpr std::chrono::milliseconds kWriterNeeds{10};

bool configuration_by_name(std::string_view name) noexcept {
  return name.ends_with(".yaml") || name.ends_with(".yml") || name.ends_with(".json");
}

class Walker {
 public:
  explicit Walker(Walk& out) : out_(out) {}

  // `prefix` is empty or ends with '/'. False when the folder cannot be listed.
  bool folder(const std::string& real, const std::string& prefix) {
    struct stat facts {};
    const std::unique_ptr<DIR, decltype([](DIR* d) { ::closedir(d); })> handle(::opendir(real.c_str()));
    if (!handle || ::fstat(::dirfd(handle.get()), &facts) != 0) return false;
    const Id id{facts.st_dev, facts.st_ino};
    if (std::find(above_.begin(), above_.end(), id) != above_.end()) return true;   // a link to a folder that we are in
    if (above_.size() == kMostDepth) {
      unread(prefix, fmt::format("more than {} folders below each other; this one is left out", kMostDepth));
      return true;
    }
    above_.push_back(id);
    for (errno = 0; const dirent* entry = ::readdir(handle.get()); errno = 0)
      if (entry->d_name[0] != '.') one(real + '/' + entry->d_name, prefix + entry->d_name);
    above_.pop_back();
    return true;
  }

 private:
  struct Id {
    dev_t device;
    ino_t inode;
    friend bool operator==(const Id&, const Id&) = default;
  };

  void one(const std::string& real, const std::string& path) {
    struct stat facts {};
    if (::stat(real.c_str(), &facts) != 0) {
      const int error = errno;
      // Gone since we read the folder: nothing to say. A link stays and leads nowhere: ..data may be missing for a moment.
      if (configuration_by_name(path) && ::lstat(real.c_str(), &facts) == 0) unread(path, std::strerror(error));
      return;
    }
    if (S_ISDIR(facts.st_mode)) {
      if (!folder(real, path + '/') && errno != ENOENT) unread(path + '/', std::strerror(errno));
    } else if (!configuration_by_name(path)) {
      return;
    } else if (S_ISREG(facts.st_mode)) {
      out_.files.push_back({path, real});
    } else {
      unread(path, "is neither a file nor a folder");
    }
  }

  void unread(const std::string& path, const std::string& why) {
    out_.problems.push_back(file_problem(path, "cannot be read: " + why));
    out_.unread.push_back(path);
  }

  Walk& out_;
  std::vector<Id> above_;
};

bool same_moment(const struct stat& a, const struct stat& b) noexcept {
  return a.st_size == b.st_size && a.st_mtim.tv_sec == b.st_mtim.tv_sec && a.st_mtim.tv_nsec == b.st_mtim.tv_nsec;
}

// Who truncates a file and writes it again does the second within this time; in between it looks complete and is empty.
// After a rename the watch has let more time pass already, so this costs nothing there.
bool just_written(const struct stat& facts) noexcept {
  timespec now{};
  ::clock_gettime(CLOCK_REALTIME, &now);
  const int64_t age = (now.tv_sec - facts.st_mtim.tv_sec) * 1'000'000'000 + (now.tv_nsec - facts.st_mtim.tv_nsec);
  return age >= 0 && age < std::chrono::nanoseconds(kWriterNeeds).count();
}

Content failed(std::string why) { return {Content::Kind::kFailed, {}, std::move(why)}; }
Content failed(int error) {
  if (error == ENOENT) return {Content::Kind::kVanished, {}, {}};
  return failed(std::strerror(error));
}

// One pass. `stable` is false when the file changed under our hands.
Content read_once(const std::string& real, bool& stable) {
  stable = true;
  struct Closed {
    int fd;
    ~Closed() {
      if (fd >= 0) ::close(fd);
    }
  } file{::open(real.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY)};   // O_NONBLOCK: it may have become a FIFO
  struct stat before {}, after {};
  if (file.fd < 0 || ::fstat(file.fd, &before) != 0) return failed(errno);
  if (!S_ISREG(before.st_mode)) return failed("is no file");
  const auto size = static_cast<size_t>(before.st_size);
  if (size > kMostBytes) return failed(fmt::format("has {} bytes, more than the limit of {}", size, kMostBytes));
  Content content;
  content.bytes.resize(size + 1);       // one more: a file that grows shows itself
  size_t got = 0;
  while (got < content.bytes.size()) {
    const ssize_t n = ::read(file.fd, content.bytes.data() + got, content.bytes.size() - got);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return failed(errno);
    if (n == 0) break;
    got += static_cast<size_t>(n);
  }
  content.bytes.resize(std::min(got, size));
  stable = got == size && ::fstat(file.fd, &after) == 0 && same_moment(before, after) && !just_written(after);
  return content;
}

}  // namespace

doc::Problem file_problem(const std::string& path, std::string message) {
  return {doc::Problem::Severity::kError, "FILE", "-", {}, std::move(message), {std::make_shared<const std::string>(path), 0, 0}};
}

Walk walk(const std::string& root) {
  Walk out;
  struct stat facts {};
  if (::stat(root.c_str(), &facts) != 0) {
    out.exists = false;
    out.problems.push_back(file_problem(root, fmt::format("cannot be read: {}", std::strerror(errno))));
    return out;
  }
  if (S_ISREG(facts.st_mode)) {
    out.files.push_back({root.substr(root.find_last_of('/') + 1), root});
    return out;
  }
  if (!Walker(out).folder(root, {})) {
    out.exists = false;
    out.problems.push_back(file_problem(root, fmt::format("cannot be listed: {}", std::strerror(errno))));
  }
  std::sort(out.files.begin(), out.files.end(), [](const Found& a, const Found& b) { return a.path < b.path; });
  return out;
}

Content read_file(const std::string& real) {
  for (int i = 1;; ++i) {
    bool stable = false;
    Content content = read_once(real, stable);
    // Who writes longer than this ends with an event of its own, and the next reading has it whole.
    if (stable || i == kReadAgain) return content;
    std::this_thread::sleep_for(kWriterNeeds);
  }
}

}  // namespace config
