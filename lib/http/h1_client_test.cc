#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "http/testing.h"

namespace http::testing {
namespace {

using base::Detail;
using base::Retry;
using ::testing::HasSubstr;
using ::testing::SizeIs;

TEST(H1Client, PlainGet_ConnectionServesAgain) {
  ClientPipe pipe;
  auto& one = pipe.ask({.fields = {{"x-one", "1"}}});
  EXPECT_EQ(pipe.got(), "GET / HTTP/1.1\r\nhost: a.test\r\nx-one: 1\r\n\r\n");
  pipe.answer("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-Two: 2\r\n\r\nhello");
  EXPECT_TRUE(one.done && one.again);
  EXPECT_EQ(one.status, 200);
  EXPECT_EQ(one.fields, "content-length: 5\nx-two: 2\n");
  EXPECT_EQ(one.body, "hello");
  auto& two = pipe.ask({.method = "POST", .body = "body"});
  EXPECT_THAT(pipe.got(), HasSubstr("POST / HTTP/1.1\r\nhost: a.test\r\ncontent-length: 4\r\n\r\nbody"));
  pipe.answer("HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n");
  EXPECT_TRUE(two.done && two.again);
  EXPECT_EQ(two.body, "abcde");
}

TEST(H1Client, Requests_AreFramedByWhatIsKnown) {
  const auto sent = [](Ask ask) {
    ClientPipe pipe;
    pipe.ask(std::move(ask));
    return pipe.got();
  };
  EXPECT_EQ(sent({.method = "POST"}), "POST / HTTP/1.1\r\nhost: a.test\r\ncontent-length: 0\r\n\r\n");
  EXPECT_EQ(sent({.method = "DELETE"}), "DELETE / HTTP/1.1\r\nhost: a.test\r\n\r\n");
  EXPECT_EQ(sent({.method = "PUT", .body = "ab", .whole = false}),
            "PUT / HTTP/1.1\r\nhost: a.test\r\ntransfer-encoding: chunked\r\n\r\n2\r\nab\r\n");
  EXPECT_EQ(sent({.method = "PUT", .body = "ab", .fields = {{"content-length", "2"}}}),
            "PUT / HTTP/1.1\r\nhost: a.test\r\ncontent-length: 2\r\n\r\nab");
  EXPECT_EQ(sent({.upgrade = "websocket", .whole = false}),
            "GET / HTTP/1.1\r\nhost: a.test\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n");
  EXPECT_EQ(sent({.fields = {{"connection", "x"}, {"host", "b"}, {"transfer-encoding", "chunked"}}}),
            "GET / HTTP/1.1\r\nhost: a.test\r\n\r\n");
  EXPECT_EQ(sent({.path = "/a b"}), "");  // H16
  EXPECT_EQ(sent({.fields = {{"x", "a\r\nb: c"}}}), "");
}

// What a bad answer comes to: refused as the protocol's fault, the connection not used again.
TEST(H1Client, BadHeads_AreProtocolErrors) {
  const std::string ok = "HTTP/1.1 200 OK\r\n";
  const std::string bad[] = {ok + "Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello!",
                             ok + "Transfer-Encoding: gzip\r\n\r\nhello",
                             "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
                             "HTTP/1.1 20 OK\r\n\r\n",
                             "ICY 200 OK\r\n\r\n",
                             "hello world\r\n",
                             ok + "X: a\rSet-Cookie: s=1\r\n\r\n",
                             ok + ": x\r\n\r\n",
                             ok + "X: a\r\n b\r\n\r\n",
                             "\r\n" + ok + "\r\n",
                             "HTTP/1.1 102 P\r\nContent-Length: 5\r\n\r\n" + ok + "\r\n",
                             "HTTP/1.1 101 S\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\nBYTES",
                             ok + "X: " + std::string(204'800, 'a') + "\r\n\r\n"};
  for (const auto& text : bad) {
    for (const size_t max_read : {size_t{1 << 20}, size_t{1}}) {
      ClientPipe pipe({.capacity = 1 << 20, .max_read = max_read});
      auto& one = pipe.ask({});
      pipe.answer(text);
      ASSERT_TRUE(one.done) << text.substr(0, 80);
      EXPECT_EQ(one.error.detail, Detail::kUpstreamProtocolError) << text.substr(0, 80);
      EXPECT_EQ(one.error.origin, base::Origin::kUpstream);
      EXPECT_EQ(one.error.retry, Retry::kNever);
      EXPECT_FALSE(one.again);
      EXPECT_TRUE(pipe.far->got_reset());
    }
  }
}

TEST(H1Client, EndOfConnection_SaysWhetherToTryAgain) {
  const auto error = [](std::string text) {
    ClientPipe pipe;
    auto& one = pipe.ask({});
    pipe.answer(std::move(text));
    pipe.end();
    EXPECT_TRUE(one.done);
    return one.error;
  };
  EXPECT_EQ(error("").retry, Retry::kIfReused);
  EXPECT_EQ(error("").detail, Detail::kUpstreamTermination);
  EXPECT_EQ(error("HTTP/1.1 200 OK\r\nContent-Le").retry, Retry::kNever);
  EXPECT_EQ(error("HTTP/1.1 200 OK\r\nContent-Le").detail, Detail::kUpstreamTermination);
  EXPECT_EQ(error("HTTP/1.1 103 E\r\n\r\n").retry, Retry::kNever);
  ClientPipe pipe;
  auto& one = pipe.ask({});
  pipe.far->reset();
  pipe.worker.poll();
  EXPECT_EQ(one.error.retry, Retry::kIfReused);
  EXPECT_EQ(one.error.code, base::Code::kReset);
}

TEST(H1Client, BrokenBodies_AreNeverComplete) {
  const auto fault = [](std::string text, bool end) {
    ClientPipe pipe;
    auto& one = pipe.ask({});
    pipe.answer(std::move(text));
    if (end) pipe.end();
    EXPECT_TRUE(one.done);
    EXPECT_EQ(one.status, 200);
    EXPECT_FALSE(one.again);
    return one.body_error.detail;
  };
  EXPECT_EQ(fault("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhel", true), Detail::kUpstreamBroken);
  EXPECT_EQ(fault("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", true), Detail::kUpstreamBroken);
  EXPECT_EQ(fault("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\nhello\r\n0\r\n\r\n", false), Detail::kUpstreamBrokenProtocol);
  EXPECT_EQ(fault("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\n", false), Detail::kUpstreamBrokenProtocol);
}

TEST(H1Client, Reuse_OnlyWhenNothingIsLeftOver) {
  const auto again = [](Ask ask, std::string text) {
    ClientPipe pipe;
    auto& one = pipe.ask(std::move(ask));
    pipe.answer(std::move(text));
    EXPECT_TRUE(one.done);
    EXPECT_EQ(one.error, Error{});
    return one.again;
  };
  const std::string ok = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n";
  EXPECT_TRUE(again({}, ok + "\r\n"));
  EXPECT_FALSE(again({}, ok + "Connection: close\r\n\r\n"));
  EXPECT_FALSE(again({}, ok + "\r\nHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"));  // H18
  EXPECT_FALSE(again({}, "HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\nhello"));  // H17
  EXPECT_FALSE(again({}, "HTTP/1.1 304 Not Modified\r\n\r\nhello"));
  EXPECT_TRUE(again({.method = "HEAD"}, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"));
  EXPECT_FALSE(again({.method = "HEAD"}, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"));
  EXPECT_FALSE(again({.method = "POST", .body = "a", .whole = false}, ok + "\r\n"));  // an early answer
  EXPECT_FALSE(again({.upgrade = "websocket", .whole = false}, ok + "Connection: close\r\n\r\n"));
  EXPECT_TRUE(again({.upgrade = "websocket", .whole = false}, ok + "\r\n"));
}

TEST(H1Client, UntilClose_EndsWithTheConnection) {
  ClientPipe pipe;
  auto& one = pipe.ask({});
  pipe.answer("HTTP/1.1 200 OK\r\n\r\nall of ");
  pipe.answer("it");
  EXPECT_FALSE(one.done);
  pipe.end();
  EXPECT_TRUE(one.done);
  EXPECT_EQ(one.body, "all of it");
  EXPECT_EQ(one.body_error, Error{});
  EXPECT_FALSE(one.again);
}

TEST(H1Client, InterimAnswers_AreCountedAndUnasked100IsDropped) {
  ClientPipe pipe;
  auto& one = pipe.ask({});
  pipe.answer("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 E\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
  EXPECT_THAT(one.interims, ::testing::ElementsAre(103));
  EXPECT_EQ(one.status, 200);
  auto& two = pipe.ask({.method = "POST", .body = "a", .fields = {{"expect", "100-continue"}}});
  pipe.answer("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
  EXPECT_THAT(two.interims, ::testing::ElementsAre(100));
  std::string flood;
  for (int i = 0; i < 17; ++i) flood += "HTTP/1.1 100 Continue\r\n\r\n";
  auto& three = pipe.ask({});
  pipe.answer(flood + "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
  EXPECT_EQ(three.error.detail, Detail::kUpstreamProtocolError);
}

TEST(H1Client, Trailers_OfTheAllowListArrive) {
  ClientPipe pipe;
  auto& one = pipe.ask({});
  pipe.answer("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nGrpc-Status: 3\r\nContent-Length: 9\r\nSet-Cookie: a=b\r\n\r\n");
  EXPECT_EQ(one.trailers, "grpc-status: 3\n");
  EXPECT_TRUE(one.again);
}

TEST(H1Client, Answers_EverySplitPoint) {
  const std::string answers[] = {
      "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX: y\r\n\r\nhello",
      "HTTP/1.1 100 C\r\n\r\nHTTP/1.1 103 E\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: "
      "chunked\r\n\r\n2\r\nhe\r\n3;a=b\r\nllo\r\n0\r\nGrpc-Status: 1\r\n\r\n",
      "HTTP/1.1 204 No Content\r\nX: y\r\n\r\n",
  };
  for (const auto& text : answers) {
    const auto outcome = [&](size_t max_read, size_t cut) {
      ClientPipe pipe({.max_read = max_read});
      auto& one = pipe.ask({});
      pipe.answer(text.substr(0, cut));
      if (cut < text.size()) pipe.answer(text.substr(cut));
      EXPECT_TRUE(one.done && one.again) << text << " cut at " << cut;
      return std::to_string(one.status) + one.fields + one.body + one.trailers + std::to_string(one.interims.size());
    };
    const std::string whole = outcome(1 << 20, text.size());
    EXPECT_EQ(outcome(1, text.size()), whole);
    for (size_t cut = 1; cut < text.size(); ++cut) EXPECT_EQ(outcome(1 << 20, cut), whole);
  }
}

// A tunnel: raw both ways, half-close kept.
struct Tunnel {
  std::string heard;
  uint16_t status = 0;
  bool again = true, done = false;
  Result<> early{};
  net::Task<> run(ClientPipe& pipe) {
    RequestHead head(&pipe.memory);
    head.method = "GET";
    head.path = "/ws";
    head.authority = "a.test";
    head.upgrade = "websocket";
    UpstreamExchange& one = pipe.client->begin(&pipe.memory);
    (void)co_await one.request().head(head, {}, false);
    auto answer = co_await one.read_head();
    if (answer) status = (*answer)->status;
    if (status == 101) {
      (void)co_await one.request().body(net::Borrowed::of_static("ping"), false);
      for (;;) {
        auto piece = co_await one.response_body().next();
        if (!piece || piece->empty()) break;
        heard += net::text_of(piece->bytes());
      }
      (void)co_await one.request().finish(nullptr);
    }
    again = pipe.client->finish();
    pipe.client.reset();
    done = true;
  }
};

TEST(H1Client, SwitchedProtocols_IsATunnel) {
  for (const size_t max_read : {size_t{1000}, size_t{1}}) {
    ClientPipe pipe({.max_read = max_read});
    Tunnel tunnel;
    pipe.worker.spawn(tunnel.run(pipe));
    pipe.worker.poll();
    pipe.answer("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: upgrade\r\nContent-Length: 5\r\n\r\nDATA");
    EXPECT_EQ(tunnel.heard, "DATA");
    pipe.answer("HTTP/1.1 200 OK\r\n\r\n");
    EXPECT_EQ(tunnel.heard, "DATAHTTP/1.1 200 OK\r\n\r\n");
    EXPECT_THAT(pipe.got(), HasSubstr("upgrade: websocket\r\n\r\nping"));
    EXPECT_FALSE(pipe.collector->ended);
    pipe.end();
    EXPECT_TRUE(tunnel.done);
    EXPECT_FALSE(tunnel.again);
    EXPECT_TRUE(pipe.collector->ended);
  }
}

TEST(H1Client, Cancelled_EndsWithTheReason) {
  ClientPipe pipe;
  Outcome out;
  const Error why{.code = base::Code::kTimeout, .detail = Detail::kResponseTimeout};
  struct Run {
    static net::Task<> stop(UpstreamExchange& one, Error why) {
      one.cancel(why);
      co_return;
    }
    static net::Task<> wait(UpstreamExchange& one, Outcome& seen) {
      const auto head = co_await one.read_head();
      if (!head) seen.error = head.error();
    }
    static net::Task<> run(ClientPipe& pipe, Outcome& seen, Error why) {
      UpstreamExchange& one = pipe.client->begin(&pipe.memory);
      co_await net::both(wait(one, seen), stop(one, why));
      seen.again = pipe.client->finish();
      pipe.client.reset();
      seen.done = true;
    }
  };
  pipe.worker.spawn(Run::run(pipe, out, why));
  pipe.worker.poll();
  EXPECT_TRUE(out.done);
  EXPECT_EQ(out.error, why);
  EXPECT_FALSE(out.again);
}

TEST(H1Client, FailAtEveryOperation_EndsCleanly) {
  for (size_t n = 1; n < 200; ++n) {
    ClientPipe pipe({.max_read = 3});
    pipe.near->fail_at(n, {.code = base::Code::kReset});
    auto& one = pipe.ask({.method = "POST", .body = "hello"});
    if (pipe.client)
      pipe.answer(
          "HTTP/1.1 103 E\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n5\r\nhello\r\n0\r\nGrpc-Status: "
          "0\r\n\r\n");
    ASSERT_TRUE(one.done) << n;
    if (one.again)
      EXPECT_EQ(one.body, "hellohello");
    else
      EXPECT_TRUE(one.error != Error{} || one.body_error != Error{} || one.send_error != Error{}) << n;
    if (one.error.retry == Retry::kIfReused) EXPECT_EQ(one.status, 0);
  }
}

}  // namespace
}  // namespace http::testing
