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

}  // namespace
}  // namespace http::testing
