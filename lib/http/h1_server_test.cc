#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "http/testing.h"

namespace http::testing {
namespace {

using base::Detail;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::SizeIs;
using ::testing::StartsWith;

TEST(H1Server, PlainGet_IsAnsweredAndKept) {
  ServerPipe pipe;
  pipe.send("GET /a?b=c HTTP/1.1\r\nHost: a.test\r\nX-One: 1\r\n\r\n");
  ASSERT_THAT(pipe.echo.seen, SizeIs(1));
  EXPECT_EQ(pipe.echo.seen[0].method, "GET");
  EXPECT_EQ(pipe.echo.seen[0].authority, "a.test");
  EXPECT_EQ(pipe.echo.seen[0].path, "/a?b=c");
  EXPECT_EQ(pipe.echo.seen[0].fields, "x-one: 1\n");
  EXPECT_EQ(pipe.got(), "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
  EXPECT_FALSE(pipe.done);
  EXPECT_TRUE(pipe.server->idle());
  pipe.got().clear();
  pipe.send("POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 5\r\n\r\nhello");
  EXPECT_EQ(pipe.got(), "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello");
}

TEST(H1Server, Idle_HoldsNoBuffer) {
  ServerPipe pipe;
  EXPECT_EQ(pipe.worker.block_bytes(), 0u);
  pipe.send("POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 5\r\n\r\nhel");
  EXPECT_GT(pipe.worker.block_bytes(), 0u);
  pipe.send("lo");
  EXPECT_THAT(pipe.got(), HasSubstr("hello"));
  EXPECT_EQ(pipe.worker.block_bytes(), 0u);
}

TEST(H1Server, Pipelined_AreAnsweredInOrder) {
  ServerPipe pipe;
  pipe.echo.answer_length = "chunked";
  pipe.send(
      "POST /1 HTTP/1.1\r\nHost: a.test\r\nContent-Length: 3\r\n\r\none"
      "POST /2 HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n3\r\ntwo\r\n0\r\n\r\n"
      "GET /3 HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n");
  EXPECT_EQ(pipe.got(),
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\none\r\n0\r\n\r\n"
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\ntwo\r\n0\r\n\r\n"
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n0\r\n\r\n");
  ASSERT_THAT(pipe.echo.seen, SizeIs(3));
  EXPECT_EQ(pipe.echo.seen[2].path, "/3");
}

// Every message through the codec at every split point: the peer shows one byte at a time, or the sender cuts at n.
const std::string kConversation[] = {
    "GET /a HTTP/1.1\r\nHost: a.test\r\n\r\n",
    "\r\nPOST /b HTTP/1.1\r\nHost: a.test\r\nContent-Length: 5\r\nX: y\r\n\r\nhelloGET /c HTTP/1.1\r\nHost: a.test\r\n\r\n",
    "POST /d HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n10;x=y\r\n0123456789abcdef\r\n0\r\nGrpc-Status: "
    "7\r\n\r\nGET /e HTTP/1.1\r\nHost: a.test\r\n\r\n",
    "GET /f HTTP/1.1\r\nHost: a.test\r\nX: a\r\n\r\n b\r\n\r\n",
    "POST /g HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nZ\r\n",
    "GET /h HTTP/1.1\r\nHost: a.test\r\nX:\nY: b\r\n\r\n",
};

TEST(H1Server, EverySplitPoint_SameConversation) {
  for (const auto& text : kConversation) {
    std::vector<Seen> whole;
    std::string answers;
    {
      ServerPipe pipe;
      pipe.send(text);
      whole = pipe.echo.seen;
      answers = pipe.got();
      EXPECT_FALSE(whole.empty());
    }
    {
      ServerPipe pipe({.max_read = 1});
      pipe.send(text);
      EXPECT_EQ(pipe.echo.seen, whole) << text;
      EXPECT_EQ(pipe.got(), answers) << text;
    }
    for (size_t cut = 1; cut < text.size(); ++cut) {
      ServerPipe pipe;
      pipe.send(text.substr(0, cut));
      pipe.send(text.substr(cut));
      EXPECT_EQ(pipe.echo.seen, whole) << text << " cut at " << cut;
      EXPECT_EQ(pipe.got(), answers) << text << " cut at " << cut;
    }
  }
}

TEST(H1Server, BigBodyThroughSmallPipe_IsExact) {
  std::string body;
  for (int i = 0; i < 40'000; ++i) body += static_cast<char>('a' + i % 26);
  for (const char* kind : {"auto", "chunked"}) {
    ServerPipe pipe({.capacity = 777, .max_read = 333});
    pipe.echo.answer_length = kind;
    pipe.send("POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body);
    ASSERT_THAT(pipe.echo.seen, SizeIs(1));
    EXPECT_EQ(pipe.echo.seen[0].body, body);
    EXPECT_THAT(pipe.got(), HasSubstr(body));
    EXPECT_EQ(pipe.worker.block_bytes(), 0u);
  }
}

TEST(H1Server, RefusedHead_OneAnswerThenLinger) {  // H19
  ServerPipe pipe;
  pipe.send("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a.test\r\n\r\n");
  ASSERT_THAT(pipe.echo.seen, SizeIs(1));
  EXPECT_EQ(pipe.echo.seen[0].refused, Detail::kHttp1Host);
  EXPECT_EQ(pipe.echo.seen[0].method, "GET");
  EXPECT_EQ(pipe.got(), "HTTP/1.1 400 Bad Request\r\ncontent-length: 11\r\nconnection: close\r\n\r\nBad Request");
  EXPECT_TRUE(pipe.collector->ended);  // FIN at once …
  EXPECT_FALSE(pipe.done);             // … but the socket stays for what is still on its way
  pipe.send("GET /more HTTP/1.1\r\nHost: a.test\r\n\r\n");
  EXPECT_THAT(pipe.echo.seen, SizeIs(1));
  pipe.worker.advance(std::chrono::seconds(5));
  EXPECT_TRUE(pipe.done);
}

TEST(H1Server, Statuses_OfRefusedHeads) {
  const auto status = [](std::string text) {
    ServerPipe pipe;
    pipe.send(std::move(text));
    return pipe.got().substr(0, 12);
  };
  EXPECT_EQ(status("GET / HTTP/1.0\r\nHost: a.test\r\n\r\n"), "HTTP/1.1 426");
  EXPECT_EQ(status("CONNECT a.test:443 HTTP/1.1\r\nHost: a.test:443\r\n\r\n"), "HTTP/1.1 405");
  EXPECT_EQ(status("GET /" + std::string(61'500, 'a') + " HTTP/1.1\r\n"), "HTTP/1.1 414");
  EXPECT_EQ(status("GET / HTTP/1.1\r\nX: " + std::string(61'500, 'a')), "HTTP/1.1 431");
  EXPECT_EQ(status("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n"), "HTTP/1.1 501");
}

TEST(H1Server, HeadTooSlow_408AfterFifteenSecondsFromItsFirstByte) {
  ServerPipe pipe;
  pipe.worker.advance(std::chrono::seconds(20));  // idle does not count
  pipe.send("GET /slow HTTP/1.1\r\nHo");
  for (int i = 0; i < 14; ++i) {
    pipe.worker.advance(std::chrono::seconds(1));
    pipe.send("x");  // progress does not prolong it
  }
  EXPECT_EQ(pipe.got(), "");
  pipe.worker.advance(std::chrono::milliseconds(1001));
  EXPECT_THAT(pipe.got(), StartsWith("HTTP/1.1 408 Request Timeout\r\n"));
  ASSERT_THAT(pipe.echo.seen, SizeIs(1));
  EXPECT_EQ(pipe.echo.seen[0].path, "/slow");
  EXPECT_TRUE(pipe.collector->ended);
}

TEST(H1Server, Idle_ClosesInSilence) {
  ServerPipe pipe;
  pipe.send("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n");
  pipe.got().clear();
  pipe.worker.advance(std::chrono::minutes(59));
  EXPECT_FALSE(pipe.done);
  pipe.send("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n");
  pipe.worker.advance(std::chrono::minutes(59));
  EXPECT_FALSE(pipe.done);
  pipe.got().clear();
  pipe.worker.advance(std::chrono::minutes(2));
  EXPECT_TRUE(pipe.done);
  EXPECT_EQ(pipe.got(), "");
}

TEST(H1Server, StrayLineEnds_KeepTheConnectionIdle) {
  ServerPipe pipe;
  pipe.send("\r\n\r\n");
  EXPECT_TRUE(pipe.server->idle());
  pipe.worker.advance(std::chrono::seconds(16));
  EXPECT_FALSE(pipe.done);
  pipe.send("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n");
  EXPECT_THAT(pipe.got(), StartsWith("HTTP/1.1 200"));
}

TEST(H1Server, Drain_IdleEndsAtOnceBusyAfterItsAnswer) {
  {
    ServerPipe pipe;
    pipe.server->drain();
    EXPECT_FALSE(pipe.done);  // never inside the caller's stack
    pipe.worker.poll();
    EXPECT_TRUE(pipe.done);
  }
  ServerPipe pipe;
  pipe.send("POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 2\r\n\r\na");
  pipe.server->drain();
  pipe.worker.poll();
  EXPECT_FALSE(pipe.done);
  pipe.send("bGET /next HTTP/1.1\r\nHost: a.test\r\n\r\n");
  EXPECT_EQ(pipe.got(), "HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nab");
  EXPECT_THAT(pipe.echo.seen, SizeIs(1));
}

TEST(H1Server, BodyFaults_ReachTheReader) {
  const auto fault = [](std::string text, bool end) {
    ServerPipe pipe;
    pipe.send(std::move(text));
    if (end) {
      pipe.far->shutdown_write();
      pipe.worker.poll();
    }
    return pipe.echo.seen.at(0).body_fault;
  };
  const std::string chunked = "POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n";
  EXPECT_EQ(fault(chunked + "5\r\nhel", true), Detail::kHttp1BodyUnfinished);
  EXPECT_EQ(fault(chunked + "5\nhello", false), Detail::kHttp1Chunk);
  EXPECT_EQ(fault(chunked + "0\r\n A: b\r\n\r\n", false), Detail::kHttp1Trailer);
  EXPECT_EQ(fault("POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 5\r\n\r\nhel", true), Detail::kHttp1BodyUnfinished);
}

TEST(H1Server, Http10_WhenSwitchedOn) {
  {
    ServerPipe pipe({}, {.limits = {}, .http10 = true});
    pipe.echo.answer_length = "chunked";
    pipe.send("POST / HTTP/1.0\r\nHost: a.test\r\nContent-Length: 2\r\n\r\nab");
    EXPECT_EQ(pipe.got(), "HTTP/1.1 200 OK\r\nconnection: close\r\n\r\nab");
    EXPECT_TRUE(pipe.collector->ended);
  }
  ServerPipe pipe({}, {.limits = {}, .http10 = true});
  pipe.send("POST / HTTP/1.0\r\nHost: a.test\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nab");
  EXPECT_EQ(pipe.got(), "HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: keep-alive\r\n\r\nab");
  EXPECT_TRUE(pipe.server->idle());
}

// Handlers that do one particular thing.
struct Answer {
  uint16_t status = 200;
  std::vector<std::pair<std::string_view, std::string_view>> fields{};
  std::string_view body{};
  bool end = true;
  std::vector<uint16_t> interims{};
  Result<> sent{}, then{};
  std::string_view piece{};  // sent after the head, with end
  bool abort = false;
  static net::Task<> handle(DownstreamExchange& exchange, void* context) { return static_cast<Answer*>(context)->serve(exchange); }
  net::Task<> serve(DownstreamExchange& exchange) {
    for (const uint16_t interim : interims) {
      ResponseHead head(exchange.arena());
      head.status = interim;
      (void)co_await exchange.response().head(head, {}, false);
    }
    ResponseHead head(exchange.arena());
    head.status = status;
    for (const auto& [name, value] : fields) head.fields.add(name, value);
    sent = co_await exchange.response().head(head, net::Borrowed::of_static(body), end);
    if (sent && !end) then = co_await exchange.response().body(net::Borrowed::of_static(piece), true);
    if (abort || !sent || !then) exchange.abort();
  }
};

std::string answered(Answer& answer, std::string request) {
  ServerPipe pipe({}, {}, &Answer::handle, &answer);
  pipe.send(std::move(request));
  return pipe.got();
}

constexpr const char* kGet = "GET / HTTP/1.1\r\nHost: a.test\r\n\r\n";

TEST(H1Server, Framing_FollowsFromTheHead) {
  Answer counted{.fields = {{"content-length", "5"}}, .end = false, .piece = "hello"};
  EXPECT_EQ(answered(counted, kGet), "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello");
  Answer unknown{.body = "ab", .end = false, .piece = "c"};
  EXPECT_EQ(answered(unknown, kGet), "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\n\r\n");
  Answer none{.status = 204, .fields = {{"content-length", "0"}}};
  EXPECT_EQ(answered(none, kGet), "HTTP/1.1 204 No Content\r\n\r\n");
  Answer same{.status = 304, .fields = {{"content-length", "5"}}};
  EXPECT_EQ(answered(same, kGet), "HTTP/1.1 304 Not Modified\r\ncontent-length: 5\r\n\r\n");
  Answer head{.fields = {{"content-length", "5"}}, .body = "hello"};
  EXPECT_EQ(answered(head, "HEAD / HTTP/1.1\r\nHost: a.test\r\n\r\n"), "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n");
  Answer interim{.body = "x", .interims = {100, 103}};
  EXPECT_EQ(answered(interim, kGet),
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\nx");
  Answer rules{.fields = {{"connection", "x"}, {"transfer-encoding", "chunked"}, {"a", "b"}}, .body = "x"};
  EXPECT_EQ(answered(rules, kGet), "HTTP/1.1 200 OK\r\na: b\r\ncontent-length: 1\r\n\r\nx");
}

TEST(H1Server, BrokenPromises_AbortVisibly) {
  Answer few{.fields = {{"content-length", "6"}}, .end = false, .piece = "hello"};
  EXPECT_THAT(answered(few, kGet), Not(HasSubstr("hello")));
  EXPECT_FALSE(few.then);
  Answer many{.fields = {{"content-length", "4"}}, .end = false, .piece = "hello"};
  EXPECT_THAT(answered(many, kGet), Not(HasSubstr("hell")));
  EXPECT_FALSE(many.then);
  Answer injected{.fields = {{"x", "a\r\nset-cookie: b"}}};
  EXPECT_EQ(answered(injected, kGet), "");  // H16
  EXPECT_FALSE(injected.sent);
  Answer wrong{.fields = {{"content-length", "five"}}};
  EXPECT_EQ(answered(wrong, kGet), "");
  Answer tunnel{.status = 101};
  EXPECT_EQ(answered(tunnel, kGet), "");  // nobody asked to switch
}

TEST(H1Server, Abort_ResetsOrBreaksTheBody) {
  Answer chunked{.body = "ab", .end = false, .piece = "c", .abort = true};
  {
    struct Half {
      static net::Task<> handle(DownstreamExchange& exchange, void*) {
        ResponseHead head(exchange.arena());
        head.status = 200;
        (void)co_await exchange.response().head(head, net::Borrowed::of_static("ab"), false);
        exchange.abort();
      }
    };
    ServerPipe pipe({}, {}, &Half::handle);
    pipe.send(kGet);
    EXPECT_EQ(pipe.got(), "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nab\r\n");
    EXPECT_TRUE(pipe.collector->ended);
    EXPECT_TRUE(pipe.done);
  }
  struct Nothing {
    static net::Task<> handle(DownstreamExchange& exchange, void*) {
      exchange.abort();
      co_return;
    }
  };
  ServerPipe pipe({}, {}, &Nothing::handle);
  pipe.send(kGet);
  EXPECT_TRUE(pipe.far->got_reset());
  EXPECT_TRUE(pipe.done);
}

TEST(H1Server, UnreadBody_DrainedWhenItIsThere) {
  Answer early{};
  ServerPipe pipe({}, {}, &Answer::handle, &early);
  pipe.send("POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 5\r\n\r\nhello" + std::string(kGet));
  EXPECT_EQ(pipe.got(), "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
  pipe.got().clear();
  pipe.send("POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 5\r\n\r\nhel");
  EXPECT_EQ(pipe.got(), "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
  EXPECT_TRUE(pipe.collector->ended);  // the rest may come or not: nobody may take it for a request
  pipe.send("lo" + std::string(kGet));
  EXPECT_EQ(pipe.got(), "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
}

TEST(H1Server, Expect_FinalAnswerWithoutContinueCloses) {
  Answer refused{.status = 417};
  EXPECT_EQ(answered(refused, "POST / HTTP/1.1\r\nHost: a.test\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n"),
            "HTTP/1.1 417 Expectation Failed\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
}

// Answers early, then cancels the exchange while the other direction still waits for the request's body.
struct EarlyAnswer {
  Error seen{};
  bool joined = false;
  static net::Task<> handle(DownstreamExchange& exchange, void* context) { return static_cast<EarlyAnswer*>(context)->serve(exchange); }
  net::Task<> read(DownstreamExchange& exchange) {
    for (;;) {
      auto piece = co_await exchange.request_body().next();
      if (!piece) {
        seen = piece.error();
        co_return;
      }
      if (piece->empty()) co_return;
    }
  }
  net::Task<> answer(DownstreamExchange& exchange) {
    ResponseHead head(exchange.arena());
    head.status = 413;
    exchange.close_after();
    (void)co_await exchange.response().head(head, net::Borrowed::of_static("no"), true);
    exchange.cancel({.code = base::Code::kCancelled});
  }
  net::Task<> serve(DownstreamExchange& exchange) {
    co_await net::both(read(exchange), answer(exchange));
    joined = true;
  }
};

TEST(H1Server, EarlyAnswer_StopsTheUploadAndArrivesWhole) {
  EarlyAnswer early;
  ServerPipe pipe({}, {}, &EarlyAnswer::handle, &early);
  pipe.send("POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 100\r\n\r\nhel");
  EXPECT_TRUE(early.joined);
  EXPECT_EQ(early.seen.code, base::Code::kCancelled);
  EXPECT_EQ(pipe.got(), "HTTP/1.1 413 Payload Too Large\r\ncontent-length: 2\r\nconnection: close\r\n\r\nno");
  EXPECT_FALSE(pipe.far->got_reset());
  pipe.send(std::string(50, 'x'));
  EXPECT_FALSE(pipe.far->got_reset());
}

// Accepts a WebSocket and echoes raw bytes until the client ends.
struct TunnelEcho {
  std::string heard;
  static net::Task<> handle(DownstreamExchange& exchange, void* context) { return static_cast<TunnelEcho*>(context)->serve(exchange); }
  net::Task<> serve(DownstreamExchange& exchange) {
    ResponseHead head(exchange.arena());
    head.status = 101;
    head.upgrade = exchange.request().upgrade;
    (void)co_await exchange.response().head(head, {}, false);
    for (;;) {
      auto piece = co_await exchange.request_body().next();
      if (!piece) co_return exchange.abort();
      if (piece->empty()) break;
      heard += net::text_of(piece->bytes());
      (void)co_await exchange.response().body(std::move(*piece), false);
    }
    (void)co_await exchange.response().finish(nullptr);
  }
};

TEST(H1Server, Upgrade_BecomesATunnelUntilBothEnd) {
  for (const size_t max_read : {size_t{1}, size_t{1000}}) {
    TunnelEcho echo;
    ServerPipe pipe({.max_read = max_read}, {}, &TunnelEcho::handle, &echo);
    pipe.send("GET /ws HTTP/1.1\r\nHost: a.test\r\nUpgrade: WebSocket\r\nConnection: Upgrade\r\n\r\nearly");
    EXPECT_EQ(pipe.got(), "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\nearly");
    pipe.send("GET / HTTP/1.1\r\n\r\n");  // in a tunnel these are bytes like any
    EXPECT_THAT(pipe.got(), ::testing::EndsWith("earlyGET / HTTP/1.1\r\n\r\n"));
    pipe.far->shutdown_write();
    pipe.worker.poll();
    EXPECT_TRUE(pipe.collector->ended);
    EXPECT_TRUE(pipe.done);
  }
}

TEST(H1Server, PreservedCase_GoesOutAsItCame) {
  struct Case {
    static net::Task<> handle(DownstreamExchange& exchange, void*) {
      ResponseHead head(exchange.arena());
      head.status = 200;
      for (const auto& field : exchange.request().fields.all()) head.fields.add(field);
      (void)co_await exchange.response().head(head, {}, true);
    }
  };
  ServerPipe pipe({}, {.limits = {}, .preserve_case = true}, &Case::handle);
  pipe.send("GET / HTTP/1.1\r\nHost: a.test\r\nX-SoMe: 1\r\n\r\n");
  EXPECT_EQ(pipe.got(), "HTTP/1.1 200 OK\r\nX-SoMe: 1\r\ncontent-length: 0\r\n\r\n");
}

TEST(H1Server, HalfClose_StillGetsItsAnswer) {
  ServerPipe pipe;
  pipe.send("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n");
  pipe.got().clear();
  pipe.worker.spawn(write_text(*pipe.far, kGet));
  pipe.worker.poll();
  pipe.far->shutdown_write();
  pipe.worker.poll();
  EXPECT_THAT(pipe.got(), StartsWith("HTTP/1.1 200"));
  EXPECT_TRUE(pipe.done);
}

// Each operation of the connection fails in turn: nothing may leak, hang or be answered wrongly (ASan watches).
TEST(H1Server, FailAtEveryOperation_EndsCleanly) {
  const std::string text =
      "POST /1 HTTP/1.1\r\nHost: a.test\r\nContent-Length: 3\r\n\r\none"
      "POST /2 HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n3\r\ntwo\r\n0\r\n\r\n"
      "GET / HTTP/1.1\nbad";
  for (const base::Code code : {base::Code::kReset, base::Code::kEof}) {
    for (size_t n = 1; n < 400; ++n) {
      ServerPipe pipe({.max_read = 7});
      pipe.echo.answer_length = n % 2 ? "chunked" : "auto";
      pipe.near->fail_at(n, {.code = code});
      pipe.send(text);
      pipe.far->shutdown_write();
      pipe.worker.advance(std::chrono::seconds(20));
      EXPECT_TRUE(pipe.done) << n;
      for (const Seen& seen : pipe.echo.seen)
        if (seen.body_fault == Detail::kNone && seen.path == "/1") EXPECT_EQ(seen.body, "one");
      pipe.drop_client();
      EXPECT_EQ(pipe.worker.block_bytes(), 0u) << n;
    }
  }
}

// The connection is cancelled from outside after n turns' worth of bytes.
TEST(H1Server, CancelledAnywhere_EndsCleanly) {
  for (const auto& text : kConversation) {
    for (size_t cut = 0; cut <= text.size(); ++cut) {
      ServerPipe pipe;
      pipe.send(text.substr(0, cut));
      if (!pipe.done) pipe.near->cancel({.code = base::Code::kCancelled});
      pipe.worker.advance(std::chrono::seconds(20));
      EXPECT_TRUE(pipe.done);
    }
  }
}

}  // namespace
}  // namespace http::testing
