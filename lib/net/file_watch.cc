#include "net/file_watch.h"

#include <dirent.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <optional>
#include <set>
#include <thread>
#include <utility>

#include "log/log.h"

namespace net {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

// Everything that changes what a reader of the directory would see. Opening and reading are not among it: the listener's own
// reading would wake it for ever. Nor is IN_MODIFY: a file that somebody is still writing must not be taken for a finished
// one; its IN_CLOSE_WRITE follows.
constexpr uint32_t kChanges = IN_CREATE | IN_CLOSE_WRITE | IN_ATTRIB | IN_DELETE | IN_DELETE_SELF | IN_MOVED_FROM | IN_MOVED_TO |
                              IN_MOVE_SELF | IN_ONLYDIR;
// Deeper trees are a loop of links or a mistake.
constexpr int kDeepest = 32;

class InotifyWatch final : public FileWatch {
 public:
  InotifyWatch(std::vector<std::string> roots, int settle_ms, std::function<void()> changed, int inotify, int wake)
      : roots_(std::move(roots)), settle_(settle_ms), changed_(std::move(changed)), inotify_(inotify), wake_(wake) {
    scan();                              // before open() returns: what changes afterwards is seen
    thread_ = std::thread([this] { run(); });
  }
  ~InotifyWatch() override {
    const uint64_t one = 1;
    [[maybe_unused]] const auto n = ::write(wake_, &one, sizeof one);
    thread_.join();
    ::close(inotify_);
    ::close(wake_);
  }

 private:
  void run();
  bool wait(std::optional<Clock::time_point> until);   // false: the end was asked for
  bool drain();                                        // true: something has changed
  void scan();
  void watch_tree(const std::string& directory, int depth, std::set<std::pair<dev_t, ino_t>>& seen);
  void watch_parent(const std::string& missing);
  bool watch(const std::string& directory);

  const std::vector<std::string> roots_;
  const milliseconds settle_;
  const std::function<void()> changed_;
  const int inotify_, wake_;
  bool said_full_ = false;               // one line for the watch limit, not one for each directory
  std::thread thread_;
};

void InotifyWatch::run() {
  std::optional<Clock::time_point> first, last;        // of the burst
  for (;;) {
    std::optional<Clock::time_point> until;
    if (first) until = std::min(*last + settle_, *first + 10 * settle_);
    if (!wait(until)) return;
    if (drain()) {
      last = Clock::now();
      if (!first) first = last;
    }
    if (!first || Clock::now() < std::min(*last + settle_, *first + 10 * settle_)) continue;
    first = last = std::nullopt;
    scan();                              // before telling: what appears in a new directory from now on is an event again
    changed_();
  }
}

bool InotifyWatch::wait(std::optional<Clock::time_point> until) {
  int time = -1;
  if (until) time = static_cast<int>(std::max<int64_t>(0, std::chrono::ceil<milliseconds>(*until - Clock::now()).count()));
  std::array<pollfd, 2> fds{pollfd{inotify_, POLLIN, 0}, pollfd{wake_, POLLIN, 0}};
  ::poll(fds.data(), fds.size(), time);
  return fds[1].revents == 0;
}

bool InotifyWatch::drain() {
  alignas(inotify_event) std::array<char, 16 * 1024> buffer;
  bool changed = false;
  for (;;) {
    const ssize_t n = ::read(inotify_, buffer.data(), buffer.size());
    if (n <= 0) return changed;
    for (ssize_t at = 0; at < n;) {
      const auto* event = reinterpret_cast<const inotify_event*>(buffer.data() + at);
      // IN_IGNORED only says that a watch of ours has ended. A full queue (IN_Q_OVERFLOW) has lost events: that is a change.
      if (!(event->mask & IN_IGNORED)) changed = true;
      at += static_cast<ssize_t>(sizeof(inotify_event) + event->len);
    }
  }
}

// Adding a watch that exists changes nothing, so scanning again is how new directories and retargeted links are found.
void InotifyWatch::scan() {
  for (const std::string& root : roots_) {
    std::set<std::pair<dev_t, ino_t>> seen;
    if (watch(root)) {
      watch_tree(root, 0, seen);
    } else if (errno == ENOENT || errno == ENOTDIR) {   // a root may be a file
      watch_parent(root);
    }
    // A root that is a link, or below one, can be turned to another directory without an event in the old one.
    struct stat link{};
    if (::lstat(root.c_str(), &link) == 0 && S_ISLNK(link.st_mode)) watch_parent(root);
  }
}

void InotifyWatch::watch_tree(const std::string& directory, int depth, std::set<std::pair<dev_t, ino_t>>& seen) {
  struct stat self{};
  if (depth > kDeepest || ::stat(directory.c_str(), &self) != 0 || !seen.emplace(self.st_dev, self.st_ino).second) return;
  DIR* const opened = ::opendir(directory.c_str());
  if (!opened) return;
  while (const dirent* entry = ::readdir(opened)) {
    const std::string name = entry->d_name;
    if (name == "." || name == "..") continue;
    if (entry->d_type != DT_DIR && entry->d_type != DT_LNK && entry->d_type != DT_UNKNOWN) continue;
    const std::string path = directory + "/" + name;
    if (watch(path)) watch_tree(path, depth + 1, seen);  // refuses what is no directory, following links
  }
  ::closedir(opened);
}

// The nearest directory above that exists: it tells when the next step of the path appears.
void InotifyWatch::watch_parent(const std::string& missing) {
  std::string path = missing;
  while (path.size() > 1 && path.ends_with('/')) path.pop_back();
  for (;;) {
    const size_t slash = path.find_last_of('/');
    path = slash == std::string::npos ? "." : slash == 0 ? "/" : path.substr(0, slash);
    if (watch(path) || path == "/" || path == "." || errno != ENOENT) return;
  }
}

bool InotifyWatch::watch(const std::string& directory) {
  if (::inotify_add_watch(inotify_, directory.c_str(), kChanges) >= 0) return true;
  const int error = errno;
  if (error == ENOSPC && !std::exchange(said_full_, true)) {
    logs::warn(logs::Component::kConfig, "{}: changes will not be noticed: the limit fs.inotify.max_user_watches is reached", directory);
  }
  errno = error;
  return false;
}

}  // namespace

std::unique_ptr<FileWatch> FileWatch::open(std::vector<std::string> roots, int settle_ms, std::function<void()> changed) {
  const int inotify = ::inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
  const int wake = ::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
  if (inotify < 0 || wake < 0) {
    const int error = errno;
    if (inotify >= 0) ::close(inotify);
    if (wake >= 0) ::close(wake);
    errno = error;
    return nullptr;
  }
  return std::make_unique<InotifyWatch>(std::move(roots), settle_ms, std::move(changed), inotify, wake);
}

}  // namespace net
