#include <cerrno>

#include "proxy/pump_harness.h"

namespace proxy::in_memory {
namespace {

TEST_F(Pump, MemoryRunsOut_503_OM_AndIdleConnectionsClose) {
  Peer& idle = client();
  idle.say(get("/before"));
  server().say("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
  Peer& silent = client();
  Peer& busy = client();
  busy.say(get("/slowly", "", "one"));
  Peer& s = server();
  const auto dialled = dialer_.dialled.size();
  state_.shed(true);
  settle();
  EXPECT_TRUE(idle.ended);
  EXPECT_TRUE(silent.ended);
  EXPECT_FALSE(busy.ended) << "what is served already goes on";
  s.say("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
  EXPECT_TRUE(busy.got.ends_with("ok")) << busy.got;
  Peer& refused = client();
  refused.say(get("/"));
  EXPECT_TRUE(refused.got.starts_with("HTTP/1.1 503 ")) << refused.got;
  EXPECT_TRUE(has(refused.got, "connection: close\r\n"));
  EXPECT_TRUE(refused.got.ends_with("\r\n\r\nenvoy overloaded"));
  EXPECT_TRUE(has(lines_.lines.back(), " 503 OM overload ")) << lines_.lines.back();
  EXPECT_EQ(limit_reached("memory"), 1u);
  Peer& tcp = client(90);
  tcp.say("x");
  EXPECT_TRUE(tcp.ended);
  EXPECT_EQ(dialer_.dialled.size(), dialled);
  state_.shed(false);
  Peer& welcome = client();
  welcome.say(get("/", "", "one"));   // one endpoint, so one kept connection
  s.say("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
  EXPECT_TRUE(has(welcome.got, "200 OK"));
}

TEST_F(Pump, NoDescriptorIsLeftForUpstream_CountsAsALimit) {
  dialer_.refuse = 4;
  Peer& refused = client();
  refused.say(get("/"));
  worker_.advance(1s);
  EXPECT_TRUE(refused.got.starts_with("HTTP/1.1 503 ")) << refused.got;
  EXPECT_EQ(limit_reached("descriptors"), 0u) << "somebody else's refusal is no limit of ours";
  dialer_.refusal.sys = EMFILE;
  dialer_.refuse = 4;
  Peer& starved = client();
  starved.say(get("/"));
  worker_.advance(1s);
  Peer& tcp = client(90);
  tcp.say("x");
  worker_.advance(1s);
  EXPECT_TRUE(tcp.ended || tcp.broken);
  EXPECT_EQ(limit_reached("descriptors"), 4u);
  EXPECT_TRUE(has(lines_.lines.back(), " UF")) << lines_.lines.back();
}

class LimitedPump : public Pump {
 protected:
  static Options limits() {
    Options options;
    options.limits.stream_idle = 10s;
    options.limits.pending_requests = 2;
    options.limits.worker_connections = 3;
    options.limits.http.fields = 5;
    options.limits.http.body_idle_time = 20s;
    return options;
  }
  LimitedPump() : Pump(limits()) {}
};

TEST_F(LimitedPump, UpstreamThinksTooLong_504_SI) {
  Peer& c = client();
  c.say(get("/"));
  Peer& s = server();
  worker_.advance(9s);
  EXPECT_EQ(c.got, "");
  worker_.advance(1s);
  EXPECT_TRUE(c.got.starts_with("HTTP/1.1 504 ")) << c.got;
  EXPECT_TRUE(c.got.ends_with("stream timeout"));
  EXPECT_TRUE(s.ended);
  EXPECT_TRUE(has(lines_.lines.back(), " 504 SI stream_idle_timeout")) << lines_.lines.back();
  EXPECT_EQ(limit_reached("stream_idle"), 1u);
}

TEST_F(LimitedPump, UploadStandsStill_408_SI) {
  Peer& c = client();
  c.say("POST / HTTP/1.1\r\nHost: shop\r\nContent-Length: 10\r\n\r\nabc");
  Peer& s = server();
  worker_.advance(8s);
  c.say("de");
  worker_.advance(9s);
  EXPECT_EQ(c.got, "") << "each piece begins the time anew";
  worker_.advance(1s);
  EXPECT_TRUE(c.got.starts_with("HTTP/1.1 408 ")) << c.got;
  EXPECT_TRUE(s.ended);
  EXPECT_TRUE(has(lines_.lines.back(), " 408 SI stream_idle_timeout")) << lines_.lines.back();
}

TEST_F(LimitedPump, AnswerStandsStill_IsCut_SI) {
  Peer& c = client();
  c.say(get("/"));
  Peer& s = server();
  s.say("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc");
  worker_.advance(9s);
  s.say("de");
  worker_.advance(9s);
  EXPECT_FALSE(c.ended);
  worker_.advance(1s);
  EXPECT_TRUE(c.ended);
  EXPECT_TRUE(has(lines_.lines.back(), " 200 SI stream_idle_timeout")) << lines_.lines.back();
}

// One piece of the body, and with a pipe that is a mebibyte, may take the reader much longer than the limit.
TEST_F(LimitedPump, ReaderIsSlowButSteady_GetsEverything) {
  Peer& c = silent_client(80, "10.96.0.9", 4096);
  c.say(get("/"));
  const std::string head = "HTTP/1.1 200 OK\r\nContent-Length: 60000\r\n\r\n";
  server().say(head + std::string(60'000, 'x'));
  size_t got = 0;
  for (size_t sip; (sip = c.sip()) > 0; got += sip) worker_.advance(9s);
  EXPECT_GT(got, 60'000u);
  EXPECT_TRUE(has(lines_.lines.at(0), " 200 - ")) << lines_.lines[0];
}

TEST_F(LimitedPump, ReaderStops_IsCutInTime_SI) {
  Peer& c = silent_client(80, "10.96.0.9", 4096);
  c.say(get("/"));
  server().say("HTTP/1.1 200 OK\r\nContent-Length: 60000\r\n\r\n" + std::string(60'000, 'x'));
  for (int i = 0; i < 3; ++i) {
    worker_.advance(9s);
    c.sip();
  }
  worker_.advance(9s);
  EXPECT_TRUE(lines_.lines.empty());
  worker_.advance(1s);
  EXPECT_TRUE(has(lines_.lines.at(0), " 200 SI ")) << lines_.lines[0];
}

// 404, 403, 503, 431: no upstream is there whose time could run out.
TEST_F(LimitedPump, OurOwnAnswerIsNotRead_ConnectionIsReset_SI) {
  Peer& c = silent_client(80, "10.96.0.9", 32);
  c.say(get("/nosubset"));
  for (int i = 0; i < 2; ++i) {
    worker_.advance(9s);
    EXPECT_EQ(c.sip(), 32u);
  }
  worker_.advance(9s);
  EXPECT_TRUE(lines_.lines.empty()) << "it has read some";
  worker_.advance(1s);
  EXPECT_TRUE(c.stream->peer_gone());
  ASSERT_EQ(lines_.lines.size(), 1u);
  EXPECT_TRUE(has(lines_.lines[0], " 503 NC,SI ")) << lines_.lines[0];
  EXPECT_EQ(limit_reached("stream_idle"), 1u);
}

TEST_F(Pump, OurOwnAnswerIsNotRead_EndsAsAnIdleConnectionWould) {
  Peer& c = silent_client(80, "10.96.0.9", 64);
  c.say(get("/nosubset"));
  worker_.advance(1h - 1ms);
  EXPECT_FALSE(c.stream->peer_gone());
  worker_.advance(1ms);
  EXPECT_TRUE(c.stream->peer_gone());
}

TEST_F(LimitedPump, InterimAnswerIsNotRead_ConnectionIsReset_SI) {
  Peer& c = silent_client(80, "10.96.0.9", 64);
  c.say(get("/"));
  Peer& s = server();
  s.say("HTTP/1.1 103 Early Hints\r\nLink: " + std::string(200, 'x') + "\r\n\r\n");
  worker_.advance(10s);
  EXPECT_TRUE(c.stream->peer_gone());
  EXPECT_TRUE(s.ended);
  ASSERT_EQ(lines_.lines.size(), 1u);
  EXPECT_TRUE(has(lines_.lines[0], " 0 SI ")) << lines_.lines[0];
}

TEST_F(LimitedPump, TunnelStandsStill_BothSidesEnd_SI) {
  Peer& c = client();
  c.say(get("/ws", "Connection: upgrade\r\nUpgrade: websocket\r\n"));
  Peer& s = server();
  s.say("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n");
  for (int i = 0; i < 3; ++i) {
    worker_.advance(8s);
    c.say("ping");
    s.say("pong");
  }
  EXPECT_TRUE(s.got.ends_with("pingpingping"));
  EXPECT_FALSE(c.ended);
  worker_.advance(10s);
  EXPECT_TRUE(c.ended);
  EXPECT_TRUE(s.ended);
  EXPECT_TRUE(has(lines_.lines.back(), " 101 SI ")) << lines_.lines.back();
}

TEST_F(LimitedPump, AnswerHasBegun_UploadIsInNoHurry) {
  Peer& c = client();
  c.say("POST / HTTP/1.1\r\nHost: shop\r\nContent-Length: 10\r\n\r\nabc");
  Peer& s = server();
  s.say("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nx");
  for (int i = 0; i < 4; ++i) {
    worker_.advance(9s);
    s.say("x");
  }
  EXPECT_TRUE(c.got.ends_with("xxxxx")) << c.got;
}

TEST_F(LimitedPump, TooManyWaitForUpstream_503_UO) {
  state_.pending = 2;   // as requests to endpoints that do not answer the dial
  Peer& c = client();
  c.say(get("/"));
  EXPECT_TRUE(c.got.starts_with("HTTP/1.1 503 ")) << c.got;
  EXPECT_TRUE(has(c.got, "x-envoy-overloaded: true\r\n"));
  EXPECT_TRUE(has(lines_.lines.back(), " 503 UO ")) << lines_.lines.back();
  EXPECT_EQ(limit_reached("pending_requests"), 1u);
  EXPECT_TRUE(dialer_.dialled.empty());
  state_.pending = 1;
  c.say(get("/"));
  server().say("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
  EXPECT_TRUE(has(c.got, "200 OK"));
  EXPECT_EQ(state_.pending, 1u) << "the place is given back";
}

TEST_F(LimitedPump, MoreConnectionsThanAWorkerMayHave_AreClosed) {
  for (int i = 0; i < 3; ++i) client();
  Peer& more = client();
  EXPECT_TRUE(more.ended);
  EXPECT_EQ(limit_reached("worker_connections"), 1u);
  clients_[0]->stream->reset();
  settle();
  Peer& again = client();
  EXPECT_FALSE(again.ended);
}

TEST_F(LimitedPump, TooManyFields_431_Counted) {
  Peer& c = client();
  c.say(get("/", "A: 1\r\nB: 2\r\nC: 3\r\nD: 4\r\nE: 5\r\n"));
  EXPECT_TRUE(c.got.starts_with("HTTP/1.1 431 ")) << c.got;
  EXPECT_EQ(limit_reached("header_fields"), 1u);
}

TEST_F(Pump, Draining_IdleConnectionIsServedOnce_AndAnnouncesItsEnd) {
  publish(std::string(kMesh) + R"(
---
apiVersion: v1
kind: Service
metadata: {name: me, namespace: default}
spec: {clusterIP: 10.96.0.6, selector: {app: me}, ports: [{name: http, port: 8080}]}
)");
  Peer& idle = inbound_client();
  Peer& busy = inbound_client();
  busy.say(get("/busy"));
  Peer& s = server();
  state_.begin_drain();
  settle();
  EXPECT_FALSE(idle.ended) << "a request may be on its way";
  s.say("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
  EXPECT_TRUE(has(busy.got, "connection: close\r\n")) << busy.got;
  idle.say(get("/late"));
  EXPECT_TRUE(has(s.got, "GET /late"));
  s.say("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
  EXPECT_TRUE(has(idle.got, "connection: close\r\n")) << idle.got;
  Peer& rest = inbound_client();
  state_.close_idle();
  settle();
  EXPECT_TRUE(rest.ended);
}

}  // namespace
}  // namespace proxy::in_memory
