#include <gtest/gtest.h>

#include <fmt/format.h>

#include "proxy/lifecycle_life.h"

// How a request, or a tunnel, comes to the state in which something is to happen to it.
namespace proxy::in_memory {
namespace {
const std::string kUpload(200'000, 'u'), kLong(60'000, 'l'), kTwiceLong = kLong + kLong;
const std::string kBulk(300'000, 'b');     // worth a pipe
const std::string kBulkBegins = kBulk.substr(0, 30'000), kBulkRest = kBulk.substr(kBulkBegins.size());
}  // namespace

void Life::ask(std::string_view path) { main_->say(get(path, "", "web.test")); }

void Life::begin_upload(std::string_view head_and_body, std::string rest) {
  main_->say("POST /main HTTP/1.1\r\nHost: web.test\r\n" + std::string(head_and_body));
  client_rest_ = std::move(rest);
  server_rest_ = kAnswer;
}

void Life::begin_answer(std::string_view head_and_body, std::string rest) {
  server().say("HTTP/1.1 200 OK\r\n" + std::string(head_and_body));
  server_rest_ = std::move(rest);
}

// Only what comes behind the head alone passes through a pipe.
void Life::begin_spliced_answer() {
  ask("/main");
  begin_answer(fmt::format("Content-Length: {}\r\n\r\n", kBulk.size()), kBulkRest);
  body_ = kBulk;
  servers_.back()->say(kBulkBegins);
}

void Life::begin() {
  const bool slow_reader = like_ == State::kBodyClientSlow;
  dialer_.splices = splices_;
  main_ = &client(is_tcp(case_.state) ? kTcpPort : kHttpPort, slow_reader ? 1024 : 64 * 1024);
  if (!slow_reader) main_->listen();
  switch (case_.state) {
    case State::kIdle:
    case State::kPartialHead: return begin_between_requests();
    case State::kConnecting:
    case State::kWaitingForSlot:
    case State::kBackingOff: return begin_without_connection();
    case State::kWaitingForAnswer:
    case State::kUploadClientSlow:
    case State::kUploadUpstreamSlow:
    case State::kInterimWritten: return begin_sending();
    case State::kBodyCounted:
    case State::kBodyUntilClose:
    case State::kBodyChunked:
    case State::kBodyClientSlow:
    case State::kEarlyAnswer:
    case State::kLinger: return begin_answering();
    case State::kSplicedBody:
    case State::kSplicedBodyClientSlow:
    case State::kSplicedUpload:
    case State::kSplicedUploadUpstreamSlow: return begin_spliced();
    case State::kTunnel:
    case State::kTunnelClientEnded:
    case State::kTunnelUpstreamEnded:
    case State::kTcp:
    case State::kTcpClientEnded:
    case State::kTcpUpstreamEnded: return begin_tunnel();
    case State::kCount: return;
  }
}

void Life::begin_between_requests() {
  ask("/first");
  Peer& s = server();
  s.say(std::string(kAnswer));
  ++lines_owed_;
  ASSERT_TRUE(main_->got.ends_with(kBody));
  main_->got.clear();
  s.got.clear();
  server_rest_ = "HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n";   // an answer to nothing
  if (case_.state == State::kPartialHead) main_->say("GET /main HTTP/1.1\r\nHost: web.test\r\nX-Part");
  client_rest_ = case_.state == State::kPartialHead ? "ial: 1\r\n\r\n" : get("/main", "", "web.test");
}

void Life::begin_without_connection() {
  if (case_.state == State::kConnecting) {
    dialer_.silent = true;
    return ask("/main");
  }
  if (case_.state == State::kBackingOff) {
    dialer_.refuse = 1;
    dialer_.silent = true;
    ask("/main");
    ASSERT_EQ(dialer_.dialled.size(), 1u);
    return;
  }
  Peer& other = client();
  other.listen();
  other.say(get("/other", "", "web.test"));
  other_server_ = &server();
  other_server_->say("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
  server_rest_ = kLastChunk;
  ++lines_owed_;
  ask("/main");
  ASSERT_EQ(dialer_.dialled.size(), 1u);
  ASSERT_FALSE(has(other_server_->got, "/main"));
}

void Life::begin_sending() {
  if (case_.state == State::kWaitingForAnswer) {
    ask("/main");
    server();
    server_rest_ = kAnswer;
  } else if (case_.state == State::kUploadClientSlow) {
    begin_upload("Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n", "2\r\nde\r\n0\r\n\r\n");
    server();
  } else if (case_.state == State::kUploadUpstreamSlow) {
    dialer_.capacity = 4096;
    begin_upload("Content-Length: " + std::to_string(kUpload.size()) + "\r\n\r\n" + kUpload, "");
    accept();
  } else {
    begin_upload("Content-Length: 5\r\nExpect: 100-continue\r\n\r\n", "abcde");
    server().say("HTTP/1.1 100 Continue\r\n\r\n");
    ASSERT_EQ(main_->got, "HTTP/1.1 100 Continue\r\n\r\n");
  }
}

void Life::begin_answering() {
  if (case_.state == State::kLinger) {
    begin_upload("Content-Length: 5\r\n\r\nab", "");
    server().say(std::string(kAnswer));
    server_rest_.clear();
    ASSERT_TRUE(main_->got.ends_with(kBody));
    return;
  }
  if (case_.state == State::kEarlyAnswer) {
    begin_upload("Content-Length: 5\r\n\r\nab", "cde");
    return begin_answer("Content-Length: 10\r\n\r\nhello", "world");
  }
  ask("/main");
  if (case_.state == State::kBodyCounted) return begin_answer("Content-Length: 10\r\n\r\nhello", "world");
  if (case_.state == State::kBodyUntilClose) {
    server_fin_ = true;
    return begin_answer("Connection: close\r\n\r\nhello", "world");
  }
  if (case_.state == State::kBodyChunked)
    return begin_answer("Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", "5\r\nworld\r\n0\r\nx-sum: 1\r\n\r\n");
  body_ = kTwiceLong;
  begin_answer("Content-Length: " + std::to_string(kTwiceLong.size()) + "\r\n\r\n" + kLong, kLong);
}

void Life::begin_spliced() {
  if (case_.state == State::kSplicedBody) {
    begin_spliced_answer();
    ASSERT_EQ(main_->stream->came_by_pipe(), kBulkBegins.size());
  } else if (case_.state == State::kSplicedBodyClientSlow) {
    begin_spliced_answer();
    ASSERT_GT(main_->stream->stuck_in_pipe(), 0u);
  } else if (case_.state == State::kSplicedUpload) {
    begin_upload(fmt::format("Content-Length: {}\r\n\r\n", kBulk.size()), kBulkRest);
    server();
    main_->say(kBulkBegins);
    ASSERT_EQ(servers_.back()->stream->came_by_pipe(), kBulkBegins.size());
  } else {
    dialer_.capacity = 4096;
    begin_upload(fmt::format("Content-Length: {}\r\n\r\n", kBulk.size()), "");
    accept();
    main_->say(kBulk);
    ASSERT_GT(servers_.back()->stream->stuck_in_pipe(), 0u);
  }
}

void Life::begin_tunnel() {
  if (is_tcp(case_.state)) {
    main_->say("question");
    ASSERT_EQ(server().got, "question");
  } else {
    main_->say(get("/main", "Connection: Upgrade\r\nUpgrade: websocket\r\n", "web.test"));
    server().say("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n");
  }
  Peer& s = *servers_.back();
  server_rest_ = "bytes";
  server_fin_ = true;
  if (client_ended(case_.state)) {
    client_fin_ = true;
    main_->put_fin();
    settle();
    ASSERT_TRUE(s.ended && !s.broken);
  } else if (upstream_ended(case_.state)) {
    server_rest_.clear();
    s.put_fin();
    settle();
    ASSERT_TRUE(main_->ended && !main_->broken);
  }
}

}  // namespace proxy::in_memory
