#include <netinet/in.h>
#include <netinet/tcp.h>

#include <cerrno>

#include "net/socket_testing.h"
#include "proxy/ended_side.h"
#include "proxy/pump_harness.h"

namespace proxy::in_memory {
namespace {

TEST_F(Pump, Tcp_HalfCloseIsKept) {
  Peer& c = client(90);
  Peer& s = server();
  c.say("question");
  c.stream->shutdown_write();
  settle();
  EXPECT_EQ(s.got, "question");
  EXPECT_TRUE(s.ended);
  s.say("answer");
  s.stream->shutdown_write();
  settle();
  EXPECT_EQ(c.got, "answer");
  EXPECT_TRUE(c.ended);
  ASSERT_EQ(lines_.lines.size(), 1u);
  EXPECT_TRUE(has(lines_.lines[0], "outbound|90||shop.default.svc.cluster.local"));
}

TEST_F(Pump, Tcp_ResetTravelsOn) {
  Peer& c = client(90);
  Peer& s = server();
  c.say("x");
  s.stream->reset();
  settle();
  EXPECT_TRUE(c.ended);
  EXPECT_TRUE(c.broken);
}

TEST_F(Pump, Tcp_ResetBehindAFin_EndsBothSides) {
  for (const bool client_goes : {true, false}) {
    Peer& c = client(90);
    Peer& s = server();
    c.say("question");
    SCOPED_TRACE(client_goes ? "client" : "upstream");
    reset_behind_a_fin(client_goes ? c : s, client_goes ? s : c);
  }
  EXPECT_EQ(lines_.lines.size(), 2u);
}

TEST_F(Pump, Tcp_ResetBehindAFin_DestroysNothingThatWasWhole) {
  Peer& c = silent_client(90);
  Peer& s = server();
  s.say("the whole answer");
  s.stream->shutdown_write();
  settle();
  s.stream->reset();
  settle();
  EXPECT_EQ(worker_.tasks(), 0u);
  c.listen();
  settle();
  EXPECT_EQ(c.got, "the whole answer");
  EXPECT_TRUE(c.ended && !c.broken);
}

TEST_F(Pump, Tcp_DrainDeadline_EndsATunnelWhoseClientHasSaidAll) {
  Peer& c = client(90);
  Peer& s = server();
  c.stream->shutdown_write();
  settle();
  state_.cancel_all();
  settle();
  EXPECT_EQ(worker_.tasks(), 0u);
  EXPECT_TRUE(c.ended);
  EXPECT_TRUE(s.stream->got_reset());
}

TEST_F(Pump, Tcp_IdleEndOfAHalfClosedTunnel_IsNoReset) {
  publish(std::string(kMesh) + "---\napiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {name: shop, namespace: default}\nspec: {host: shop, trafficPolicy: {connectionPool: {tcp: {idleTimeout: 5s}}}}\n");
  for (const bool by_client : {true, false}) {
    Peer& c = client(90);
    Peer& s = server();
    (by_client ? c : s).stream->shutdown_write();
    worker_.advance(4s);
    EXPECT_EQ(worker_.tasks(), 1u);
    worker_.advance(1s);
    EXPECT_EQ(worker_.tasks(), 0u);
    EXPECT_TRUE(c.ended && s.ended);
    EXPECT_FALSE(c.broken || s.broken);
  }
}

// What the kernel tells of a peer that has sent its FIN: an RST at once; a socket that was closed behind the FIN is silent, until
// the orphan is forgotten there and a keepalive probe is answered with an RST.
TEST(EndedSide, PeerGoesBehindItsFin_TheOtherSideIsReset) {
  for (const bool says_so : {true, false}) {
    net::Worker worker({});
    net::testing::TcpPair ended(worker), other(worker);
    const int peer = ended.connected->raw_fd();
    const int one = 1;
    if (!says_so) {
      for (const int option : {TCP_KEEPIDLE, TCP_KEEPINTVL})
        ASSERT_EQ(::setsockopt(ended.accepted->raw_fd(), IPPROTO_TCP, option, &one, sizeof one), 0);
      ASSERT_EQ(::setsockopt(peer, IPPROTO_TCP, TCP_LINGER2, &one, sizeof one), 0);
    }
    ended.connected->shutdown_write();
    net::testing::Reading nothing, rest;
    worker.spawn(net::testing::read_all(*ended.accepted, nothing));
    net::testing::run_to_the_end(worker);
    ASSERT_TRUE(nothing.end && nothing.bytes.empty());
    const net::testing::Target tunnel(worker);
    const EndedSide watched(*ended.accepted, *other.accepted, tunnel, {.code = base::Code::kReset});
    worker.spawn(net::testing::read_all(*other.accepted, rest));   // the copy of the other direction
    worker.poll();
    ASSERT_FALSE(rest.over);
    if (says_so) ended.connected->reset();
    else ended.connected = nullptr;
    net::testing::run_to_the_end(worker);
    EXPECT_FALSE(rest.end);
    worker.spawn(net::testing::read_all(*other.connected, rest));
    net::testing::run_to_the_end(worker);
    EXPECT_EQ(rest.end.error().sys, ECONNRESET);
  }
}

TEST_F(Pump, Tcp_ConnectionPoolBoundsTunnels) {
  const auto with = [](const char* tcp) {
    return std::string(kMesh) + "---\napiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {name: shop, namespace: default}\nspec: {host: shop, trafficPolicy: {connectionPool: {tcp: " + tcp + "}}}\n";
  };
  publish(with("{maxConnections: 1, idleTimeout: 5s}"));
  Peer& first = client(90);
  Peer& s = server();
  Peer& second = client(90);
  EXPECT_TRUE(second.ended);
  EXPECT_TRUE(has(lines_.lines.at(0), " UO ")) << lines_.lines[0];
  worker_.advance(4s);
  s.say("x");
  worker_.advance(4s);
  EXPECT_FALSE(first.ended) << "a byte in either direction counts";
  worker_.advance(2s);
  EXPECT_TRUE(first.ended);
  publish(with("{maxConnectionDuration: 7s, idleTimeout: 0s}"));
  Peer& third = client(90);
  Peer& t = server();
  worker_.advance(6s);
  t.say("x");
  EXPECT_FALSE(third.ended);
  worker_.advance(2s);
  EXPECT_TRUE(third.ended);
  EXPECT_TRUE(has(lines_.lines.back(), " DT ")) << lines_.lines.back();
}

TEST_F(Pump, Tcp_ReaderIsSlowButSteady_IsNotIdle) {
  publish(std::string(kMesh) + "---\napiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {name: shop, namespace: default}\nspec: {host: shop, trafficPolicy: {connectionPool: {tcp: {idleTimeout: 5s}}}}\n");
  Peer& c = silent_client(90, "10.96.0.9", 4096);
  server().say(std::string(60'000, 'x'));
  size_t got = 0;
  for (size_t sip; (sip = c.sip()) > 0; got += sip) worker_.advance(4s);
  EXPECT_EQ(got, 60'000u);
}

// A dial may hang for the whole connect timeout; the client's end and the drain deadline must not wait for it.
TEST_F(Pump, Tcp_DialHangs_ClientsResetAndDrainDeadlineEndIt) {
  dialer_.silent = true;
  for (const uint16_t port : {uint16_t{90}, uint16_t{91}}) {   // declared TCP; undeclared, where we dial early
    for (const bool drain : {false, true}) {
      Peer& c = client(port);
      worker_.advance(6ms);
      ASSERT_EQ(dialer_.waiting.size(), 1u);
      if (drain) state_.cancel_all();
      else c.stream->reset();
      settle();
      EXPECT_TRUE(dialer_.waiting.empty()) << port;
      EXPECT_EQ(worker_.tasks(), 0u);
      EXPECT_TRUE(c.ended);
    }
  }
  Peer& half = client(90);
  half.say("question");
  half.stream->shutdown_write();
  worker_.advance(5s);
  ASSERT_EQ(dialer_.waiting.size(), 1u) << "a half-closed client waits for its answer";
  dialer_.accept_waiting();
  EXPECT_EQ(server().got, "question");
}

TEST_F(Pump, UndeclaredPort_WhoeverSpeaksFirstDecides) {
  Peer& silent = client(91);
  EXPECT_TRUE(dialer_.dialled.empty()) << "no dial before the patience is over";
  worker_.advance(6ms);
  Peer& s = server();
  s.say("220 ready\r\n");
  EXPECT_EQ(silent.got, "220 ready\r\n");
  silent.say("HELO x\r\n");
  EXPECT_EQ(s.got, "HELO x\r\n");

  Peer& talker = client(91);
  talker.say("GET / HTTP/1.1\r\nHost: shop\r\n\r\n");
  Peer& web = server();
  EXPECT_TRUE(has(web.got, "x-request-id")) << "HTTP was recognised: " << web.got;
}

TEST_F(Pump, LateHttpClientOnAnUndeclaredPort_IsStillHttp) {
  Peer& c = client(91);
  worker_.advance(6ms);
  Peer& early = server();
  c.say("GET / HTTP/1.1\r\nHost: shop\r\n\r\n");
  settle();
  EXPECT_EQ(early.got, "") << "the early connection carries no raw bytes";
  Peer& web = server();
  EXPECT_TRUE(has(web.got, "x-request-id")) << web.got;
}

}  // namespace
}  // namespace proxy::in_memory
