#include "http/guard.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "http/head_scan.h"
#include "http/testing.h"

namespace http::testing {
namespace {

using base::Detail;
using Kind = HeadScan::Verdict::Kind;

struct Judged {
  Detail detail = Detail::kNone;
  Hop hop;
  std::string method, authority, path, original, upgrade, fields;
  uint16_t status = 0;
};

// Scan and guard, as the codec calls them. kInternal-like surprises show as kMaxConnections, which no guard says.
Judged judge(std::string text, RequestRules rules = {}) {
  Judged out;
  HeadScan scan;
  const Limits limits;
  const auto verdict = scan.scan(text, limits);
  if (verdict.kind == Kind::kRefused) {
    out.detail = verdict.refused;
    return out;
  }
  if (verdict.kind == Kind::kMore) {
    out.detail = Detail::kMaxConnections;
    return out;
  }
  std::pmr::monotonic_buffer_resource arena;
  RequestHead head(&arena);
  out.detail = judge_request(std::span(text).subspan(verdict.skip, verdict.end - verdict.skip), scan.fields(), rules, head, out.hop);
  out.method = head.method;
  out.authority = head.authority;
  out.path = head.path;
  out.original = head.original_path;
  out.upgrade = head.upgrade;
  out.fields = text_of(head.fields);
  return out;
}

Judged judge_answer(std::string text, ResponseRules rules = {}) {
  Judged out;
  HeadScan scan;
  const auto verdict = scan.scan(text, Limits{});
  if (verdict.kind != Kind::kComplete) {
    out.detail = verdict.kind == Kind::kRefused ? verdict.refused : Detail::kMaxConnections;
    return out;
  }
  std::pmr::monotonic_buffer_resource arena;
  ResponseHead head(&arena);
  out.detail = judge_response(std::span(text).first(verdict.end), scan.fields(), rules, head, out.hop);
  out.status = head.status;
  out.upgrade = head.upgrade;
  out.fields = text_of(head.fields);
  return out;
}

struct Refusal {
  std::string_view rule;
  std::string text;
  Detail detail;
};

std::string with(std::string_view lines, std::string_view line = "POST / HTTP/1.1", std::string_view host = "Host: a.test\r\n") {
  return std::string(line).append("\r\n").append(host).append(lines).append("\r\n");
}

const Refusal kRefusals[] = {
    {"H1", "GET / HTTP/1.1\nHost: a\r\n\r\n", Detail::kHttp1LineEnd},
    {"H1", "GET / HTTP/1.1\r\nHost: a\r\n\n", Detail::kHttp1LineEnd},
    {"H1", "GET / HTTP/1.1\r\nHost: a\rX: b\r\n\r\n", Detail::kHttp1LineEnd},
    {"H1", "GET / HTTP/1.1\r\nHost: a\r\r\n\r\n", Detail::kHttp1LineEnd},
    {"H1", with(std::string("X: a\0b\r\n", 8)), Detail::kHttp1ControlCharacter},
    {"H1", with("X: a\x01\r\n"), Detail::kHttp1ControlCharacter},
    {"H1", with("X: a\x7f\r\n"), Detail::kHttp1ControlCharacter},
    {"H1", with("X: a\x0b\r\n"), Detail::kHttp1ControlCharacter},
    {"H2", with("X: a\r\n b\r\n"), Detail::kHttp1Fold},
    {"H2", with("X:\r\n\tb\r\n"), Detail::kHttp1Fold},
    {"H2", "GET / HTTP/1.1\r\n Content-Length: 5\r\nHost: a\r\n\r\n", Detail::kHttp1Fold},
    {"H3", with(": x\r\n"), Detail::kHttp1FieldName},
    {"H3", with(":\r\n"), Detail::kHttp1FieldName},
    {"H4", with("Content-Length : 5\r\n"), Detail::kHttp1FieldName},
    {"H4", with("Content-Length\t: 5\r\n"), Detail::kHttp1FieldName},
    {"H4", with("no colon\r\n"), Detail::kHttp1FieldName},
    {"H4", with("NoColon\r\n"), Detail::kHttp1FieldName},
    {"H4", with("X(y): 1\r\n"), Detail::kHttp1FieldName},
    {"H4", with("X\xc3\xa9: 1\r\n"), Detail::kHttp1FieldName},
    {"H5", with("Transfer-Encoding: xchunked\r\n"), Detail::kNotImplemented},
    {"H5", with("Transfer-Encoding: gzip\r\n"), Detail::kNotImplemented},
    {"H5", with("Transfer-Encoding: chunked, chunked\r\n"), Detail::kNotImplemented},
    {"H5", with("Transfer-Encoding: identity, chunked\r\n"), Detail::kNotImplemented},
    {"H5", with("Transfer-Encoding: ,chunked\r\n"), Detail::kNotImplemented},
    {"H5", with("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"), Detail::kHttp1TransferEncoding},
    {"H5", with("Transfer-Encoding: x\r\nTransfer-Encoding: chunked\r\n"), Detail::kHttp1TransferEncoding},
    {"H5",
     with("Transfer-Encoding: \xa0"
          "chunked\r\n"),
     Detail::kNotImplemented},
    {"H5", with("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n"), Detail::kHttp1LengthAndEncoding},
    {"H5", with("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n"), Detail::kHttp1LengthAndEncoding},
    {"H6", with("Transfer-Encoding:\r\n"), Detail::kNotImplemented},
    {"H6", with("Transfer-Encoding: \t\r\n"), Detail::kNotImplemented},
    {"H7", with("Transfer-Encoding: chunked\r\n", "POST / HTTP/1.0"), Detail::kHttp1TransferEncoding},
    {"H8", with("Content-Length: 5\r\nContent-Length: 5\r\n"), Detail::kHttp1ContentLength},
    {"H8", with("Content-Length:\r\n"), Detail::kHttp1ContentLength},
    {"H8", with("Content-Length: +5\r\n"), Detail::kHttp1ContentLength},
    {"H8", with("Content-Length: 5, 5\r\n"), Detail::kHttp1ContentLength},
    {"H8", with("Content-Length: 0x5\r\n"), Detail::kHttp1ContentLength},
    {"H8", with("Content-Length: 99999999999999999999\r\n"), Detail::kHttp1ContentLength},
    {"H8", with("Content-Length: 9223372036854775808\r\n"), Detail::kHttp1ContentLength},
    {"H9", "GET / HTTP/1.1\r\n\r\n", Detail::kHttp1Host},
    {"H9", "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", Detail::kHttp1Host},
    {"H9", "GET / HTTP/1.1\r\nHost:\r\n\r\n", Detail::kHttp1Host},
    {"H9", "GET / HTTP/1.1\r\nHost: a/x\r\n\r\n", Detail::kHttp1Host},
    {"H9", "GET / HTTP/1.1\r\nHost: u@a\r\n\r\n", Detail::kHttp1Host},
    {"H9", "GET / HTTP/1.1\r\nHost: a:8x\r\n\r\n", Detail::kHttp1Host},
    {"H9", "GET / HTTP/1.1\r\nHost: a:65536\r\n\r\n", Detail::kHttp1Host},
    {"H9", "GET / HTTP/1.1\r\nHost: a%2eb\r\n\r\n", Detail::kHttp1Host},
    {"H9", "GET / HTTP/1.1\r\nHost: a b\r\n\r\n", Detail::kHttp1Host},
    {"H9", "GET / HTTP/1.1\r\nHost: a, b\r\n\r\n", Detail::kHttp1Host},
    {"H9", "GET / HTTP/1.1\r\nHost: [::1\r\n\r\n", Detail::kHttp1Host},
    {"H9", "GET / HTTP/1.1\r\nHost: [1.2.3.4]\r\n\r\n", Detail::kHttp1Host},
    {"H9", "GET / HTTP/1.1\r\nHost: [fe80::1%25eth0]\r\n\r\n", Detail::kHttp1Host},
    {"H9",
     "GET / HTTP/1.1\r\nHost: \xff"
     "a\r\n\r\n",
     Detail::kHttp1Host},
    {"H9", "GET / HTTP/1.1\r\nHost: " + std::string(256, 'a') + "\r\n\r\n", Detail::kHttp1Host},
    {"H9", with("", "GET / HTTP/1.2"), Detail::kHttp1Version},
    {"H9", with("", "GET / HTTP/2.0"), Detail::kHttp1Version},
    {"H9", with("", "GET / HTTP/0.9"), Detail::kHttp1Version},
    {"H9", with("", "GET / HTTP/1.10"), Detail::kHttp1Version},
    {"H9", with("", "GET / http/1.1"), Detail::kHttp1RequestLine},
    {"H9", with("", "GET / RTSP/1.0"), Detail::kHttp1RequestLine},
    {"H9", with("", "SOURCE / HTTP/1.1"), Detail::kHttp1Method},
    {"H9", with("", "PRI / HTTP/1.1"), Detail::kHttp1Method},
    {"H9", with("", "get / HTTP/1.1"), Detail::kHttp1Method},
    {"H9", with("", "GETX / HTTP/1.1"), Detail::kHttp1Method},
    {"H10", with("", "GET  / HTTP/1.1"), Detail::kHttp1RequestLine},
    {"H10", with("", "GET /  HTTP/1.1"), Detail::kHttp1RequestLine},
    {"H10", with("", "GET / HTTP/1.1 "), Detail::kHttp1RequestLine},
    {"H10", with("", "GET /a b HTTP/1.1"), Detail::kHttp1RequestLine},
    {"H10", with("", " GET / HTTP/1.1"), Detail::kHttp1RequestLine},
    {"H10", with("", "GET\t/\tHTTP/1.1"), Detail::kHttp1RequestLine},
    {"H10", with("", "GET /"), Detail::kHttp1RequestLine},
    {"H10", with("", "GET"), Detail::kHttp1RequestLine},
    {"H11", with("", "GET * HTTP/1.1"), Detail::kHttp1Target},
    {"H11", with("", "GET a.test:80 HTTP/1.1"), Detail::kHttp1Target},
    {"H11", with("", "GET ?x=1 HTTP/1.1"), Detail::kHttp1Target},
    {"H11", with("", "GET ftp://a.test/ HTTP/1.1"), Detail::kHttp1Target},
    {"H11", with("", "GET http:///x HTTP/1.1"), Detail::kHttp1Host},
    {"H11", with("", "GET http://u:p@a.test/ HTTP/1.1"), Detail::kHttp1Host},
    {"H11", with("", "GET /\xc3\xa9 HTTP/1.1"), Detail::kHttp1Target},
    {"H11", with("", "GET # HTTP/1.1"), Detail::kHttp1Target},
    {"path", with("", "GET /%00 HTTP/1.1"), Detail::kPathNormalization},
    {"H15", with("", "CONNECT a.test:443 HTTP/1.1"), Detail::kConnectRefused},
    {"H15", with("", "CONNECT / HTTP/1.1"), Detail::kConnectRefused},
    {"H15", with("Upgrade: websocket\r\nConnection: upgrade\r\nContent-Length: 3\r\n", "GET / HTTP/1.1"), Detail::kHttp1Syntax},
    {"H15", with("Upgrade: websocket\r\nConnection: upgrade\r\nTransfer-Encoding: chunked\r\n", "GET / HTTP/1.1"), Detail::kHttp1Syntax},
    {"version", with("", "GET / HTTP/1.0"), Detail::kLowVersion},
};

TEST(Guard, MustRefuse_Table) {
  for (const Refusal& row : kRefusals) {
    const Judged judged = judge(row.text);
    EXPECT_EQ(base::row(judged.detail).text, base::row(row.detail).text) << row.rule << ": " << row.text;
  }
}

TEST(Guard, PlainRequest_FieldsAndFraming) {
  const Judged judged = judge(
      "POST /a?b HTTP/1.1\r\nHost: A.test:80\r\nX-Some:  v a\t \r\nContent-Length: 0005\r\nCookie: a=1\r\nCookie: b=2\r\nx_y: "
      "\xc3\xa9\r\nX-Empty:\r\n\r\n");
  EXPECT_EQ(judged.detail, Detail::kNone);
  EXPECT_EQ(judged.method, "POST");
  EXPECT_EQ(judged.authority, "A.test:80");
  EXPECT_EQ(judged.path, "/a?b");
  EXPECT_EQ(judged.fields, "x-some: v a\ncontent-length: 5\ncookie: a=1\ncookie: b=2\nx_y: \xc3\xa9\nx-empty: \n");
  EXPECT_EQ(judged.hop.framing, Framing::kLength);
  EXPECT_EQ(judged.hop.length, 5u);
  EXPECT_TRUE(judged.hop.keep_alive);
}

TEST(Guard, TransferEncoding_ChunkedInAnyCaseWithoutBlank) {
  for (const char* line : {"Transfer-Encoding:chunked\r\n", "transfer-encoding: CHUNKED \r\n"}) {
    const Judged judged = judge(with(line));
    EXPECT_EQ(judged.detail, Detail::kNone);
    EXPECT_EQ(judged.hop.framing, Framing::kChunked);
    EXPECT_EQ(judged.fields, "");
  }
}

TEST(Guard, Targets_FourForms) {
  EXPECT_EQ(judge(with("", "GET /a#b HTTP/1.1")).path, "/a");
  EXPECT_EQ(judge(with("", "GET /a?b#c HTTP/1.1")).path, "/a?b");
  EXPECT_EQ(judge(with("", "GET /a/../b HTTP/1.1")).path, "/b");
  EXPECT_EQ(judge(with("", "GET /a/../b HTTP/1.1")).original, "/a/../b");
  EXPECT_EQ(judge(with("", "OPTIONS * HTTP/1.1")).path, "*");
  const Judged absolute = judge(with("", "GET http://B.test:81/x?y HTTP/1.1"));
  EXPECT_EQ(absolute.detail, Detail::kNone);
  EXPECT_EQ(absolute.authority, "B.test:81");
  EXPECT_EQ(absolute.path, "/x?y");
  EXPECT_EQ(judge(with("", "GET http://b.test HTTP/1.1")).path, "/");
  EXPECT_EQ(judge(with("", "GET http://b.test?q HTTP/1.1")).path, "/?q");
  EXPECT_EQ(judge(with("", "OPTIONS http://b.test HTTP/1.1")).path, "*");
  EXPECT_EQ(judge(with("", "GET HTTPS://[::1]:443/ HTTP/1.1")).authority, "[::1]:443");
  EXPECT_EQ(judge(with("", "GET / HTTP/1.1", "Host: a.test:\r\n")).authority, "a.test:");
}

TEST(Guard, Connection_NominatedFieldsGoButNotTheTrusted) {
  const Judged judged =
      judge(with("X-Secret: 1\r\nConnection: close, X-Secret, Host, X-Forwarded-For, Content-Length, Authorization, X-Envoy-Internal\r\n"
                 "X-Forwarded-For: 1.2.3.4\r\nContent-Length: 3\r\nAuthorization: t\r\nX-Envoy-Internal: true\r\nx-secret: 2\r\n"));
  EXPECT_EQ(judged.detail, Detail::kNone);
  EXPECT_EQ(judged.fields, "x-forwarded-for: 1.2.3.4\ncontent-length: 3\nauthorization: t\nx-envoy-internal: true\n");
  EXPECT_FALSE(judged.hop.keep_alive);
  EXPECT_EQ(judged.authority, "a.test");
}

std::string connection_of(size_t members) {
  std::string list = "Connection: close";
  for (size_t i = 1; i < members; ++i) list += ",, x-" + std::to_string(i);
  return list + "\r\n";
}

TEST(Guard, Connection_MoreThan32MembersAreRefused) {
  const Judged most = judge(with(connection_of(32) + "X-31: gone\r\nX-32: stays\r\n"));
  EXPECT_EQ(most.detail, Detail::kNone);
  EXPECT_EQ(most.fields, "x-32: stays\n");
  EXPECT_EQ(judge(with(connection_of(33))).detail, Detail::kHttp1FieldValue);
  EXPECT_EQ(judge(with(connection_of(20) + connection_of(13))).detail, Detail::kHttp1FieldValue);   // all lines together
  EXPECT_EQ(judge(with(connection_of(6000))).detail, Detail::kHttp1FieldValue);
  EXPECT_EQ(judge_answer("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n" + connection_of(33) + "\r\n").detail, Detail::kHttp1FieldValue);
}

TEST(Guard, Connection_KeepAliveByVersion) {
  EXPECT_FALSE(judge(with("Connection: keep-alive, close\r\n")).hop.keep_alive);
  EXPECT_FALSE(judge(with("Connection: close\t\r\n")).hop.keep_alive);
  EXPECT_FALSE(judge(with("Connection: keep-alive\r\nConnection: CLOSE\r\n")).hop.keep_alive);
  EXPECT_FALSE(judge(with("", "GET / HTTP/1.0"), {.http10 = true}).hop.keep_alive);
  EXPECT_TRUE(judge(with("Connection: Keep-Alive\r\n", "GET / HTTP/1.0"), {.http10 = true}).hop.keep_alive);
  EXPECT_EQ(judge("GET / HTTP/1.0\r\n\r\n", {.http10 = true}).detail, Detail::kNone);
}

TEST(Guard, HopByHop_NeverAmongTheFields) {
  EXPECT_EQ(
      judge(with("Keep-Alive: timeout=5\r\nProxy-Connection: keep-alive\r\nTE: gzip, trailers;q=1\r\nTE: trailers\r\nUpgrade: foo\r\n"))
          .fields,
      "te: trailers\n");
  EXPECT_EQ(judge(with("TE: gzip\r\n")).fields, "");
}

TEST(Guard, Upgrade_OnlyWebSocketSurvives) {
  const auto get = [](std::string_view lines) { return judge(with(lines, "GET / HTTP/1.1")); };
  EXPECT_EQ(get("Upgrade: WebSocket\r\nConnection: keep-alive, Upgrade\r\n").upgrade, "websocket");
  EXPECT_EQ(get("Upgrade: H2C, websocket\r\nConnection: Upgrade\r\n").upgrade, "websocket");
  EXPECT_EQ(get("Upgrade: websocket\r\n").upgrade, "");
  EXPECT_EQ(get("Connection: Upgrade\r\n").detail, Detail::kNone);
  EXPECT_EQ(get("Upgrade: TLS/1.0\r\nConnection: Upgrade\r\n").upgrade, "");
  const Judged h2c =
      judge(with("Upgrade: h2c\r\nHTTP2-Settings: AAA\r\nConnection: Upgrade, HTTP2-Settings\r\nTransfer-Encoding: chunked\r\n"));
  EXPECT_EQ(h2c.detail, Detail::kNone);  // a POST of curl or Java that offers h2c is served as HTTP/1.1
  EXPECT_EQ(h2c.upgrade, "");
  EXPECT_EQ(h2c.fields, "");
  EXPECT_EQ(h2c.hop.framing, Framing::kChunked);
  EXPECT_EQ(judge(with("Upgrade: websocket\r\nConnection: upgrade\r\n")).upgrade, "");  // POST
}

TEST(Guard, Expect_PassesAndIsKnown) {
  const Judged judged = judge(with("Expect: 100-Continue\r\nContent-Length: 5\r\n"));
  EXPECT_TRUE(judged.hop.expects_continue);
  EXPECT_EQ(judged.fields, "expect: 100-Continue\ncontent-length: 5\n");
}

TEST(Guard, PreservedCase_KeepsTheWireSpelling) {
  std::string text = with("X-Some: 1\r\nplain: 2\r\n");
  std::pmr::monotonic_buffer_resource arena;
  RequestHead head(&arena);
  Hop hop;
  ASSERT_EQ(judge_request(text, 3, {.preserve_case = true}, head, hop), Detail::kNone);
  EXPECT_EQ(std::string_view(head.fields.all()[0].raw, 6), "X-Some");
  EXPECT_EQ(head.fields.all()[0].name, "x-some");
  EXPECT_EQ(head.fields.all()[1].raw, nullptr);
}

TEST(Guard, FieldRows_CarryIdAndHash) {
  const std::string name(100, 'n');
  std::string text = with("Content-Type: a\r\n" + name + ": 1\r\nX-Any: 2\r\n");
  std::pmr::monotonic_buffer_resource arena;
  RequestHead head(&arena);
  Hop hop;
  ASSERT_EQ(judge_request(text, 4, {}, head, hop), Detail::kNone);
  for (const auto& field : head.fields.all()) {
    EXPECT_EQ(field.hash, base::name_hash(field.name));
    EXPECT_EQ(field.id, base::field_id(field.name));
  }
  EXPECT_EQ(head.fields.get(base::FieldId::kContentType), "a");
  EXPECT_EQ(head.fields.get("x-any"), "2");
}

struct AnswerRow {
  std::string text;
  Detail detail;
  Framing framing = Framing::kNone;
  bool keep = false;
  ResponseRules rules{};
};

TEST(Guard, Answers_Table) {
  const std::string ok = "HTTP/1.1 200 OK\r\n";
  const AnswerRow rows[] = {
      {ok + "Content-Length: 5\r\n\r\n", Detail::kNone, Framing::kLength, true},
      {ok + "Transfer-Encoding: chunked\r\n\r\n", Detail::kNone, Framing::kChunked, true},
      {ok + "\r\n", Detail::kNone, Framing::kUntilClose, false},
      {"HTTP/1.1 200 \r\nContent-Length: 0\r\n\r\n", Detail::kNone, Framing::kLength, true},
      {"HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\n", Detail::kNone, Framing::kLength, false},
      {"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 5\r\n\r\n", Detail::kNone, Framing::kLength, true},
      {ok + "Connection: close\r\nContent-Length: 5\r\n\r\n", Detail::kNone, Framing::kLength, false},
      {ok + "Content-Length: 5\r\n\r\n", Detail::kNone, Framing::kNone, true, {.to_head = true}},
      {ok + "Transfer-Encoding: chunked\r\n\r\n", Detail::kNone, Framing::kNone, true, {.to_head = true}},
      {"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", Detail::kNone, Framing::kNone, true},
      {"HTTP/1.1 204 No Content\r\n\r\n", Detail::kNone, Framing::kNone, true},
      {"HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n", Detail::kNone, Framing::kNone, false},  // H17
      {"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n", Detail::kNone, Framing::kNone, true},
      {"HTTP/1.1 102 P\r\nContent-Length: 5\r\n\r\n", Detail::kHttp1Syntax},
      {"HTTP/1.1 100 C\r\nTransfer-Encoding: chunked\r\n\r\n", Detail::kHttp1Syntax},
      {"HTTP/1.1 101 S\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n", Detail::kUpgradeRefused},
      {"HTTP/1.1 101 S\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
       Detail::kUpgradeRefused,
       Framing::kNone,
       false,
       {.upgrade_asked = true}},
      {"HTTP/1.1 101 S\r\nUpgrade: websocket\r\nConnection: upgrade\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
       Detail::kNone,
       Framing::kNone,
       true,
       {.upgrade_asked = true}},
      {ok + "Content-Length: 5\r\nContent-Length: 5\r\n\r\n", Detail::kHttp1ContentLength},
      {ok + "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", Detail::kHttp1LengthAndEncoding},
      {ok + "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
       Detail::kHttp1LengthAndEncoding,
       Framing::kNone,
       false,
       {.to_head = true}},
      {ok + "Transfer-Encoding: gzip\r\n\r\n", Detail::kNotImplemented},
      {"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", Detail::kHttp1TransferEncoding},
      {"HTTP/1.1 20 OK\r\n\r\n", Detail::kHttp1Syntax},
      {"HTTP/1.1 2000 OK\r\n\r\n", Detail::kHttp1Syntax},
      {"HTTP/1.1 099 OK\r\n\r\n", Detail::kHttp1Syntax},
      {"HTTP/2.0 200 OK\r\n\r\n", Detail::kHttp1Version},
      {"ICY 200 OK\r\n\r\n", Detail::kHttp1Version},
      {"hello world\r\n\r\n", Detail::kHttp1Version},
      {ok + "X: a\rb\r\n\r\n", Detail::kHttp1LineEnd},
      {ok + ": x\r\n\r\n", Detail::kHttp1FieldName},
      {ok + "Location: a\r\n b\r\n\r\n", Detail::kHttp1Fold},
      {"HTTP/1.1 200 OK\nX: a\r\n\r\n", Detail::kHttp1LineEnd},
  };
  for (const AnswerRow& row : rows) {
    const Judged judged = judge_answer(row.text, row.rules);
    EXPECT_EQ(base::row(judged.detail).text, base::row(row.detail).text) << row.text;
    if (row.detail != Detail::kNone || judged.detail != Detail::kNone) continue;
    EXPECT_EQ(judged.hop.framing, row.framing) << row.text;
    EXPECT_EQ(judged.hop.keep_alive, row.keep) << row.text;
  }
}

TEST(Guard, AnswerWithTunnel_LosesItsFraming) {
  const Judged judged = judge_answer("HTTP/1.1 101 S\r\nUpgrade: websocket\r\nConnection: upgrade\r\nContent-Length: 5\r\nX: y\r\n\r\n",
                                     {.upgrade_asked = true});
  EXPECT_EQ(judged.upgrade, "websocket");
  EXPECT_EQ(judged.fields, "x: y\n");
}

// H13
TEST(Guard, Trailers_AllowListOnly) {
  std::string section =
      "Grpc-Status: 0\r\nContent-Length: 9\r\nHost: b\r\nX-Forwarded-Client-Cert: By=x\r\nSet-Cookie: a\r\nServer-Timing: t\r\n\r\n";
  std::pmr::monotonic_buffer_resource arena;
  base::Fields out(&arena);
  EXPECT_EQ(judge_trailers(section, 6, out), Detail::kNone);
  EXPECT_EQ(text_of(out), "grpc-status: 0\nserver-timing: t\n");
  for (std::string bad : {" B: 1\r\n\r\n", "B : 1\r\n\r\n", "B\r\n\r\n", ": 1\r\n\r\n"}) {
    base::Fields none(&arena);
    EXPECT_EQ(judge_trailers(bad, 1, none), Detail::kHttp1Trailer) << bad;
  }
}

TEST(HeadScan, Limits_HoldWhileBytesArrive) {  // H14
  const auto feed = [](const std::string& text) {
    HeadScan whole, bytewise;
    const auto all = whole.scan(text, Limits{});
    HeadScan::Verdict one;
    for (size_t n = 1; n <= text.size(); ++n)
      if (one = bytewise.scan(std::string_view(text).substr(0, n), Limits{}); one.kind != Kind::kMore) break;
    EXPECT_EQ(all.kind, one.kind);
    EXPECT_EQ(all.refused, one.refused);
    EXPECT_EQ(all.end, one.end);
    EXPECT_EQ(all.skip, one.skip);
    return all;
  };
  std::string fields;
  for (int i = 0; i < 99; ++i) fields += "X: 1\r\n";
  EXPECT_EQ(feed("GET / HTTP/1.1\r\nHost: a\r\n" + fields + "\r\n").kind, Kind::kComplete);
  EXPECT_EQ(feed("GET / HTTP/1.1\r\nHost: a\r\nX: 1\r\n" + fields + "\r\n").refused, Detail::kTooManyFields);
  EXPECT_EQ(feed("GET / HTTP/1.1\r\nHost: a\r\n" + std::string(70'000, 'a')).refused, Detail::kRequestHeadTooLarge);
  EXPECT_EQ(feed("GET /" + std::string(70'000, 'a')).refused, Detail::kUriTooLong);
  const std::string head = "GET / HTTP/1.1\r\nHost: a\r\nX: ";
  const std::string fits = head + std::string(60 * 1024 - head.size() - 4, 'a') + "\r\n\r\n";
  EXPECT_EQ(feed(fits).kind, Kind::kComplete);
  EXPECT_EQ(feed(head + "a" + fits.substr(head.size())).refused, Detail::kRequestHeadTooLarge);
  std::string blank;
  for (int i = 0; i < 31; ++i) blank += "\r\n";
  const auto skipped = feed(blank + "GET / HTTP/1.1\r\nHost: a\r\n\r\nrest");
  EXPECT_EQ(skipped.kind, Kind::kComplete);
  EXPECT_EQ(skipped.skip, 62u);
  EXPECT_EQ(feed(blank + "\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n").refused, Detail::kHttp1LineEnd);
}

TEST(HeadScan, StrayLineEnds_DoNotBeginARequest) {
  HeadScan scan;
  EXPECT_EQ(scan.scan("\r\n\r\n", Limits{}).kind, Kind::kMore);
  EXPECT_FALSE(scan.began());
  EXPECT_EQ(scan.scan("\r\n\r\nG", Limits{}).kind, Kind::kMore);
  EXPECT_TRUE(scan.began());
}

TEST(Guard, Salvage_ShowsWhatCanBeRead) {
  std::pmr::monotonic_buffer_resource arena;
  RequestHead head(&arena);
  salvage_request_line("GET /a/b HTTP/1.1\r\nHo", head);
  EXPECT_EQ(head.method, "GET");
  EXPECT_EQ(head.path, "/a/b");
  RequestHead junk(&arena);
  salvage_request_line(std::string_view("\x16\x03\x01", 3), junk);
  EXPECT_EQ(junk.method, "");
}

}  // namespace
}  // namespace http::testing
