#include <sys/stat.h>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <thread>

#include "config/pipeline.h"
#include "config/reader.h"
#include "log/log.h"
#include "net/file_watch.h"

namespace config {
namespace {

// A ConfigMap swap is fifteen events within about a millisecond, an editor's save three; both are over after this.
constexpr int kSettleMs = 20;
// How often a root that is missing, or that cannot be watched, is looked at.
constexpr std::chrono::seconds kLookAgain{1};

bool same(const Listing& a, const Listing& b) {
  return a.digest == b.digest && a.complete == b.complete &&
         std::equal(a.problems.begin(), a.problems.end(), b.problems.begin(), b.problems.end(),
                    [](const doc::Problem& x, const doc::Problem& y) { return doc::line_of(x) == doc::line_of(y); });
}

class DirectorySource final : public Source {
 public:
  explicit DirectorySource(std::vector<std::string> roots) : roots_(roots), reader_(std::move(roots)) {}
  ~DirectorySource() override {
    {
      const std::lock_guard lock(mutex_);
      stopping_ = true;
    }
    changed_.notify_all();
    if (thread_.joinable()) thread_.join();
    watch_.reset();                      // its thread uses what is destroyed next
  }

  void start(Sink sink) override {
    sink_ = std::move(sink);
    thread_ = std::thread([this] { run(); });
  }

 private:
  void run() {
    bool first = true, complete = true;
    Listing last;
    open_watch();                        // before the first reading: no change falls between the two
    while (true) {
      Listing listing = reader_.read();
      if (listing.complete && !complete) {
        open_watch();                    // the root that came back is another folder than the one we watched
        listing = reader_.read();
      }
      complete = listing.complete;
      if (first || !same(listing, last)) {
        last = listing;
        sink_(std::move(listing));
      }
      first = false;
      if (!wait(complete && watch_)) return;
    }
  }

  void open_watch() {
    watch_.reset();
    watch_ = net::FileWatch::open(roots_, kSettleMs, [this] {
      {
        const std::lock_guard lock(mutex_);
        dirty_ = true;
      }
      changed_.notify_all();
    });
    if (!watch_) logs::warn(logs::Component::kConfig, "inotify is not available (fs.inotify.max_user_instances?): configuration is read once a second");
  }

  // False: the end.
  bool wait(bool watched) {
    std::unique_lock lock(mutex_);
    const auto due = [this] { return dirty_ || stopping_; };
    if (watched)
      changed_.wait(lock, due);
    else
      changed_.wait_for(lock, kLookAgain, due);
    dirty_ = false;
    return !stopping_;
  }

  const std::vector<std::string> roots_;
  Reader reader_;                        // the source's thread only, as sink_ and watch_
  Sink sink_;
  std::unique_ptr<net::FileWatch> watch_;
  std::mutex mutex_;
  std::condition_variable changed_;
  bool dirty_ = false, stopping_ = false;
  std::thread thread_;
};

}  // namespace

std::unique_ptr<Source> directory_source(std::vector<std::string> roots) { return std::make_unique<DirectorySource>(std::move(roots)); }

}  // namespace config
