#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "http/testing.h"

namespace http::testing {
namespace {

using namespace std::chrono_literals;
using base::Detail;
using ::testing::EndsWith;
using ::testing::IsEmpty;
using ::testing::SizeIs;
using ::testing::StartsWith;

H1Options hurried() {
  H1Options options;
  options.limits.body_idle_time = 60s;
  options.limits.body_bytes_per_second = 64;
  return options;
}
const std::string kUpload = "POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 100000\r\n\r\n";

TEST(BodyPace, Silence_408AfterAMinute) {
  ServerPipe pipe({}, hurried());
  pipe.send(kUpload);
  pipe.worker.advance(59s);
  EXPECT_THAT(pipe.got(), IsEmpty());
  pipe.worker.advance(1s);
  EXPECT_THAT(pipe.got(), StartsWith("HTTP/1.1 408 "));
  ASSERT_THAT(pipe.echo.seen, SizeIs(1));
  EXPECT_EQ(pipe.echo.seen[0].body_fault, Detail::kRequestBodyTimeout);
}

TEST(BodyPace, ByteNowAndThen_408AfterOneWindow) {
  ServerPipe pipe({}, hurried());
  pipe.send(kUpload);
  pipe.send("x");
  for (int i = 0; i < 29; ++i) {
    pipe.worker.advance(1s);
    pipe.send("x");
    ASSERT_THAT(pipe.got(), IsEmpty()) << i;
  }
  pipe.worker.advance(1s);
  EXPECT_THAT(pipe.got(), StartsWith("HTTP/1.1 408 "));
}

TEST(BodyPace, ByteBeforeEachSilenceEnds_408) {
  ServerPipe pipe({}, hurried());
  pipe.send(kUpload);
  pipe.worker.advance(59s);
  pipe.send("x");
  pipe.worker.advance(29s);
  EXPECT_THAT(pipe.got(), IsEmpty());
  pipe.worker.advance(1s);
  EXPECT_THAT(pipe.got(), StartsWith("HTTP/1.1 408 "));
}

TEST(BodyPace, SlowButSteady_IsServed) {
  ServerPipe pipe({}, hurried());
  pipe.send("POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 19200\r\n\r\n");
  for (int i = 0; i < 300; ++i) {
    pipe.send(std::string(64, 'x'));
    pipe.worker.advance(1s);
  }
  EXPECT_THAT(pipe.got(), StartsWith("HTTP/1.1 200 "));
}

TEST(BodyPace, Bursts_AreServed) {
  ServerPipe pipe({}, hurried());
  pipe.send("POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 10000\r\n\r\n");
  for (int i = 0; i < 5; ++i) {
    pipe.send(std::string(2000, 'x'));
    pipe.worker.advance(45s);
  }
  EXPECT_THAT(pipe.got(), StartsWith("HTTP/1.1 200 "));
}

TEST(BodyPace, Off_WaitsForHours) {
  ServerPipe pipe;
  pipe.send(kUpload);
  pipe.send("x");
  pipe.worker.advance(3h);
  EXPECT_THAT(pipe.got(), IsEmpty());
}

// Begins to answer at once and reads the upload for as long as it takes.
net::Task<> answer_first(DownstreamExchange& exchange, void*) {
  ResponseHead head(exchange.arena());
  head.status = 200;
  (void)co_await exchange.response().head(head, {}, false);
  for (;;) {
    auto piece = co_await exchange.request_body().next();
    if (!piece || piece->empty()) break;
    (void)co_await exchange.response().body(std::move(*piece), false);
  }
  (void)co_await exchange.response().finish(nullptr);
}

TEST(BodyPace, AnswerHasBegun_NoHurryAnyMore) {
  ServerPipe pipe({}, hurried(), &answer_first);
  pipe.send("POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n");
  EXPECT_THAT(pipe.got(), StartsWith("HTTP/1.1 200 "));
  pipe.worker.advance(30min);
  pipe.send("1\r\nb\r\n0\r\n\r\n");
  EXPECT_THAT(pipe.got(), EndsWith("1\r\nb\r\n0\r\n\r\n"));
}

// Takes a piece and is then busy for an hour: a client that may not send is not slow.
net::Task<> busy(DownstreamExchange& exchange, void*) {
  for (;;) {
    auto piece = co_await exchange.request_body().next();
    if (!piece || piece->empty()) break;
    co_await net::sleep(exchange.connection().worker(), 1h);
  }
  ResponseHead head(exchange.arena());
  head.status = 200;
  (void)co_await exchange.response().head(head, {}, true);
}

TEST(BodyPace, TimeThatWeAreBusy_DoesNotCount) {
  ServerPipe pipe({}, hurried(), &busy);
  pipe.send("POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 3\r\n\r\na");
  pipe.send("b");
  pipe.worker.advance(119min);   // an hour for each piece
  EXPECT_THAT(pipe.got(), IsEmpty());
  pipe.send("c");
  pipe.worker.advance(2h);
  EXPECT_THAT(pipe.got(), StartsWith("HTTP/1.1 200 "));
}

}  // namespace
}  // namespace http::testing
