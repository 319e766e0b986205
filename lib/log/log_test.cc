#include "log/log.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <sstream>
#include <thread>
#include <vector>

#include "log/own.h"
#include "log/ring.h"

namespace logs {
namespace {

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

class Folder {
 public:
  Folder() {
    std::string name = (std::filesystem::temp_directory_path() / "log-test-XXXXXX").string();
    path_ = ::mkdtemp(name.data());
  }
  ~Folder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  std::string at(const std::string& name) const { return path_ + '/' + name; }

 private:
  std::string path_;
};

std::string contents(const std::string& path) {
  std::ifstream file(path);
  std::ostringstream text;
  text << file.rdbuf();
  return std::move(text).str();
}

// Bytes as they arrive at the reading end, until `enough` says so or nothing more comes for five seconds.
template <class Enough> std::string read_until(int fd, Enough enough) {
  std::string text;
  char piece[65536];
  while (!enough(text)) {
    pollfd some{fd, POLLIN, 0};
    if (::poll(&some, 1, 5000) != 1) break;
    const ssize_t n = ::read(fd, piece, sizeof piece);
    if (n <= 0) break;
    text.append(piece, static_cast<size_t>(n));
  }
  return text;
}

// Each line is "thread number ...x"; true when every thread's numbers rise and every line is whole.
void expect_whole_and_rising(const std::string& text, std::map<int, int>& lines) {
  std::istringstream all(text);
  std::map<int, int> last;
  int thread = 0, number = 0;
  std::string rest;
  for (std::string one; std::getline(all, one);) {
    std::istringstream words(one);
    ASSERT_TRUE(words >> thread >> number >> rest) << one;
    ASSERT_EQ(rest, "x") << one;
    if (lines.contains(thread)) ASSERT_GT(number, last[thread]);
    last[thread] = number;
    ++lines[thread];
  }
}

TEST(Ring, EveryLengthAcrossTheEnd_ComesOutAsItWentIn) {
  Ring ring(64);
  std::string in, out;
  for (int i = 0; i < 1000; ++i) {
    const std::string line = std::string(static_cast<size_t>(i % 60), static_cast<char>('a' + i % 26)) + '\n';
    ASSERT_NE(ring.put(line), Ring::Put::kFull);
    in += line;
    iovec pieces[2];
    const size_t count = ring.pieces(pieces);
    for (size_t p = 0; p < count; ++p) {
      out.append(static_cast<char*>(pieces[p].iov_base), pieces[p].iov_len);
      ring.consume(pieces[p].iov_len);
    }
  }
  EXPECT_EQ(in, out);
  EXPECT_TRUE(ring.empty());
}

TEST(Ring, Full_DropsTheLineAndCounts) {
  Ring ring(16);
  EXPECT_EQ(ring.put("1234567"), Ring::Put::kHalfFull);   // newline added: 8 bytes
  EXPECT_EQ(ring.put("12345678\n"), Ring::Put::kFull);
  EXPECT_EQ(ring.put("1234567\n"), Ring::Put::kOk);
  EXPECT_EQ(ring.put(""), Ring::Put::kFull);
  EXPECT_EQ(ring.dropped(), 2u);
}

TEST(Sink, LineIsVisibleSoon_AlsoAfterIdleTimes) {
  int ends[2];
  ASSERT_EQ(::pipe2(ends, O_CLOEXEC), 0);
  auto sink = Sink::open("/proc/self/fd/" + std::to_string(ends[1]));
  for (int i = 0; i < 5; ++i) {
    const auto before = Clock::now();
    sink->write("line\n");
    EXPECT_EQ(read_until(ends[0], [](const std::string& t) { return t.ends_with('\n'); }), "line\n");
    EXPECT_LT(Clock::now() - before, 300ms);
  }
  sink.reset();
  ::close(ends[0]);
  ::close(ends[1]);
}

TEST(Sink, ManyThreads_WholeLinesInOrderAndAllCounted) {
  Folder folder;
  constexpr int kThreads = 4, kLines = 20'000;
  auto sink = Sink::open(folder.at("log"));
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t)
    threads.emplace_back([&sink, t] {
      for (int i = 0; i < kLines; ++i) sink->write(fmt::format("{} {} x\n", t, i));
    });
  for (auto& thread : threads) thread.join();
  const uint64_t lost = sink->dropped();   // nobody writes any more
  sink.reset();
  std::map<int, int> lines;
  expect_whole_and_rising(contents(folder.at("log")), lines);
  uint64_t all = 0;
  for (const auto& [thread, count] : lines) all += static_cast<uint64_t>(count);
  EXPECT_EQ(all + lost, uint64_t{kThreads} * kLines);
}

TEST(Sink, StalledPipe_NeverBlocksAndCountsWhatItDrops) {
  int ends[2];
  ASSERT_EQ(::pipe2(ends, O_CLOEXEC), 0);
  auto sink = Sink::open("/proc/self/fd/" + std::to_string(ends[1]), 64 * 1024);
  constexpr int kLines = 20'000;         // ten times what pipe and ring hold together
  const auto before = Clock::now();
  for (int i = 0; i < kLines; ++i) sink->write(fmt::format("0 {} x\n", i));
  for (int i = 0; i < kLines; ++i) sink->write(fmt::format("1 {} x\n", i));
  EXPECT_LT(Clock::now() - before, 5s);
  const uint64_t lost = sink->dropped();
  EXPECT_GT(lost, 0u);
  // The reader wakes up: everything that was accepted arrives.
  const uint64_t accepted = 2 * kLines - lost;
  const std::string text = read_until(ends[0], [&](const std::string& t) { return static_cast<uint64_t>(std::count(t.begin(), t.end(), '\n')) >= accepted; });
  EXPECT_EQ(static_cast<uint64_t>(std::count(text.begin(), text.end(), '\n')), accepted);
  std::map<int, int> lines;
  expect_whole_and_rising(text, lines);
  sink.reset();
  ::close(ends[0]);
  ::close(ends[1]);
}

TEST(Sink, EndWithStalledPipe_TakesAboutASecondAndCountsTheRest) {
  int ends[2];
  ASSERT_EQ(::pipe2(ends, O_CLOEXEC), 0);
  auto sink = Sink::open("/proc/self/fd/" + std::to_string(ends[1]));
  for (int i = 0; i < 50'000; ++i) sink->write("0 1 x\n");
  const auto before = Clock::now();
  sink.reset();
  EXPECT_LT(Clock::now() - before, 3s);
  ::close(ends[0]);
  ::close(ends[1]);
}

TEST(Sink, NothingWritten_IsOpenAllTheSame) {
  Folder folder;
  Sink::open(folder.at("log")).reset();
  EXPECT_TRUE(std::filesystem::exists(folder.at("log"))) << "it would be opened when no descriptor may be left";
}

TEST(Sink, FifoWithoutReader_DropsAndCounts) {
  Folder folder;
  ASSERT_EQ(::mkfifo(folder.at("fifo").c_str(), 0600), 0);
  auto sink = Sink::open(folder.at("fifo"));
  for (int i = 0; i < 100; ++i) sink->write("line\n");
  for (const auto end = Clock::now() + 5s; sink->dropped() < 100 && Clock::now() < end;) std::this_thread::yield();
  EXPECT_EQ(sink->dropped(), 100u);
  EXPECT_EQ(sink->written(), 0u);
}

TEST(Sink, FullDisk_CountsAndGoesOnWithWholeLines) {
  // A memory file that may not grow stands for a full disk: writing beyond its end fails.
  const int file = ::memfd_create("disk", MFD_ALLOW_SEALING | MFD_CLOEXEC);
  ASSERT_GE(file, 0);
  ASSERT_EQ(::ftruncate(file, 100), 0);
  ASSERT_EQ(::fcntl(file, F_ADD_SEALS, F_SEAL_GROW), 0);
  auto sink = Sink::open("/proc/self/fd/" + std::to_string(file));
  for (int i = 0; i < 1000; ++i) sink->write("0123456789\n");
  for (const auto end = Clock::now() + 5s; sink->dropped() + sink->written() < 1000 && Clock::now() < end;) std::this_thread::yield();
  EXPECT_GT(sink->dropped(), 900u);
  EXPECT_EQ(sink->dropped() + sink->written(), 1000u);
  ::close(file);
}

TEST(Sink, Reopen_WritesToTheNewFile) {
  Folder folder;
  auto sink = Sink::open(folder.at("log"));
  sink->write("before\n");
  for (const auto end = Clock::now() + 5s; sink->written() < 1 && Clock::now() < end;) std::this_thread::yield();
  std::filesystem::rename(folder.at("log"), folder.at("log.1"));
  sink->reopen();
  for (const auto end = Clock::now() + 5s; !std::filesystem::exists(folder.at("log")) && Clock::now() < end;) sink->write("after\n");
  sink.reset();
  EXPECT_TRUE(contents(folder.at("log.1")).starts_with("before\n"));
  EXPECT_TRUE(contents(folder.at("log")).starts_with("after\n"));
}

TEST(Sink, ThreadsThatEnd_LeaveTheirRingToTheNext) {
  Folder folder;
  auto sink = Sink::open(folder.at("log"));
  for (int i = 0; i < 200; ++i) std::thread([&sink, i] { sink->write(fmt::format("0 {} x\n", i)); }).join();
  EXPECT_EQ(sink->dropped(), 0u);
  sink.reset();
  std::map<int, int> lines;
  expect_whole_and_rising(contents(folder.at("log")), lines);
  EXPECT_EQ(lines[0], 200);
}

TEST(OwnLog, Text_TimeLevelComponentMessage) {
  const std::chrono::system_clock::time_point at(1'795'255'872'345ms);
  EXPECT_EQ(own_line(at, Component::kConfig, Level::kWarning, "a\nb\x1b[31m\xc3\xa4", false),
            "2026-11-21T10:11:12.345Z warning config a\\nb\\x1b[31m\xc3\xa4\n");
}

TEST(OwnLog, Json_EscapesAndReplacesWhatIsNoUtf8) {
  const std::chrono::system_clock::time_point at(1'795'255'872'005ms);
  EXPECT_EQ(own_line(at, Component::kNet, Level::kInfo, "\"a\\\n\xff\xc3\xa4\xed\xa0\x80", true),
            "{\"level\":\"info\",\"time\":\"2026-11-21T10:11:12.005Z\",\"scope\":\"net\",\"msg\":\"\\\"a\\\\\\u000a\\ufffd\xc3\xa4\\ufffd\\ufffd\\ufffd\"}\n");
}

TEST(OwnLog, Levels_PerComponentAndByName) {
  Level level = Level::kOff;
  EXPECT_TRUE(parse("warn", level));
  EXPECT_EQ(level, Level::kWarning);
  EXPECT_FALSE(parse("loud", level));
  set_level(Level::kInfo);
  set_level(Component::kHttp, Level::kDebug);
  EXPECT_TRUE(enabled(Component::kHttp, Level::kDebug));
  EXPECT_FALSE(enabled(Component::kNet, Level::kDebug));
  set_level(Level::kInfo);
}

TEST(OwnLog, StartAndStop_WriteToStderr) {
  testing::internal::CaptureStderr();
  start(Level::kInfo, false);
  info(Component::kMain, "listening on {}", 15001);
  debug(Component::kMain, "not shown");
  stop();
  info(Component::kMain, "after {}", "stop");
  const std::string text = testing::internal::GetCapturedStderr();
  EXPECT_NE(text.find(" info main listening on 15001\n"), std::string::npos) << text;
  EXPECT_EQ(text.find("not shown"), std::string::npos);
  EXPECT_NE(text.find(" info main after stop\n"), std::string::npos);
}

TEST(OwnLog, StopWhileOthersLog_IsNoAccident) {
  testing::internal::CaptureStderr();
  start(Level::kInfo, true);
  std::atomic<bool> enough{false};
  std::atomic<int> lines{0};
  std::thread busy([&] {
    while (!enough) {
      info(Component::kNet, "busy");
      ++lines;
    }
  });
  while (lines < 100) std::this_thread::yield();
  stop();
  const int until_stop = lines;
  while (lines < until_stop + 10) std::this_thread::yield();
  enough = true;
  busy.join();
  EXPECT_NE(testing::internal::GetCapturedStderr().find("\"scope\":\"net\",\"msg\":\"busy\"}\n"), std::string::npos);
}

TEST(OncePerSecond, ManyThreads_OnePasses) {
  OncePerSecond gate;
  std::atomic<int> passed{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([&] {
      for (int i = 0; i < 100; ++i) passed += gate.pass();
    });
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(passed, 1);
}

}  // namespace
}  // namespace logs
