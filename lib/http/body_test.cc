#include "http/body.h"

#include <gtest/gtest.h>

#include "http/testing.h"

namespace http::testing {
namespace {

using base::Detail;

struct Decoded {
  Detail detail = Detail::kNone;
  std::string payload{}, trailers{}, rest{};
  bool ended = false;
  bool operator==(const Decoded&) const = default;
};

// Feeds `text` in pieces of `step` bytes.
Decoded decode(const std::string& text, size_t step, Framing framing = Framing::kChunked, uint64_t length = 0,
               const Limits& limits = Limits{}) {
  std::pmr::monotonic_buffer_resource arena;
  BodyDecoder decoder;
  decoder.start(framing, length, limits, &arena);
  Decoded out;
  for (size_t at = 0; at < text.size() && !decoder.ended();) {
    std::string bytes = text.substr(at, step);
    BodyDecoder::Piece piece;
    out.detail = decoder.decode(bytes, piece);
    if (out.detail != Detail::kNone) return {.detail = out.detail};
    EXPECT_TRUE(piece.consumed == bytes.size() || decoder.ended());
    out.payload += bytes.substr(piece.begin, piece.size);
    at += piece.consumed;
    if (decoder.ended()) out.rest = text.substr(at);
  }
  out.ended = decoder.ended();
  if (decoder.trailers()) out.trailers = text_of(*decoder.trailers());
  return out;
}

TEST(Body, Chunked_EverySplitPointGivesTheSame) {
  const std::string good[] = {
      "5\r\nhello\r\n0\r\n\r\n",
      "5;ext=1\r\nhello\r\n0\r\n\r\n",
      "5;a=\"b;c\\\"\";d\r\nhello\r\n0;x\r\n\r\n",
      "1\r\nh\r\n0002\r\nel\r\n2\r\nlo\r\n000\r\n\r\nGET / HTTP/1.1\r\n",
      "A\r\n0123456789\r\na\r\n0123456789\r\n0\r\nGrpc-Status: 0\r\nHost: x\r\n\r\nrest",
      "0\r\n\r\n",
      "0\r\nX:POST /s HTTP/1.1\r\n\r\n",
  };
  for (const auto& text : good) {
    const Decoded whole = decode(text, text.size());
    EXPECT_EQ(whole.detail, Detail::kNone) << text;
    EXPECT_TRUE(whole.ended) << text;
    for (size_t step = 1; step < text.size(); ++step) EXPECT_EQ(decode(text, step), whole) << text << " by " << step;
  }
  EXPECT_EQ(decode(good[0], 100).payload, "hello");
  EXPECT_EQ(decode(good[3], 100).payload, "hello");
  EXPECT_EQ(decode(good[3], 100).rest, "GET / HTTP/1.1\r\n");
  EXPECT_EQ(decode(good[4], 100).trailers, "grpc-status: 0\n");
  EXPECT_EQ(decode(good[6], 100).trailers, "");
}

TEST(Body, Chunked_MustRefuse) {
  using namespace std::string_literals;
  const std::string bad[] = {"5\nhello\r\n0\r\n\r\n",      "5;a=b\nGET /x HTTP/1.1\r\n0\r\n\r\n",
                             "5 \r\nhello\r\n0\r\n\r\n",   " 5\r\nhello\r\n0\r\n\r\n",
                             "-5\r\nhello\r\n0\r\n\r\n",   "+5\r\nhello\r\n0\r\n\r\n",
                             "0x5\r\nhello\r\n0\r\n\r\n",  "0_5\r\nhello\r\n0\r\n\r\n",
                             "G\r\nhello\r\n0\r\n\r\n",    "\r\n\r\n",
                             ";a=b\r\nhello\r\n0\r\n\r\n", "10000000000000005\r\nhello\r\n0\r\n\r\n",
                             "8000000000000000\r\nhello",  "00000000000000005\r\nhello\r\n0\r\n\r\n",
                             "5\r\nhello0\r\n\r\n",        "5\r\nhello\n0\r\n\r\n",
                             "5\r\nhello\r\n0\n\r\n",      "5\r\nhello\r\r\n0\r\n\r\n",
                             "5\rhello\r\n0\r\n\r\n",      "5;\r\nhello\r\n0\r\n\r\n",
                             "5;=a\r\nhello\r\n",          "5;a=\r\nhello\r\n",
                             "5;a=\"b\r\nhello\r\n",       "5;a=\"b\"c\r\nhello\r\n",
                             "5;a b\r\nhello\r\n",         "5;a=\"\0\"\r\nhello\r\n"s};
  for (const auto& text : bad) {
    for (size_t step = 1; step <= text.size(); ++step) EXPECT_EQ(decode(text, step).detail, Detail::kHttp1Chunk) << text << " by " << step;
  }
  const std::string trailers[] = {"0\r\n\n",  "0\r\nA: 1\nB: 2\r\n\r\n", "0\r\n B: 1\r\n\r\n", "0\r\nB : 1\r\n\r\n", "0\r\nB\r\n\r\n",
                                  "0\r\n\rX", "0\r\nA: \0\r\n\r\n"s};
  for (const auto& text : trailers) {
    for (size_t step = 1; step <= text.size(); ++step)
      EXPECT_EQ(decode(text, step).detail, Detail::kHttp1Trailer) << text << " by " << step;
  }
}

TEST(Body, Chunked_Limits) {
  EXPECT_EQ(decode("5;" + std::string(20'000, 'a') + "\r\nhello\r\n0\r\n\r\n", 999).detail, Detail::kHttp1Chunk);
  std::string many;
  for (int i = 0; i < 1000; ++i) many += "1;aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\nx\r\n";
  EXPECT_EQ(decode(many, 4096).detail, Detail::kHttp1Chunk);
  EXPECT_EQ(decode("0\r\nA: " + std::string(70'000, 'a') + "\r\n\r\n", 5000).detail, Detail::kHttp1Trailer);
  std::string fields = "0\r\n";
  for (int i = 0; i < 101; ++i) fields += "A: 1\r\n";
  EXPECT_EQ(decode(fields + "\r\n", 4096).detail, Detail::kHttp1Trailer);
}

TEST(Body, Chunked_ShortRunsOfOneReadBecomeOnePiece) {
  const Limits limits;
  BodyDecoder decoder;
  decoder.start(Framing::kChunked, 0, limits, std::pmr::null_memory_resource());
  std::string bytes = "1\r\na\r\n2\r\nbc\r\n3\r\ndef\r\n0\r\n\r\n";
  BodyDecoder::Piece piece;
  ASSERT_EQ(decoder.decode(bytes, piece), Detail::kNone);
  EXPECT_EQ(bytes.substr(piece.begin, piece.size), "abcdef");
  EXPECT_TRUE(decoder.ended());
}

TEST(Body, Length_EndsExactly) {
  for (size_t step = 1; step < 10; ++step) {
    const Decoded got = decode("helloREST", step, Framing::kLength, 5);
    EXPECT_EQ(got.payload, "hello");
    EXPECT_EQ(got.rest, "REST");
  }
  BodyDecoder decoder;
  const Limits limits;
  decoder.start(Framing::kLength, 5, limits, std::pmr::null_memory_resource());
  EXPECT_EQ(decoder.remaining(), 5u);
  EXPECT_EQ(decoder.end_of_stream(), Detail::kHttp1BodyUnfinished);
  decoder.start(Framing::kUntilClose, 0, limits, std::pmr::null_memory_resource());
  EXPECT_EQ(decoder.remaining(), std::nullopt);
  EXPECT_EQ(decoder.end_of_stream(), Detail::kNone);
  EXPECT_TRUE(decoder.ended());
}

}  // namespace
}  // namespace http::testing
