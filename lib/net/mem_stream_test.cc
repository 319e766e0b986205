#include "net/mem_stream.h"

#include <gtest/gtest.h>

#include <string>

#include "net/pipe.h"
#include "net/worker.h"

namespace net {
namespace {

using namespace std::chrono_literals;

struct Target final : Cancellable {
  void on_cancel() noexcept override {}
};

// Reads to the end; `error` keeps what ended it otherwise.
Task<> read_all(Stream& stream, std::string& into, Result<>& end, bool& over) {
  over = false;
  for (;;) {
    auto piece = co_await stream.read();
    if (!piece) {
      end = std::unexpected(piece.error());
      break;
    }
    if (piece->empty()) break;
    into += text_of(piece->bytes());
  }
  over = true;
}

Task<> write_all(Stream& stream, std::string text, size_t piece, Result<>& end, bool& over) {
  over = false;
  for (size_t at = 0; at < text.size() && end; at += piece) {
    const std::string_view next = std::string_view(text).substr(at, piece);
    end = co_await stream.write(bytes_of(next.substr(0, 1)), Borrowed::of_static(next.substr(1)));
  }
  over = true;
}

struct Ends {
  explicit Ends(const MemPipe& options = {}) {
    auto pipe = mem_pipe(worker, options);
    a = std::move(pipe.first);
    b = std::move(pipe.second);
  }
  Worker worker{{.manual_clock = true}};
  std::unique_ptr<MemStream> a, b;
  std::string got;
  Result<> read_end, write_end;
  bool read_over = false, write_over = false;
};

TEST(MemStream, EveryCapacityAndReadSize_DeliversEveryByteInOrder) {
  std::string text;
  for (int i = 0; i < 5'000; ++i) text += static_cast<char>('a' + i * 7 % 26);
  for (const size_t capacity : {1, 7, 64, 4096, 65536}) {
    for (const size_t max_read : {1, 3, 1000, 100'000}) {
      Ends ends({.capacity = capacity, .max_read = max_read});
      ends.worker.spawn(write_all(*ends.a, text, 700, ends.write_end, ends.write_over));
      ends.worker.spawn(read_all(*ends.b, ends.got, ends.read_end, ends.read_over));
      ends.worker.poll();
      EXPECT_TRUE(ends.write_over && ends.write_end);
      EXPECT_FALSE(ends.read_over);
      ends.a->shutdown_write();
      ends.worker.poll();
      EXPECT_TRUE(ends.read_over && ends.read_end);
      EXPECT_EQ(ends.got, text);
    }
  }
}

TEST(MemStream, FullBuffer_HoldsTheWriterUntilThePeerReads) {
  Ends ends({.capacity = 10});
  ends.worker.spawn(write_all(*ends.a, std::string(25, 'x'), 25, ends.write_end, ends.write_over));
  ends.worker.poll();
  EXPECT_FALSE(ends.write_over);
  EXPECT_EQ(ends.b->unread_bytes(), 10u);
  ends.worker.spawn(read_all(*ends.b, ends.got, ends.read_end, ends.read_over));
  ends.worker.poll();
  EXPECT_TRUE(ends.write_over);
  EXPECT_EQ(ends.got.size(), 25u);
  EXPECT_EQ(ends.worker.block_bytes(), 0u) << "an idle stream owns no block";
  ends.b->cancel({.code = base::Code::kCancelled});
  ends.worker.poll();
}

TEST(MemStream, HalfClose_TheOtherDirectionGoesOn) {
  Ends ends;
  ends.a->shutdown_write();
  ends.worker.spawn(read_all(*ends.b, ends.got, ends.read_end, ends.read_over));
  ends.worker.poll();
  EXPECT_TRUE(ends.read_over && ends.read_end && ends.got.empty());
  ends.worker.spawn(write_all(*ends.b, "answer", 6, ends.write_end, ends.write_over));
  ends.worker.poll();
  ends.b->shutdown_write();
  ends.worker.spawn(read_all(*ends.a, ends.got, ends.read_end, ends.read_over));
  ends.worker.poll();
  EXPECT_TRUE(ends.write_end && ends.read_over);
  EXPECT_EQ(ends.got, "answer");
  ends.worker.spawn(write_all(*ends.b, "more", 4, ends.write_end, ends.write_over));
  ends.worker.poll();
  EXPECT_FALSE(ends.write_end) << "nothing may follow one's own FIN";
}

TEST(MemStream, ReadAfterTheEnd_IsEmptyAgainAndAgain) {
  Ends ends;
  ends.a.reset();
  for (int i = 0; i < 3; ++i) {
    ends.worker.spawn(read_all(*ends.b, ends.got, ends.read_end, ends.read_over));
    ends.worker.poll();
    EXPECT_TRUE(ends.read_over && ends.read_end && ends.got.empty());
  }
  EXPECT_TRUE(ends.b->peer_gone());
  EXPECT_FALSE(ends.b->got_reset());
}

TEST(MemStream, Reset_EndsBothWaitingOperations) {
  Ends ends({.capacity = 4});
  ends.worker.spawn(read_all(*ends.b, ends.got, ends.read_end, ends.read_over));
  ends.worker.spawn(write_all(*ends.b, "0123456789", 10, ends.write_end, ends.write_over));
  ends.worker.poll();
  ends.a->reset();
  EXPECT_FALSE(ends.read_over || ends.write_over);
  ends.worker.poll();
  ASSERT_TRUE(ends.read_over && ends.write_over);
  EXPECT_EQ(ends.read_end.error().code, base::Code::kReset);
  EXPECT_EQ(ends.write_end.error().code, base::Code::kReset);
  EXPECT_TRUE(ends.b->got_reset());
}

TEST(MemStream, Cancel_EndsBothOperationsAndEveryLaterOne) {
  Ends ends({.capacity = 4});
  ends.worker.spawn(read_all(*ends.b, ends.got, ends.read_end, ends.read_over));
  ends.worker.spawn(write_all(*ends.b, "0123456789", 10, ends.write_end, ends.write_over));
  ends.worker.poll();
  ends.b->cancel({.code = base::Code::kTimeout});
  ends.worker.poll();
  ASSERT_TRUE(ends.read_over && ends.write_over);
  EXPECT_EQ(ends.read_end.error().code, base::Code::kTimeout);
  EXPECT_EQ(ends.write_end.error().code, base::Code::kTimeout);
  ends.read_end = {};
  ends.worker.spawn(read_all(*ends.b, ends.got, ends.read_end, ends.read_over));
  ends.worker.poll();
  EXPECT_EQ(ends.read_end.error().code, base::Code::kTimeout);
  ends.b.reset();
  EXPECT_TRUE(ends.a->got_reset()) << "six bytes were dropped: the peer must not see a clean end";
}

TEST(MemStream, Unread_ComesFirstLastCallFirst) {
  Ends ends;
  ends.worker.spawn(write_all(*ends.a, "world", 5, ends.write_end, ends.write_over));
  ends.worker.poll();
  ends.b->unread(bytes_of(", "));
  ends.b->unread(bytes_of("hello"));
  EXPECT_TRUE(ends.b->readable());
  ends.a.reset();
  ends.worker.spawn(read_all(*ends.b, ends.got, ends.read_end, ends.read_over));
  ends.worker.poll();
  EXPECT_EQ(ends.got, "hello, world");
}

TEST(MemStream, CancelBehindAFin_StillNoCleanEnd) {
  Ends ends({.capacity = 4});
  ends.worker.spawn(write_all(*ends.b, "0123456789", 10, ends.write_end, ends.write_over));
  ends.worker.poll();
  ends.b->shutdown_write();
  ends.b->cancel({.code = base::Code::kTimeout});
  ends.worker.spawn(read_all(*ends.a, ends.got, ends.read_end, ends.read_over));
  ends.worker.poll();
  EXPECT_EQ(ends.got, "0123");
  EXPECT_FALSE(ends.read_over) << "the FIN stood behind bytes that were dropped";
  ends.b.reset();
  ends.worker.poll();
  EXPECT_TRUE(ends.read_over && !ends.read_end);
}

// What a pump does with bulk: from one connection to another, through a kernel pipe.
Task<> relay(Stream& from, Stream& to, size_t at_most, Result<>& end, bool& over) {
  over = false;
  PipeLoan pipe = from.worker().lend_pipe();
  for (;;) {
    const auto read = co_await from.read_into(*pipe, at_most);
    if (!read) end = std::unexpected(read.error());
    if (!read || pipe->held() == 0) break;
    end = co_await to.write_from(*pipe);
    if (!end) break;
  }
  if (end) to.shutdown_write();
  over = true;
}

struct Relay {
  explicit Relay(const MemPipe& options) {
    auto in = mem_pipe(worker, options), out = mem_pipe(worker, options);
    from = std::move(in.first);
    source = std::move(in.second);
    to = std::move(out.first);
    drain = std::move(out.second);
  }
  void begin(const std::string& text, size_t at_most) {
    worker.spawn(relay(*from, *to, at_most, relay_end, relay_over));
    worker.spawn(write_all(*source, text, text.size(), write_end, write_over));
    worker.poll();
  }
  void read() {
    worker.spawn(read_all(*drain, got, read_end, read_over));
    worker.poll();
  }
  Worker worker{{.manual_clock = true}};
  std::unique_ptr<MemStream> from, source, to, drain;
  std::string got;
  Result<> relay_end, write_end, read_end;
  bool relay_over = false, write_over = false, read_over = false;
};

TEST(MemStreamPipe, EveryCapacityAndReadSize_DeliversEveryByteInOrder) {
  std::string text;
  for (int i = 0; i < 5'000; ++i) text += static_cast<char>('a' + i * 7 % 26);
  for (const size_t capacity : {1, 7, 4096, 65536}) {
    for (const size_t at_most : {1, 1000, 1'000'000}) {
      Relay r({.capacity = capacity, .splices = true});
      r.begin(text, at_most);
      r.read();
      EXPECT_TRUE(r.write_over && !r.relay_over);
      r.source->shutdown_write();
      r.worker.poll();
      EXPECT_TRUE(r.relay_over && r.relay_end && r.read_over && r.read_end);
      EXPECT_TRUE(r.got == text) << capacity << ' ' << at_most;
    }
  }
}

TEST(MemStreamPipe, WhoReadsNothing_LeavesBytesStuckAndTheEndBehindThem) {
  Relay r({.capacity = 100, .splices = true});
  r.begin(std::string(100, 'x'), 1000);
  EXPECT_EQ(r.drain->stuck_in_pipe(), 0u);
  r.worker.spawn(write_all(*r.source, std::string(60, 'y'), 60, r.write_end, r.write_over));
  r.worker.poll();
  EXPECT_EQ(r.drain->stuck_in_pipe(), 60u);
  EXPECT_EQ(r.drain->came_by_pipe(), 100u);
  r.to->shutdown_write();
  EXPECT_EQ(r.drain->stuck_in_pipe(), 60u);
  r.worker.advance(1s);
  r.read();
  EXPECT_TRUE(r.read_over && r.read_end);
  EXPECT_EQ(r.got, std::string(100, 'x') + std::string(60, 'y'));
  EXPECT_EQ(r.to->last_drained(), r.worker.now());
  r.source->shutdown_write();
  r.worker.poll();
  EXPECT_TRUE(r.relay_over && r.relay_end);
}

TEST(MemStreamPipe, ResetOrLossOfTheReader_EndsTheWriteWithBytesInThePipe) {
  for (const bool loss : {false, true}) {
    Relay r({.capacity = 10, .splices = true});
    r.begin(std::string(10, 'x'), 1000);
    r.worker.spawn(write_all(*r.source, "0123456789", 10, r.write_end, r.write_over));
    r.worker.poll();
    ASSERT_EQ(r.drain->stuck_in_pipe(), 10u);
    if (loss) r.drain.reset();
    else r.drain->reset();
    r.worker.poll();
    ASSERT_TRUE(r.relay_over && !r.relay_end);
    EXPECT_EQ(r.relay_end.error().code, base::Code::kReset);
  }
}

TEST(MemStreamPipe, Cancel_DropsWhatIsStuckAndThePeerSeesNoCleanEnd) {
  Relay r({.capacity = 10, .splices = true});
  r.begin(std::string(10, 'x'), 1000);
  r.worker.spawn(write_all(*r.source, "0123456789", 10, r.write_end, r.write_over));
  r.worker.poll();
  ASSERT_EQ(r.drain->stuck_in_pipe(), 10u);
  r.to->cancel({.code = base::Code::kTimeout});
  r.worker.poll();
  ASSERT_TRUE(r.relay_over && !r.relay_end);
  EXPECT_EQ(r.relay_end.error().code, base::Code::kTimeout);
  r.read();
  EXPECT_FALSE(r.read_over);
  r.to.reset();
  r.worker.poll();
  EXPECT_TRUE(r.read_over && !r.read_end);
  EXPECT_EQ(r.got, std::string(10, 'x'));
}

TEST(MemStreamPipe, UnreadBytesInFront_SayThatItDoesNotSplice) {
  Relay r({.splices = true});
  EXPECT_TRUE(r.from->splices());
  r.from->unread(bytes_of("x"));
  EXPECT_FALSE(r.from->splices());
  EXPECT_FALSE(Ends().a->splices());
}

TEST(MemStream, FailAt_TheNthAndAllAfter) {
  for (size_t n = 1; n <= 4; ++n) {
    Ends ends;
    ends.a->fail_at(n, {.code = base::Code::kReset, .sys = 42});
    ends.worker.spawn(write_all(*ends.a, "abcdef", 2, ends.write_end, ends.write_over));
    ends.worker.poll();
    EXPECT_EQ(ends.write_end.has_value(), n == 4) << n;
    EXPECT_EQ(ends.b->unread_bytes(), std::min<size_t>(2 * (n - 1), 6)) << n;
  }
}

TEST(CloseWatch, Fin_CancelsAfterItsTime_ResetAtOnce_BytesHideAFin) {
  const Error why{.code = base::Code::kEof};
  {
    Ends ends;
    Target target;
    CloseWatch watch = ends.b->closed(target, why, 500ms);
    ends.a->shutdown_write();
    ends.worker.advance(499ms);
    EXPECT_FALSE(target.cancelled());
    ends.worker.advance(1ms);
    EXPECT_TRUE(target.cancelled());
  }
  {
    Ends ends;
    Target target;
    CloseWatch watch = ends.b->closed(target, why, 500ms);
    ends.a->reset();
    EXPECT_TRUE(target.cancelled());
  }
  {
    Ends ends;
    Target target;
    ends.worker.spawn(write_all(*ends.a, "next", 4, ends.write_end, ends.write_over));
    ends.worker.poll();
    CloseWatch watch = ends.b->closed(target, why, 500ms);
    ends.a->shutdown_write();
    ends.worker.advance(1s);
    EXPECT_FALSE(target.cancelled());
    ends.a->reset();
    EXPECT_TRUE(target.cancelled());
  }
}

TEST(CloseWatch, TimeBehindAFin_BeginsAnewWithWhatThePeerTakes) {
  Ends ends;
  const Error why{.code = base::Code::kEof};
  Target target;
  CloseWatch watch = ends.b->closed(target, why, 500ms);
  watch.progress();
  ends.worker.advance(600ms);
  EXPECT_FALSE(target.cancelled()) << "there is no FIN yet";
  ends.a->shutdown_write();
  ends.worker.poll();
  for (int i = 0; i < 3; ++i) {
    ends.worker.advance(499ms);
    watch.progress();
  }
  ends.worker.advance(499ms);
  EXPECT_FALSE(target.cancelled());
  ends.worker.advance(1ms);
  EXPECT_TRUE(target.cancelled());
}

TEST(CloseWatch, FinDoesNotMatter_AResetDoes) {
  Ends ends;
  Target target;
  CloseWatch watch = ends.b->closed(target, {.code = base::Code::kEof}, CloseWatch::kNever);
  ends.a->shutdown_write();
  ends.worker.advance(24h * 365);
  EXPECT_FALSE(target.cancelled());
  ends.a->reset();
  ends.worker.poll();
  EXPECT_TRUE(target.cancelled());
}

TEST(CloseWatch, OrBytes_TakesThemForTheEnd) {
  Ends ends;
  Target target;
  CloseWatch watch(*ends.b, target, {.code = base::Code::kEof}, 0ms, true);
  EXPECT_FALSE(target.cancelled());
  ends.worker.spawn(write_all(*ends.a, "?", 1, ends.write_end, ends.write_over));
  ends.worker.poll();
  EXPECT_TRUE(target.cancelled());
}

TEST(CloseWatch, OutlivesItsStream) {
  Ends ends;
  Target target;
  CloseWatch watch = ends.b->closed(target, {.code = base::Code::kEof}, 500ms);
  ends.b.reset();
  ends.a.reset();
  ends.worker.advance(1s);
  EXPECT_FALSE(target.cancelled());
}

}  // namespace
}  // namespace net
