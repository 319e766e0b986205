#include "net/file_watch.h"

#include <gtest/gtest.h>

#include <atomic>
#include <condition_variable>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <mutex>
#include <string>
#include <thread>

namespace net {
namespace {

namespace fs = std::filesystem;
using namespace std::chrono_literals;

constexpr int kSettle = 20;

void write_file(const fs::path& path, const std::string& text) { std::ofstream(path) << text; }

// A directory of its own and the calls that its watch made.
class FileWatchTest : public ::testing::Test {
 protected:
  FileWatchTest() {
    std::string name = (fs::temp_directory_path() / "sluice-watch-XXXXXX").string();
    EXPECT_NE(::mkdtemp(name.data()), nullptr);
    top = name;
  }
  ~FileWatchTest() override {
    watch.reset();
    fs::remove_all(top);
  }
  void start(const fs::path& root) {
    watch = FileWatch::open({root.string()}, kSettle, [this] {
      std::lock_guard lock(mutex);
      ++calls;
      told.notify_all();
    });
    ASSERT_TRUE(watch);
  }
  // The number of calls once it is above `seen`; waits for the event itself.
  int after(int seen) {
    std::unique_lock lock(mutex);
    EXPECT_TRUE(told.wait_for(lock, 30s, [&] { return calls > seen; })) << "no call";
    return calls;
  }
  int so_far() {
    std::lock_guard lock(mutex);
    return calls;
  }
  fs::path top;
  std::unique_ptr<FileWatch> watch;
  std::mutex mutex;
  std::condition_variable told;
  int calls = 0;
};

TEST_F(FileWatchTest, CreateChangeRenameDelete_EachIsNoticed) {
  start(top);
  write_file(top / "a.yaml", "1");
  int seen = after(0);
  write_file(top / "a.yaml", "2");
  seen = after(seen);
  fs::rename(top / "a.yaml", top / "b.yaml");
  seen = after(seen);
  fs::remove(top / "b.yaml");
  after(seen);
}

TEST_F(FileWatchTest, ManyChangesAtOnce_AreOneBurst) {
  start(top);
  for (int i = 0; i < 200; ++i) write_file(top / ("f" + std::to_string(i)), "x");
  const int seen = after(0);
  write_file(top / "last", "x");
  after(seen);
  EXPECT_LT(so_far(), 20) << "one call per burst, not per file";
}

TEST_F(FileWatchTest, EndlessChanges_AreToldAtTheLatestAfterTenTimesTheSettling) {
  start(top);
  std::atomic<bool> enough{false};
  std::thread writer([&] {
    for (int i = 0; !enough; ++i) write_file(top / "busy", std::to_string(i));
  });
  after(after(0));
  enough = true;
  writer.join();
}

TEST_F(FileWatchTest, NewDirectories_AreWatchedToo) {
  start(top);
  fs::create_directories(top / "one" / "two");
  const int seen = after(0);
  write_file(top / "one" / "two" / "deep.yaml", "x");
  after(seen);
}

// How kubelet replaces the files of a ConfigMap: a new directory, and a link renamed over the old one.
TEST_F(FileWatchTest, ConfigMapSwap_IsNoticedAgainAndAgain) {
  const fs::path volume = top / "volume";
  fs::create_directories(volume / "..v1");
  write_file(volume / "..v1" / "mesh", "1");
  fs::create_directory_symlink("..v1", volume / "..data");
  fs::create_symlink("..data/mesh", volume / "mesh");
  start(volume);
  int seen = 0;
  for (int version = 2; version <= 4; ++version) {
    const std::string name = "..v" + std::to_string(version);
    fs::create_directory(volume / name);
    write_file(volume / name / "mesh", std::to_string(version));
    fs::create_directory_symlink(name, volume / "..tmp");
    fs::rename(volume / "..tmp", volume / "..data");
    fs::remove_all(volume / ("..v" + std::to_string(version - 1)));
    seen = after(seen);
    write_file(volume / name / "mesh", "in place");
    seen = after(seen);
  }
}

TEST_F(FileWatchTest, LinkToADirectoryElsewhere_IsFollowed_LoopsEnd) {
  fs::create_directories(top / "elsewhere");
  fs::create_directories(top / "root");
  fs::create_directory_symlink(top / "elsewhere", top / "root" / "link");
  fs::create_directory_symlink(top / "root", top / "elsewhere" / "back");
  start(top / "root");
  write_file(top / "elsewhere" / "x", "x");
  after(0);
}

TEST_F(FileWatchTest, RootThatDoesNotExistYet_IsFoundWhenItAppears) {
  start(top / "later" / "still");
  fs::create_directories(top / "later" / "still");
  const int seen = after(0);
  write_file(top / "later" / "still" / "x", "x");
  after(seen);
}

TEST_F(FileWatchTest, RootThatIsAFile_IsFollowed) {
  write_file(top / "one.yaml", "1");
  start(top / "one.yaml");
  write_file(top / "one.yaml", "2");
  const int seen = after(0);
  write_file(top / ".new", "3");
  fs::rename(top / ".new", top / "one.yaml");
  after(seen);
}

TEST_F(FileWatchTest, TheEndWaitsForARunningCall) {
  std::atomic<bool> inside{false}, returned{false};
  watch = FileWatch::open({top.string()}, kSettle, [&] {
    inside = true;
    for (int i = 0; i < 50; ++i) std::this_thread::yield();
    returned = true;
  });
  write_file(top / "x", "x");
  while (!inside) std::this_thread::yield();
  watch.reset();
  EXPECT_TRUE(returned);
}

}  // namespace
}  // namespace net
