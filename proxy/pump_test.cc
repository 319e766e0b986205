#include <regex>

#include "proxy/pump_harness.h"

namespace proxy::in_memory {
namespace {

TEST_F(Pump, Get_IsForwardedAndAnswered_WithIstiosHeaders) {
  Peer& c = client();
  c.say(get("/a?b=c", "X-End-User: jason\r\nConnection: x-hop\r\nX-Hop: 1\r\n"));
  Peer& s = server();
  EXPECT_TRUE(s.got.starts_with("GET /a?b=c HTTP/1.1\r\n")) << s.got;
  EXPECT_TRUE(has(s.got, "host: shop\r\n")) << s.got;
  EXPECT_TRUE(has(s.got, "x-end-user: jason\r\n"));
  EXPECT_TRUE(has(s.got, "x-envoy-attempt-count: 1\r\n"));
  static const std::regex uuid4("x-request-id: [0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}\r\n");
  EXPECT_TRUE(std::regex_search(s.got, uuid4)) << s.got;
  EXPECT_TRUE(has(s.got, "x-forwarded-proto: http\r\n"));
  EXPECT_FALSE(has(s.got, "x-hop"));
  s.say("HTTP/1.1 200 OK\r\nServer: app\r\nContent-Length: 5\r\n\r\nhello");
  EXPECT_TRUE(c.got.starts_with("HTTP/1.1 200 OK\r\n")) << c.got;
  EXPECT_TRUE(has(c.got, "server: envoy\r\n"));
  EXPECT_TRUE(has(c.got, "date: "));
  EXPECT_TRUE(has(c.got, "x-envoy-upstream-service-time: 0\r\n"));
  EXPECT_TRUE(c.got.ends_with("\r\n\r\nhello"));
  ASSERT_EQ(lines_.lines.size(), 1u);
  EXPECT_TRUE(has(lines_.lines[0], "\"GET /a?b=c HTTP/1.1\" 200 - via_upstream")) << lines_.lines[0];
  EXPECT_TRUE(has(lines_.lines[0], "outbound|80||shop.default.svc.cluster.local"));
}

TEST_F(Pump, KeepAlive_ReusesTheUpstreamConnection) {
  Peer& c = client();
  c.say(get("/1", "", "one"));
  Peer& s = server();
  s.say("HTTP/1.1 204 No Content\r\n\r\n");
  c.say(get("/2", "", "one") + get("/3", "", "one"));
  settle();
  EXPECT_EQ(dialer_.dialled.size(), 1u);
  EXPECT_TRUE(has(s.got, "GET /2"));
  EXPECT_FALSE(has(s.got, "GET /3")) << "one exchange at a time";
  s.say("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n2");
  EXPECT_TRUE(has(s.got, "GET /3"));
  s.say("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n3");
  EXPECT_TRUE(c.got.ends_with("\r\n\r\n3"));
  EXPECT_EQ(lines_.lines.size(), 3u);
}

TEST_F(Pump, ConnectRefused_GoesToAnotherEndpoint) {
  dialer_.refuse = 1;
  Peer& c = client();
  c.say(get("/"));
  worker_.advance(1s);   // the back-off
  Peer& s = server();
  ASSERT_EQ(dialer_.dialled.size(), 2u);
  EXPECT_NE(dialer_.dialled[0], dialer_.dialled[1]);
  EXPECT_TRUE(has(s.got, "x-envoy-attempt-count: 2\r\n"));
  s.say("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
  EXPECT_TRUE(has(c.got, "200 OK"));
}

TEST_F(Pump, ConnectRefusedEverywhere_503_URX_UF) {
  dialer_.refuse = 10;
  Peer& c = client();
  c.say(get("/"));
  for (int i = 0; i < 5; ++i) worker_.advance(1s);
  EXPECT_EQ(dialer_.dialled.size(), 3u) << "Istio's default: two retries";
  EXPECT_TRUE(c.got.starts_with("HTTP/1.1 503 ")) << c.got;
  EXPECT_TRUE(has(c.got, "retried and the latest reset reason: remote connection failure"));
  ASSERT_EQ(lines_.lines.size(), 1u);
  EXPECT_TRUE(has(lines_.lines[0], " 503 URX,UF ")) << lines_.lines[0];
}

std::string with_pool(const char* pool) {
  return std::string(kMesh) + "---\napiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {name: pools, namespace: default}\nspec: {host: \"*.local\", trafficPolicy: {connectionPool: " + pool + "}}\n";
}

TEST_F(Pump, MoreRetriesThanTheClusterMayHave_AreNone_503_UO_UF) {
  publish(with_pool("{http: {maxRetries: 1}}"));
  dialer_.refuse = 2;
  Peer& first = client();
  first.say(get("/1"));   // waits for its second try
  Peer& second = client();
  second.say(get("/2"));
  EXPECT_TRUE(second.got.starts_with("HTTP/1.1 503 ")) << second.got;
  EXPECT_TRUE(has(second.got, "reset reason: remote connection failure"));
  EXPECT_FALSE(has(second.got, "retried and the latest"));
  EXPECT_FALSE(has(second.got, "x-envoy-overloaded")) << "the failure's own answer";
  ASSERT_EQ(lines_.lines.size(), 1u);
  EXPECT_TRUE(has(lines_.lines[0], " 503 UO,UF ")) << lines_.lines[0];
  worker_.advance(1s);
  server().say("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n");
  EXPECT_TRUE(has(first.got, "200 OK")) << first.got;
  // Its answer has begun, so the place is free although the body is not there yet.
  dialer_.refuse = 1;
  Peer& third = client();
  third.say(get("/3"));
  worker_.advance(1s);
  server().say("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
  EXPECT_TRUE(has(third.got, "200 OK")) << third.got;
}

TEST_F(Pump, MoreRequestsThanTheClusterMayHave_503_UO) {
  publish(with_pool("{http: {http2MaxRequests: 1}}"));
  Peer& first = client();
  first.say(get("/1", "", "one"));
  Peer& s = server();
  Peer& second = client();
  second.say(get("/2", "", "one"));
  EXPECT_TRUE(second.got.starts_with("HTTP/1.1 503 ")) << second.got;
  EXPECT_TRUE(has(second.got, "x-envoy-overloaded: true\r\n"));
  EXPECT_TRUE(second.got.ends_with("reset reason: overflow"));
  EXPECT_TRUE(has(lines_.lines.at(0), " 503 UO ")) << lines_.lines[0];
  s.say("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
  second.say(get("/3", "", "one"));
  EXPECT_TRUE(has(s.got, "GET /3")) << s.got;
}

TEST_F(Pump, IdleConnectionDiesUnderARequest_OneSafeReplay) {
  Peer& c = client();
  c.say(get("/1", "", "one"));
  Peer& s = server();
  s.say("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
  c.say(get("/2", "", "one"));
  ASSERT_TRUE(has(s.got, "GET /2"));
  s.stream->shutdown_write();   // the server had closed when the request crossed it
  Peer& again = server();
  EXPECT_TRUE(has(again.got, "GET /2"));
  EXPECT_TRUE(has(again.got, "x-envoy-attempt-count: 1\r\n")) << "no retry of anybody's count";
  again.say("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
  EXPECT_TRUE(c.got.ends_with("ok"));
}

TEST_F(Pump, PostOnADyingConnection_IsNotRepeated) {
  Peer& c = client();
  c.say(get("/1", "", "one"));
  Peer& s = server();
  s.say("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
  c.say("POST /2 HTTP/1.1\r\nHost: one\r\nContent-Length: 2\r\n\r\nhi");
  s.stream->shutdown_write();
  settle();
  EXPECT_EQ(dialer_.dialled.size(), 1u);
  EXPECT_TRUE(has(c.got, "503 ")) << c.got;
  EXPECT_TRUE(has(lines_.lines.back(), " 503 UC ")) << lines_.lines.back();
}

TEST_F(Pump, ClientLeavesWhileUpstreamThinks_RequestIsCancelled_DC) {
  Peer& c = client();
  c.say(get("/"));
  Peer& s = server();
  c.stream->reset();
  settle();
  EXPECT_TRUE(s.ended);
  ASSERT_EQ(lines_.lines.size(), 1u);
  EXPECT_TRUE(has(lines_.lines[0], " 0 DC downstream_remote_disconnect")) << lines_.lines[0];
}

TEST_F(Pump, ClientShutsDownItsSendingSide_StillGetsItsAnswer) {
  Peer& c = client();
  c.say(get("/"));
  Peer& s = server();
  c.stream->shutdown_write();
  worker_.advance(400ms);
  s.say("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
  EXPECT_TRUE(c.got.ends_with("ok")) << c.got;
}

// 500 ms without a byte are what makes it gone, not 500 ms of an answer that is under way.
TEST_F(Pump, ClientShutsDownItsSendingSide_GetsAnAnswerThatComesSlowly) {
  Peer& c = client();
  c.say(get("/"));
  Peer& s = server();
  c.stream->shutdown_write();
  worker_.advance(400ms);
  s.say("HTTP/1.1 103 Early Hints\r\n\r\n");
  worker_.advance(400ms);
  s.say("HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n");
  for (int i = 0; i < 20; ++i) {
    worker_.advance(400ms);
    s.say("x");
  }
  EXPECT_TRUE(c.got.ends_with(std::string(20, 'x'))) << c.got;
  EXPECT_TRUE(has(lines_.lines.at(0), " 200 - ")) << lines_.lines[0];

  Peer& stuck = client();
  stuck.say(get("/"));
  stuck.stream->shutdown_write();
  s.say("HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\nx");
  worker_.advance(499ms);
  ASSERT_EQ(lines_.lines.size(), 1u);
  worker_.advance(1ms);
  EXPECT_TRUE(has(lines_.lines.back(), " 200 DC ")) << lines_.lines.back();
}

TEST_F(Pump, ClientShutsDownItsSendingSide_MayReadSlowly) {
  Peer* s = nullptr;
  for (const bool stops : {false, true}) {
    Peer& c = silent_client(80, "10.96.0.9", 4096);
    c.say(get("/"));
    if (!s) s = &server();   // kept for the second request
    s->say("HTTP/1.1 200 OK\r\nContent-Length: 60000\r\n\r\n" + std::string(60'000, 'x'));
    c.stream->shutdown_write();
    settle();
    size_t got = 0;
    for (size_t sip; got < 30'000 && (sip = c.sip()) > 0; got += sip) worker_.advance(400ms);
    if (stops) worker_.advance(1s);
    for (size_t sip; (sip = c.sip()) > 0; got += sip) worker_.advance(400ms);
    EXPECT_EQ(got > 60'000, !stops);
    EXPECT_TRUE(has(lines_.lines.back(), stops ? " 200 DC " : " 200 - ")) << lines_.lines.back();
  }
}

// The last of its body is stuck on the way to upstream, which answers already.
TEST_F(Pump, ClientShutsDownItsSendingSide_EarlyAnswerComesSlowly) {
  dialer_.capacity = 4096;
  Peer& c = client();
  c.say("POST /u HTTP/1.1\r\nHost: shop\r\nContent-Length: 20000\r\n\r\n" + std::string(20'000, 'u'));
  Peer& s = accept();   // reads nothing
  c.stream->shutdown_write();
  s.say("HTTP/1.1 413 Content Too Large\r\nContent-Length: 10\r\n\r\n");
  for (int i = 0; i < 10; ++i) {
    worker_.advance(400ms);
    s.say("x");
  }
  EXPECT_TRUE(c.got.ends_with("\r\n\r\nxxxxxxxxxx")) << c.got;
  EXPECT_TRUE(has(lines_.lines.at(0), " 413 - ")) << lines_.lines[0];
}

TEST_F(Pump, NobodyAnswersInTime_504_UT) {
  Peer& c = client();
  c.say(get("/slow"));
  Peer& s = server();
  worker_.advance(1999ms);
  EXPECT_EQ(c.got, "");
  worker_.advance(2ms);
  EXPECT_TRUE(c.got.starts_with("HTTP/1.1 504 ")) << c.got;
  EXPECT_TRUE(has(c.got, "upstream request timeout"));
  EXPECT_TRUE(has(lines_.lines.at(0), " 504 UT response_timeout"));
  EXPECT_TRUE(s.ended) << "the upstream request is cancelled";
}

TEST_F(Pump, TimeLimit_CoversConnecting) {
  dialer_.silent = true;
  Peer& c = client();
  c.say(get("/slow"));
  worker_.advance(2001ms);
  EXPECT_TRUE(c.got.starts_with("HTTP/1.1 504 ")) << c.got;
  EXPECT_TRUE(has(lines_.lines.at(0), " 504 UT response_timeout")) << lines_.lines[0];
}

TEST_F(Pump, TimeLimit_EndsAnAnswerNobodyReads) {
  auto [ours, theirs] = net::mem_pipe(worker_, {.capacity = 1024, .a_address = {}, .b_address = {}, .original_dst = {{*base::Ip::parse("10.96.0.9"), 80}, true}});
  clients_.push_back(std::make_unique<Peer>(worker_, std::move(theirs)));   // never listens
  worker_.spawn(serve_outbound(worker_, std::move(ours), nullptr));
  clients_.back()->say(get("/slow"));
  Peer& s = server();
  s.say("HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n" + std::string(100'000, 'x'));
  worker_.advance(2001ms);
  ASSERT_EQ(lines_.lines.size(), 1u);
  EXPECT_TRUE(has(lines_.lines[0], " 200 UT ")) << lines_.lines[0];
  EXPECT_TRUE(s.ended);
}

TEST_F(Pump, ClientLeavesWhileUpstreamTakesNothing_DC) {
  dialer_.capacity = 4096;
  Peer& c = client();
  c.say("POST /u HTTP/1.1\r\nHost: shop\r\nContent-Length: 1000000\r\n\r\n" + std::string(30'000, 'x'));
  ASSERT_EQ(dialer_.servers.size(), 1u);
  c.stream->reset();
  settle();
  worker_.advance(1s);
  ASSERT_EQ(lines_.lines.size(), 1u);
  EXPECT_TRUE(has(lines_.lines[0], " 0 DC downstream_remote_disconnect")) << lines_.lines[0];
}

TEST_F(Pump, ClientEndsInsideItsBody_DC) {
  Peer& c = client();
  c.say("POST /u HTTP/1.1\r\nHost: shop\r\nContent-Length: 10\r\n\r\nabc");
  Peer& s = server();
  c.stream->shutdown_write();
  settle();
  EXPECT_TRUE(s.ended);
  ASSERT_EQ(lines_.lines.size(), 1u);
  EXPECT_TRUE(has(lines_.lines[0], " 0 DC downstream_remote_disconnect")) << lines_.lines[0];
}

TEST_F(Pump, ServiceGoesWhileARequestWaits_NothingIsTouchedAfterwards) {
  Peer& c = client();
  c.say(get("/1", "", "one"));
  Peer& s = server();
  s.say("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
  c.say(get("/2", "", "one"));
  std::string without(kMesh);
  const auto begin = without.find("---\napiVersion: v1\nkind: Service\nmetadata: {name: one,");
  without.erase(begin, without.find("---", begin + 4) - begin);
  publish(without);
  s.stream->shutdown_write();
  settle();
  EXPECT_TRUE(has(c.got, "HTTP/1.1 503 ")) << c.got;
}

TEST_F(Pump, ConfigurationChangesWhileAClientThinks_BytesGoWhereItDialled) {
  Peer& c = client(91);
  std::string more(kMesh);
  for (int i = 0; i < 5; ++i)   // services that come first in every order: all numbers move
    more = "apiVersion: v1\nkind: Service\nmetadata: {name: aa" + std::to_string(i) + ", namespace: default}\nspec: {clusterIP: 10.96.1." +
           std::to_string(i + 1) + ", ports: [{name: http, port: 80}, {name: tcp-x, port: 90}]}\n---\n" + more;
  publish(more);
  c.say("\x01\x02 no http at all\r\n");
  worker_.advance(6ms);
  Peer& s = server();
  EXPECT_EQ(s.got, "\x01\x02 no http at all\r\n");
  EXPECT_EQ(dialer_.dialled.back().port, 91);
}

TEST_F(Pump, LocalReplies_SpeakIstio) {
  Peer& c = client();
  c.say(get("/nosubset"));
  EXPECT_TRUE(c.got.starts_with("HTTP/1.1 503 ")) << c.got;
  EXPECT_TRUE(has(lines_.lines.at(0), " 503 NC cluster_not_found")) << lines_.lines[0];
  Peer& e = client(80, "10.96.0.8");
  e.say("GET / HTTP/1.1\r\nHost: empty\r\n\r\n");
  EXPECT_TRUE(e.got.ends_with("no healthy upstream")) << e.got;
  EXPECT_TRUE(has(lines_.lines.at(1), " 503 UH no_healthy_upstream")) << lines_.lines[1];
}

TEST_F(Pump, RefusedHead_One400_AndClosed) {
  Peer& c = client();
  c.say("GET / HTTP/1.1\r\nHost: shop\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n");
  EXPECT_TRUE(c.got.starts_with("HTTP/1.1 400 ")) << c.got;
  EXPECT_TRUE(has(c.got, "connection: close\r\n"));
  EXPECT_TRUE(dialer_.dialled.empty());
  ASSERT_EQ(lines_.lines.size(), 1u);
  EXPECT_TRUE(has(lines_.lines[0], " 400 DPE http1."));
}

TEST_F(Pump, UploadIsStreamed_AndChunksArriveWhole) {
  Peer& c = client();
  c.say("POST /u HTTP/1.1\r\nHost: shop\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n");
  Peer& s = server();
  EXPECT_TRUE(has(s.got, "transfer-encoding: chunked\r\n"));
  EXPECT_TRUE(has(s.got, "abc"));
  c.say("4\r\ndefg\r\n0\r\n\r\n");
  EXPECT_TRUE(s.got.ends_with("0\r\n\r\n")) << s.got;
  s.say("HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n");
  EXPECT_TRUE(has(c.got, "201 Created"));
}

TEST_F(Pump, EarlyAnswerToAnUnfinishedUpload_IsDeliveredAndCloses) {
  Peer& c = client();
  c.say("POST /u HTTP/1.1\r\nHost: shop\r\nContent-Length: 1000\r\n\r\nabc");
  Peer& s = server();
  s.say("HTTP/1.1 413 Content Too Large\r\nContent-Length: 3\r\n\r\nbig");
  EXPECT_TRUE(c.got.ends_with("big")) << c.got;
  EXPECT_TRUE(has(c.got, "connection: close\r\n"));
  EXPECT_TRUE(has(lines_.lines.at(0), " 413 "));
}

TEST_F(Pump, AnswerThatBreaksOff_IsNeverCompleted) {
  Peer& c = client();
  c.say(get("/"));
  Peer& s = server();
  s.say("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n");
  s.stream->reset();
  settle();
  EXPECT_TRUE(has(c.got, "hello"));
  EXPECT_FALSE(c.got.ends_with("0\r\n\r\n")) << c.got;
  EXPECT_TRUE(c.ended);
  EXPECT_TRUE(has(lines_.lines.at(0), " 200 UC upstream_reset_after_response_started")) << lines_.lines[0];
}

TEST_F(Pump, UploadThatBreaksOff_IsNeverCompletedUpstream) {
  Peer& c = client();
  c.say("POST /u HTTP/1.1\r\nHost: shop\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nxyz");
  Peer& s = server();
  settle();
  EXPECT_FALSE(has(s.got, "0\r\n\r\n")) << s.got;
  EXPECT_TRUE(s.ended);
  EXPECT_TRUE(has(c.got, "400 Bad Request")) << c.got;
}

TEST_F(Pump, Continue_IsRelayed) {
  Peer& c = client();
  c.say("POST /u HTTP/1.1\r\nHost: shop\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n");
  Peer& s = server();
  EXPECT_TRUE(has(s.got, "expect: 100-continue\r\n"));
  s.say("HTTP/1.1 100 Continue\r\n\r\n");
  EXPECT_TRUE(c.got.starts_with("HTTP/1.1 100 Continue\r\n")) << c.got;
  c.say("hi");
  EXPECT_TRUE(s.got.ends_with("hi"));
  s.say("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
  EXPECT_TRUE(has(c.got, "200 OK"));
}

TEST_F(Pump, Websocket_BecomesATunnelThatSurvivesASwap) {
  Peer& c = client();
  c.say(get("/ws", "Connection: Upgrade\r\nUpgrade: websocket\r\n"));
  Peer& s = server();
  EXPECT_TRUE(has(s.got, "upgrade: websocket\r\n")) << s.got;
  s.say("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nfirst");
  EXPECT_TRUE(c.got.ends_with("first")) << c.got;
  publish(kMesh);
  c.say("ping");
  EXPECT_TRUE(s.got.ends_with("ping")) << s.got;
  s.say("pong");
  EXPECT_TRUE(c.got.ends_with("pong"));
  s.stream->shutdown_write();
  c.stream->shutdown_write();
  settle();
  EXPECT_TRUE(c.ended);
  EXPECT_TRUE(has(lines_.lines.at(0), " 101 "));
}

TEST_F(Pump, Websocket_BreakOfEitherSide_EndsBoth) {
  for (const bool server_breaks : {true, false}) {
    Peer& c = client();
    c.say(get("/ws", "Connection: Upgrade\r\nUpgrade: websocket\r\n"));
    Peer& s = server();
    s.say("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n");
    (server_breaks ? s : c).stream->reset();
    settle();
    EXPECT_TRUE(c.ended);
    EXPECT_TRUE(s.ended);
  }
  EXPECT_EQ(lines_.lines.size(), 2u);
}

constexpr std::string_view kSwitching = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";

TEST_F(Pump, Websocket_ResetBehindAFin_EndsBothSides) {
  for (const bool client_goes : {true, false}) {
    Peer& c = client();
    c.say(get("/ws", "Connection: Upgrade\r\nUpgrade: websocket\r\n"));
    Peer& s = server();
    s.say(std::string(kSwitching));
    reset_behind_a_fin(client_goes ? c : s, client_goes ? s : c);
    EXPECT_TRUE(has(lines_.lines.back(), client_goes ? " 101 DC downstream_remote_disconnect " : " 101 - via_upstream ")) << lines_.lines.back();
  }
  EXPECT_EQ(lines_.lines.size(), 2u);
}

TEST_F(Pump, Websocket_ClientResets_UpstreamDoesNotTakeItForAnEnd) {
  Peer& c = client();
  c.say(get("/ws", "Connection: Upgrade\r\nUpgrade: websocket\r\n"));
  Peer& s = server();
  s.say(std::string(kSwitching));
  c.stream->reset();
  settle();
  EXPECT_TRUE(s.broken);
  EXPECT_TRUE(has(lines_.lines.at(0), " 101 DC ")) << lines_.lines[0];
}

TEST_F(Pump, Websocket_UpstreamsResetBehindItsFin_DestroysNothingThatWasWhole) {
  Peer& c = silent_client();
  c.say(get("/ws", "Connection: Upgrade\r\nUpgrade: websocket\r\n"));
  Peer& s = server();
  s.say(std::string(kSwitching) + "the whole answer");
  s.stream->shutdown_write();
  settle();
  s.stream->reset();
  settle();
  EXPECT_EQ(worker_.tasks(), 0u);
  c.listen();
  settle();
  EXPECT_TRUE(c.got.ends_with("the whole answer")) << c.got;
  EXPECT_TRUE(c.ended && !c.broken);
}

// A client that closed its socket behind its FIN says no word of it. Streams have no idle time here, so that of TCP bounds it.
TEST_F(Pump, Websocket_OneSideHasSaidAll_TheOtherMayBeSilentForAnHour) {
  for (const bool by_client : {true, false}) {
    Peer& c = client();
    c.say(get("/ws", "Connection: Upgrade\r\nUpgrade: websocket\r\n"));
    Peer& s = server();
    s.say(std::string(kSwitching));
    worker_.advance(3h);
    (by_client ? c : s).stream->shutdown_write();
    settle();
    Peer& talks = by_client ? s : c;
    for (int i = 0; i < 3; ++i) {
      worker_.advance(59min);
      talks.say("more");
    }
    EXPECT_TRUE((by_client ? c : s).got.ends_with("moremoremore"));
    worker_.advance(59min);
    EXPECT_EQ(worker_.tasks(), 1u);
    worker_.advance(1min);
    EXPECT_EQ(worker_.tasks(), 0u);
    EXPECT_TRUE(has(lines_.lines.back(), " 101 SI ")) << lines_.lines.back();
  }
  EXPECT_EQ(lines_.lines.size(), 2u);
}

class IdlePump : public Pump {
 protected:
  static Options limits() {
    Options options;
    options.limits.stream_idle = 10s;
    return options;
  }
  IdlePump() : Pump(limits()) {}
};

TEST_F(IdlePump, Websocket_ClientDoesNotTakeThe101) {
  for (const bool leaves : {true, false}) {
    Peer& c = silent_client(80, "10.96.0.9", 32);
    c.say(get("/ws", "Connection: Upgrade\r\nUpgrade: websocket\r\n"));
    settle();
    Peer& s = server();
    s.say(std::string(kSwitching));
    if (leaves) c.stream->reset();
    else worker_.advance(10s);
    settle();
    EXPECT_TRUE(s.ended);
    EXPECT_TRUE(has(lines_.lines.back(), leaves ? " 101 DC downstream_remote_disconnect " : " 101 SI stream_idle_timeout ")) << lines_.lines.back();
  }
  EXPECT_EQ(lines_.lines.size(), 2u);
}

TEST_F(Pump, EarlyAnswerWhileUpstreamReadsNothing_DoesNotHang) {
  dialer_.capacity = 4096;
  Peer& c = client();
  c.say("POST /u HTTP/1.1\r\nHost: shop\r\nContent-Length: 1000000\r\n\r\n" + std::string(200'000, 'x'));
  servers_.push_back(std::make_unique<Peer>(worker_, std::move(dialer_.servers.front().stream)));   // never reads
  dialer_.servers.pop_front();
  servers_.back()->say("HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n");
  EXPECT_TRUE(has(c.got, "401 Unauthorized")) << c.got;
  EXPECT_EQ(lines_.lines.size(), 1u);
}

TEST_F(Pump, ServerSentEvents_HeadDoesNotWaitForABody) {
  Peer& c = client();
  c.say(get("/events"));
  Peer& s = server();
  s.say("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n");
  EXPECT_TRUE(has(c.got, "text/event-stream")) << c.got;
}

TEST_F(Pump, SlowReader_StopsTheServer) {
  dialer_.capacity = 4096;
  Peer& c = client();
  c.say(get("/big"));
  Peer& s = server();
  const std::string megabyte(1 << 20, 'x');
  s.say("HTTP/1.1 200 OK\r\nContent-Length: 1048576\r\n\r\n" + megabyte);
  for (int i = 0; i < 3; ++i) settle();
  EXPECT_EQ(c.got.size() - c.got.find("\r\n\r\n") - 4, megabyte.size());
}

}  // namespace
}  // namespace proxy::in_memory
