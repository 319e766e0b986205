#include "net/stream.h"

#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "net/slab.h"
#include "net/socket_testing.h"
#include "net/worker.h"

namespace net {
namespace {

using namespace std::chrono_literals;
using testing::Reading;
using testing::Target;
using testing::TcpPair;
using testing::Writing;

Task<> echo(Stream& stream) {
  for (;;) {
    auto piece = co_await stream.read();
    if (!piece || piece->empty()) break;
    const auto written = co_await stream.write(std::move(*piece));
    if (!written) break;
  }
  stream.shutdown_write();
}

std::string letters(size_t n, unsigned seed) {
  std::string text(n, '\0');
  for (char& c : text) c = static_cast<char>('a' + (seed = seed * 1103515245 + 12345) / 65536 % 26);
  return text;
}

TEST(SocketStream, EchoOverASocketPair_ReturnsEveryByte) {
  Worker worker({});
  auto [a, b] = testing::socket_pair(worker);
  const std::string text = letters(3'000'000, 1);
  Reading reading;
  Writing writing;
  worker.spawn(echo(*b));
  worker.spawn(testing::write_text(*a, text, writing, true));
  worker.spawn(testing::read_all(*a, reading));
  testing::run_to_the_end(worker);
  EXPECT_TRUE(writing.end && reading.end);
  EXPECT_TRUE(reading.bytes == text);
  EXPECT_EQ(worker.block_bytes(), 0u);
}

TEST(SocketStream, EchoOverTcp_BothFamilies) {
  for (const bool v4 : {true, false}) {
    Worker worker({});
    TcpPair pair(worker, v4);
    ASSERT_TRUE(pair.accepted && pair.connected);
    EXPECT_EQ(pair.connected->peer(), pair.listener->address());
    EXPECT_EQ(pair.accepted->peer(), pair.connected->local());
    const std::string text = letters(3'000'000, 2);
    Reading reading;
    Writing writing;
    worker.spawn(echo(*pair.accepted));
    worker.spawn(testing::write_text(*pair.connected, text, writing, true));
    worker.spawn(testing::read_all(*pair.connected, reading));
    testing::run_to_the_end(worker);
    EXPECT_TRUE(reading.end && reading.bytes == text);
  }
}

TEST(SocketStream, HeadAndPiece_GoOutTogether) {
  Worker worker({});
  auto [a, b] = testing::socket_pair(worker);
  Reading reading;
  worker.spawn([](Stream& stream) -> Task<> {
    const auto written = co_await stream.write(bytes_of("head "), Borrowed::of_static("body"));
    EXPECT_TRUE(written);
    const auto nothing = co_await stream.write(Borrowed());
    EXPECT_TRUE(nothing);
    stream.shutdown_write();
  }(*a));
  worker.spawn(testing::read_all(*b, reading));
  testing::run_to_the_end(worker);
  EXPECT_EQ(reading.bytes, "head body");
}

TEST(SocketStream, HalfClose_TheAnswerStillArrives) {
  Worker worker({});
  TcpPair pair(worker);
  pair.connected->shutdown_write();
  Reading at_server, at_client;
  Writing writing;
  worker.spawn(testing::read_all(*pair.accepted, at_server));
  testing::run_to_the_end(worker);
  EXPECT_TRUE(at_server.over && at_server.end && at_server.bytes.empty());
  worker.spawn(testing::write_text(*pair.accepted, "late answer", writing, true));
  worker.spawn(testing::read_all(*pair.connected, at_client));
  testing::run_to_the_end(worker);
  EXPECT_EQ(at_client.bytes, "late answer");
  for (int i = 0; i < 3; ++i) {                          // the end, again and again
    worker.spawn(testing::read_all(*pair.connected, at_client));
    testing::run_to_the_end(worker);
    EXPECT_TRUE(at_client.end);
  }
}

TEST(SocketStream, BytesThatCameWhileNobodyRead_AreKnown) {
  Worker worker({});
  TcpPair pair(worker);
  const auto one_read = [](Stream& stream) -> Task<> {
    const auto piece = co_await stream.read();
    EXPECT_TRUE(piece && !piece->empty());
  };
  Writing writing;
  worker.spawn(one_read(*pair.connected));
  worker.poll();
  worker.spawn(testing::write_text(*pair.accepted, "answer", writing));
  testing::run_to_the_end(worker);
  EXPECT_FALSE(pair.connected->known_readable());
  worker.spawn(testing::write_text(*pair.accepted, "more", writing));
  while (!pair.connected->readable()) worker.poll();
  worker.poll();
  EXPECT_TRUE(pair.connected->known_readable());
}

TEST(SocketStream, FinWithBytesStillUnsent_FollowsThem) {
  Worker worker({});
  TcpPair pair(worker);
  const std::string text = letters(8'000'000, 3);
  Reading reading;
  Writing writing;
  worker.spawn(testing::write_text(*pair.connected, text, writing));
  worker.poll();
  ASSERT_FALSE(writing.over) << "eight megabytes fit into the kernel's buffers: nothing is tested";
  EXPECT_GT(worker.block_bytes(), 0u);
  pair.connected->shutdown_write();
  worker.spawn(testing::read_all(*pair.accepted, reading));
  testing::run_to_the_end(worker);
  EXPECT_TRUE(writing.end && reading.end && reading.bytes == text);
}

TEST(SocketStream, Reset_ThePeerSeesIt_BothSidesFailFromThenOn) {
  Worker worker({});
  TcpPair pair(worker);
  Reading at_server, at_client;
  worker.spawn(testing::read_all(*pair.accepted, at_server));
  worker.poll();
  pair.connected->reset();
  worker.spawn(testing::read_all(*pair.connected, at_client));
  testing::run_to_the_end(worker);
  ASSERT_FALSE(at_server.end);
  EXPECT_EQ(at_server.end.error().code, base::Code::kReset);
  EXPECT_EQ(at_server.end.error().sys, ECONNRESET);
  ASSERT_FALSE(at_client.end);
  EXPECT_EQ(at_client.end.error().code, base::Code::kReset);
  Writing writing;
  worker.spawn(testing::write_text(*pair.connected, "x", writing));
  at_server = {};
  worker.spawn(testing::read_all(*pair.accepted, at_server));
  testing::run_to_the_end(worker);
  EXPECT_FALSE(writing.end);
  EXPECT_FALSE(at_server.end) << "the kernel tells a reset once, the stream always";
}

TEST(SocketStream, Cancel_EndsBothWaitsWithTheReason_AndThePeerSeesAReset) {
  Worker worker({});
  TcpPair pair(worker);
  Reading reading, at_server;
  Writing writing;
  worker.spawn(testing::write_text(*pair.connected, letters(8'000'000, 4), writing));
  worker.spawn(testing::read_all(*pair.connected, reading));
  worker.poll();
  ASSERT_FALSE(writing.over || reading.over);
  pair.connected->cancel({.code = base::Code::kTimeout});
  EXPECT_FALSE(writing.over || reading.over);
  testing::run_to_the_end(worker);
  EXPECT_EQ(writing.end.error().code, base::Code::kTimeout);
  EXPECT_EQ(reading.end.error().code, base::Code::kTimeout);
  EXPECT_EQ(worker.block_bytes(), 0u);
  pair.connected.reset();
  worker.spawn(testing::read_all(*pair.accepted, at_server));
  testing::run_to_the_end(worker);
  EXPECT_FALSE(at_server.end) << "a message that was cut must not look whole";
}

// A state machine that gives up while its operations are attached, and the stream right after it.
struct Machine {
  explicit Machine(Stream& stream) : read(stream.read()) { read.waiter = Waiter::to<&Machine::told>(*this); }
  void told() { ++times; }
  ReadOp read;
  int times = 0;
};

TEST(SocketStream, DestroyedWhileTheLoopWaitsForIt_NobodyIsTold) {
  Worker worker({});
  TcpPair pair(worker);
  {
    Machine machine(*pair.connected);
    EXPECT_FALSE(machine.read.start());
  }
  {
    CloseWatch watch = pair.accepted->closed(*pair.accepted, {}, 0ms);
  }
  pair.connected.reset();
  pair.accepted.reset();
  worker.poll();
}

TEST(SocketStream, ReadinessNobodyTook_ServesTheNextRead) {
  Worker worker({});
  TcpPair pair(worker);
  {
    Machine gone(*pair.connected);
    EXPECT_FALSE(gone.read.start());
  }
  Writing writing;
  worker.spawn(testing::write_text(*pair.accepted, "hello", writing));
  testing::run_to_the_end(worker);
  while (!pair.connected->readable()) worker.poll();
  worker.poll();
  Machine machine(*pair.connected);
  ASSERT_TRUE(machine.read.start()) << "the wait was over: no second one is needed";
  EXPECT_EQ(text_of(machine.read.result->bytes()), "hello");
  EXPECT_EQ(machine.times, 0) << "a result that is there already calls nobody";
  EXPECT_FALSE(machine.read.start());
}

TEST(SocketStream, Unread_ComesBackBeforeTheSocketsBytes) {
  Worker worker({});
  auto [a, b] = testing::socket_pair(worker);
  Writing writing;
  worker.spawn(testing::write_text(*a, "world", writing, true));
  testing::run_to_the_end(worker);
  b->unread(bytes_of(", "));
  b->unread(bytes_of("hello"));
  EXPECT_TRUE(b->readable());
  Reading reading;
  worker.spawn(testing::read_all(*b, reading));
  testing::run_to_the_end(worker);
  EXPECT_EQ(reading.bytes, "hello, world");
}

TEST(SocketStream, OriginalDestinationOfADirectConnection_IsItsOwnAddress) {
  for (const bool v4 : {true, false}) {
    Worker worker({});
    TcpPair pair(worker, v4);
    const auto found = pair.accepted->original_dst();
    ASSERT_TRUE(found);
    EXPECT_EQ(found->address, pair.listener->address());
    EXPECT_FALSE(found->redirected);
  }
}

TEST(SocketStream, LingeringClose_TheAnswerArrivesAlthoughMoreIsSent) {
  Worker worker({});
  TcpPair pair(worker);
  Reading reading;
  Writing big, answer;
  worker.spawn(testing::write_text(*pair.connected, letters(300'000, 5), big, true));
  worker.spawn([](TcpPair& streams, Writing& writing) -> Task<> {
    writing.end = co_await streams.accepted->write(Borrowed::of_static("413"));
    co_await lingering_close(*streams.accepted, 1 << 20, 10s);
    streams.accepted.reset();
  }(pair, answer));
  worker.spawn(testing::read_all(*pair.connected, reading));
  testing::run_to_the_end(worker);
  EXPECT_TRUE(reading.end) << "an RST would have destroyed the answer";
  EXPECT_EQ(reading.bytes, "413");
}

TEST(SocketWatch, Fin_CancelsAfterItsTime) {
  Worker worker({});
  TcpPair pair(worker);
  Target target(worker);
  CloseWatch watch = pair.accepted->closed(target, {.code = base::Code::kEof}, 20ms);
  const auto before = worker.now();
  pair.connected.reset();
  worker.run();
  EXPECT_TRUE(target.cancelled());
  EXPECT_GE(worker.now() - before, 20ms);
}

TEST(SocketWatch, Reset_CancelsAtOnce_EvenBehindUnreadBytes) {
  for (const bool bytes_first : {false, true}) {
    Worker worker({});
    TcpPair pair(worker);
    if (bytes_first) {
      Writing writing;
      worker.spawn(testing::write_text(*pair.connected, "pipelined", writing));
      testing::run_to_the_end(worker);
      while (!pair.accepted->readable()) worker.poll();
    }
    Target target(worker);
    CloseWatch watch = pair.accepted->closed(target, {.code = base::Code::kEof}, 1h);
    worker.poll();
    EXPECT_FALSE(target.cancelled());
    pair.connected->reset();
    worker.run();
    EXPECT_TRUE(target.cancelled());
  }
}

TEST(SocketWatch, ResetBehindAFinThatWasRead_CancelsAtOnce_ItsTimeIsNever) {
  for (const bool we_wrote : {false, true}) {
    Worker worker({});
    TcpPair pair(worker);
    pair.connected->shutdown_write();
    Reading reading;
    worker.spawn(testing::read_all(*pair.accepted, reading));
    testing::run_to_the_end(worker);
    Target target(worker);
    CloseWatch watch = pair.accepted->closed(target, {.code = base::Code::kEof}, CloseWatch::kNever);
    if (we_wrote) {
      Writing writing;
      worker.spawn(testing::write_text(*pair.accepted, "not read", writing));
      testing::run_to_the_end(worker);
    }
    worker.poll();
    EXPECT_FALSE(target.cancelled());
    pair.connected->reset();
    worker.run();
    EXPECT_TRUE(target.cancelled());
  }
}

TEST(SocketStream, Undelivered_UntilThePeersKernelHasIt) {
  Worker worker({});
  TcpPair pair(worker);
  EXPECT_FALSE(pair.accepted->undelivered());
  Writing writing;
  worker.spawn(testing::write_text(*pair.accepted, "short", writing));
  testing::run_to_the_end(worker);
  while (pair.accepted->undelivered()) worker.poll();
  worker.spawn(testing::write_text(*pair.accepted, std::string(20'000'000, 'x'), writing));
  worker.poll();
  EXPECT_TRUE(pair.accepted->undelivered());
  pair.connected.reset();
  testing::run_to_the_end(worker);
}

TEST(SocketWatch, BytesBeforeAFin_HideIt_UnlessBytesCount) {
  for (const bool or_bytes : {false, true}) {
    Worker worker({});
    TcpPair pair(worker);
    Target target(worker);
    CloseWatch watch(*pair.accepted, target, {.code = base::Code::kEof}, 0ms, or_bytes);
    Writing writing;
    worker.spawn(testing::write_text(*pair.connected, "pipelined", writing, true));
    testing::run_to_the_end(worker);
    while (!pair.accepted->readable()) worker.poll();
    worker.poll();
    EXPECT_EQ(target.cancelled(), or_bytes);
  }
}

// Urgent data and a closed pair of directions keep epoll's error wait "ready"; the watch must not spin on them.
TEST(SocketWatch, UrgentBytesAndClosedDirections_DoNotKeepTheLoopBusy) {
  Worker worker({});
  TcpPair urgent(worker), closed(worker);
  Target target(worker);
  CloseWatch on_urgent = urgent.accepted->closed(target, {.code = base::Code::kEof}, 1h);
  CloseWatch on_closed = closed.accepted->closed(target, {.code = base::Code::kEof}, 1h);
  ASSERT_EQ(::send(urgent.connected->raw_fd(), "ab", 2, MSG_OOB), 2);
  closed.accepted->shutdown_write();
  closed.connected.reset();
  while (!urgent.accepted->readable() || !closed.accepted->readable()) worker.poll();
  size_t turns = 0;
  for (int i = 0; i < 100; ++i) turns += worker.poll();
  EXPECT_LT(turns, 20u);
  EXPECT_FALSE(target.cancelled());
}

TEST(Borrowed, FirstSplitsOffTheFront) {
  Borrowed all = Borrowed::of_static("abcdef");
  const Borrowed front = all.first(2);
  EXPECT_EQ(text_of(front.bytes()), "ab");
  EXPECT_EQ(text_of(all.bytes()), "cdef");
}

// A read that keeps what it got across the next wait, as nobody may.
Task<> keep_across_a_wait(Worker& worker, Stream& stream, size_t& seen) {
  auto kept = co_await stream.read();
  (void)co_await sleep(worker, 1ms);
  seen = kept->bytes().size();
}

void use_scratch_late() {
  Worker worker({.manual_clock = true});
  auto pair = testing::socket_pair(worker);
  Writing writing;
  size_t seen = 0;
  worker.spawn(testing::write_text(*pair.first, "bytes", writing));
  worker.spawn(keep_across_a_wait(worker, *pair.second, seen));
  worker.poll();
  worker.advance(1ms);
}

void use_slab_late() {
  Worker worker({.manual_clock = true});
  Slab slab(worker);
  slab.append(bytes_of("bytes"));
  const Borrowed late = slab.borrow(5);
  slab.consume(1);
  (void)late.bytes();
}

// Release builds carry no check, so there is nothing to die of.
#if !defined(NDEBUG)
TEST(BorrowedDeathTest, LateUse_Aborts) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_DEATH(use_scratch_late(), "used after its bytes were gone");
  EXPECT_DEATH(use_slab_late(), "used after its bytes were gone");
}
#else
TEST(Borrowed, ReleaseBuilds_PayNothingForTheCheck) {
  static_assert(!kChecked);
  use_scratch_late();
  use_slab_late();
}
#endif

TEST(Slab, KeepsOrderThroughEveryGrowthAndGivesItsBlockBack) {
  Worker worker({.manual_clock = true});
  Slab slab(worker);
  std::string expected;
  unsigned seed = 7;
  for (int i = 0; i < 4'000; ++i) {
    seed = seed * 1103515245 + 12345;
    const size_t n = seed / 65536 % 900;
    const std::string piece = letters(n, seed);
    switch (seed / 4096 % 4) {
      case 0:
        slab.prepend(bytes_of(piece));
        expected.insert(0, piece);
        break;
      case 1:
        slab.consume(std::min(n, slab.size()));
        expected.erase(0, std::min(n, expected.size()));
        break;
      default:
        slab.append(bytes_of(piece));
        expected += piece;
    }
    ASSERT_EQ(slab.size(), expected.size());
  }
  EXPECT_TRUE(text_of(slab.front()) == expected);
  EXPECT_GT(expected.size(), 128u * 1024) << "every block size was passed";
  slab.consume(slab.size());
  EXPECT_EQ(worker.block_bytes(), 0u);
}

// How many descriptors all the loops of this process watch.
size_t watched() {
  size_t count = 0;
  for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fdinfo")) {
    std::ifstream info(entry.path());
    for (std::string line; std::getline(info, line);) count += line.starts_with("tfd:");
  }
  return count;
}

// A child of another thread holds a copy of the descriptor between fork and exec; a copy of our own is the same to the kernel.
TEST(SocketStream, ClosedWhileSomebodyHoldsACopy_IsOffTheLoop) {
  Worker worker({.starts_programs = true});
  const size_t before = watched();
  auto [ours, theirs] = testing::socket_pair(worker);
  Reading reading;
  worker.spawn(testing::read_all(*ours, reading));
  worker.poll();
  EXPECT_EQ(watched(), before + 1);
  const int copy = ::dup(ours->raw_fd());
  ASSERT_GE(copy, 0);
  ours->reset();
  worker.poll();
  EXPECT_TRUE(reading.over);
  EXPECT_EQ(watched(), before) << "the loop would be told of a stream that is gone";
  ::close(copy);
}

// The kernel lets a writer wait until much of its buffer is free; whoever asks knows better.
TEST(SocketStream, SlowReader_ShowsBeforeTheWriterIsWoken) {
  Worker worker({.manual_clock = true});
  TcpPair pair(worker);
  Writing writing;
  worker.spawn(testing::write_text(*pair.accepted, std::string(20'000'000, 'x'), writing));
  worker.poll();
  ASSERT_FALSE(writing.over) << "twenty megabytes fit into the kernel's buffers: nothing is tested";
  (void)pair.accepted->last_drained();
  const auto began = worker.now();
  worker.advance(std::chrono::seconds(1));
  EXPECT_LE(pair.accepted->last_drained(), began) << "nobody has read";
  std::vector<char> sip(64 * 1024);
  size_t taken = 0;
  while (pair.accepted->last_drained() <= began) {
    const ssize_t n = ::recv(pair.connected->raw_fd(), sip.data(), sip.size(), MSG_DONTWAIT);
    ASSERT_GT(n, 0) << "everything was read, and the writer's end heard nothing";
    taken += static_cast<size_t>(n);
  }
  EXPECT_EQ(pair.accepted->last_drained(), worker.now());
  EXPECT_LT(taken, 20'000'000u);
  pair.connected.reset();
  testing::run_to_the_end(worker);
}

}  // namespace
}  // namespace net
