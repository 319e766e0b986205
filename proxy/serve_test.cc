#include "proxy/pump_harness.h"

// What becomes of a connection's first bytes. Port 80 is declared HTTP, port 91 undeclared, and so is the inbound one.
namespace proxy::in_memory {
namespace {

constexpr uint16_t kDeclared = 80, kUndeclared = 91;

class FirstBytesServed : public Pump {
 protected:
  static Options limits() {
    Options options;
    options.limits.http.head_time = 2s;
    options.limits.http.idle_time = 3s;
    return options;
  }
  FirstBytesServed() : Pump(limits()) {}
  static std::string long_get(size_t target) { return "GET /" + std::string(target - 1, 'a') + " HTTP/1.1\r\nHost: shop\r\n\r\n"; }
};

TEST_F(FirstBytesServed, EmptyLinesInFront_AreHttp) {
  for (Peer* c : {&client(kDeclared), &client(kUndeclared), &inbound_client()}) {
    c->say("\r\n");
    c->say("\r");
    c->say("\nGE");
    c->say("T /secret HTTP/1.1\r\nHost: shop\r\n\r\n");
    Peer& s = server();
    EXPECT_TRUE(s.got.starts_with("GET /secret HTTP/1.1\r\n")) << s.got;
    EXPECT_TRUE(has(s.got, "x-request-id")) << s.got;
  }
}

TEST_F(FirstBytesServed, WhatOnlyOthersWouldServe_400_NeverRawBytes) {
  std::string many;
  for (int i = 0; i < 40; ++i) many += "\r\n";
  for (const std::string& head : {std::string("\nGET / HTTP/1.1"), std::string("\rGET / HTTP/1.1"), std::string("GET  / HTTP/1.1"),
                                  std::string("GET\t/ HTTP/1.1"), many + "GET / HTTP/1.1"})
    for (Peer* c : {&client(kDeclared), &client(kUndeclared), &inbound_client()}) {
      c->say(head + "\r\nHost: shop\r\n\r\n");
      EXPECT_TRUE(c->got.starts_with("HTTP/1.1 400 ")) << head << ": " << c->got;
      EXPECT_TRUE(has(lines_.lines.back(), " 400 DPE ")) << lines_.lines.back();
    }
  EXPECT_TRUE(dialer_.dialled.empty());
}

TEST_F(FirstBytesServed, LongRequestLine_IsHttpInAnyPieces) {
  for (const size_t target : {5'000u, 9'000u, 50'000u})
    for (Peer* c : {&client(kUndeclared), &inbound_client()}) {
      const std::string text = long_get(target);
      for (size_t at = 0; at < text.size(); at += 999) c->say(text.substr(at, 999));
      EXPECT_TRUE(has(server().got, "x-request-id")) << target;
    }
  const auto dialled = dialer_.dialled.size();
  for (Peer* c : {&client(kUndeclared), &inbound_client()}) {
    c->say(long_get(70'000));
    EXPECT_TRUE(c->got.starts_with("HTTP/1.1 414 ")) << c->got;
  }
  EXPECT_EQ(dialer_.dialled.size(), dialled);
}

TEST_F(FirstBytesServed, HalfAHead_408_WhereItCanOnlyBeHttp) {
  uint64_t count = 0;
  const auto slow = [&](Peer& c, const char* text) {
    c.say(text);
    worker_.advance(1999ms);
    EXPECT_EQ(c.got, "") << text;
    worker_.advance(2ms);
    EXPECT_TRUE(c.got.starts_with("HTTP/1.1 408 ")) << text << ": " << c.got;
    EXPECT_EQ(limit_reached("header_time"), ++count);
    EXPECT_TRUE(has(lines_.lines.at(count - 1), " 408 ")) << lines_.lines.back();
    c.stream->shutdown_write();
    settle();
    EXPECT_TRUE(c.ended) << text;
  };
  for (const char* text : {"G", "GE", "GET", "GET ", "GET /", "\r\nGET", "PRI * HT"}) slow(client(kDeclared), text);
  for (const char* text : {"GET /", "\r\nPOST /a HTTP/1."}) {
    slow(client(kUndeclared), text);
    slow(inbound_client(), text);
  }
  EXPECT_TRUE(dialer_.dialled.empty());
}

// Progress does not prolong the time, also not where the codec takes over.
TEST_F(FirstBytesServed, TimeForTheHead_RunsFromItsFirstByte) {
  Peer& c = client(kDeclared);
  c.say("GE");
  worker_.advance(1500ms);
  c.say("T / HTTP/1.1\r\n");
  worker_.advance(499ms);
  EXPECT_EQ(c.got, "");
  worker_.advance(2ms);
  EXPECT_TRUE(c.got.starts_with("HTTP/1.1 408 ")) << c.got;

  Peer& quick = client(kDeclared, "10.96.0.7");
  quick.say("G");
  worker_.advance(1900ms);
  quick.say(get("/", "", "one").substr(1));
  server().say("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
  EXPECT_TRUE(has(quick.got, "200 OK"));
  quick.say("GET / HT");
  worker_.advance(1900ms);
  quick.say("TP/1.1\r\nHost: one\r\n\r\n");
  servers_.back()->say("HTTP/1.1 204 No Content\r\n\r\n");
  EXPECT_TRUE(has(quick.got, " 204 ")) << "the next head has its own time: " << quick.got;
}

TEST_F(FirstBytesServed, NothingSaysHttpInTime_UndeclaredPortIsTcp) {
  uint64_t count = 0;
  for (const char* text : {"G", "GET", "\r\n", "PRI * HT", "\x16\x03"})
    for (const bool inbound : {false, true}) {
      Peer& c = inbound ? inbound_client() : client(kUndeclared);
      c.say(text);
      const auto dialled = dialer_.dialled.size();
      worker_.advance(1999ms);
      EXPECT_EQ(dialer_.dialled.size(), dialled);
      EXPECT_EQ(limit_reached("header_time"), count);
      worker_.advance(2ms);
      Peer& s = server();
      EXPECT_EQ(s.got, text);
      EXPECT_EQ(limit_reached("header_time"), ++count);
      s.say("answer");
      EXPECT_EQ(c.got, "answer");
      c.stream->reset();
      settle();
    }
}

TEST_F(FirstBytesServed, OnlyEmptyLinesInTime_DeclaredPortStaysHttp) {
  Peer& c = client(kDeclared);
  c.say("\r\n");
  worker_.advance(2500ms);
  EXPECT_FALSE(c.ended);
  EXPECT_EQ(limit_reached("header_time"), 0u) << "no head has begun";
  c.say(get("/"));
  EXPECT_TRUE(has(server().got, "x-request-id"));
}

TEST_F(FirstBytesServed, SilentClient_EndsAsAnIdleOne) {
  Peer& declared = client(kDeclared);
  Peer& refused = client(kUndeclared);
  dialer_.refuse = 100;   // the early dial finds nobody
  worker_.advance(2999ms);
  EXPECT_FALSE(declared.ended);
  EXPECT_FALSE(refused.ended);
  worker_.advance(100ms);
  EXPECT_TRUE(declared.ended);
  EXPECT_TRUE(refused.ended);
  EXPECT_EQ(worker_.tasks(), 0u);
  EXPECT_EQ(limit_reached("header_time"), 0u);
}

TEST_F(FirstBytesServed, BothSidesSilent_EndAsAnIdleTunnel) {
  publish(std::string(kMesh) + "---\napiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {name: shop, namespace: default}\nspec: {host: shop, trafficPolicy: {connectionPool: {tcp: {idleTimeout: 5s}}}}\n");
  Peer& c = client(kUndeclared);
  worker_.advance(6ms);
  Peer& s = server();
  worker_.advance(4900ms);
  EXPECT_FALSE(c.ended) << "its limit is the tunnel's, not that of an idle HTTP client";
  worker_.advance(200ms);
  EXPECT_TRUE(c.ended);
  EXPECT_TRUE(s.ended);
  ASSERT_EQ(lines_.lines.size(), 1u);
  EXPECT_TRUE(has(lines_.lines[0], "outbound|91||shop.default.svc.cluster.local")) << lines_.lines[0];
}

TEST_F(FirstBytesServed, FewBytesAndFin_NobodyOnADeclaredPort_TcpElsewhere) {
  for (const char* text : {"GE", "\r\n", "\x16\x03"}) {
    Peer& c = client(kDeclared);
    dialer_.silent = true;   // a dial would hang, and the connection with it
    c.put(text);
    c.put_fin();
    settle();
    EXPECT_TRUE(c.ended) << text;
    EXPECT_EQ(worker_.tasks(), 0u) << text;
    dialer_.silent = false;
  }
  EXPECT_TRUE(dialer_.dialled.empty());
  for (const char* text : {"GE", "\r\n", "GET /"})
    for (Peer* c : {&client(kUndeclared), &inbound_client()}) {
      c->put(text);
      c->put_fin();
      settle();
      Peer& s = server();
      EXPECT_EQ(s.got, text);
      EXPECT_TRUE(s.ended);
      s.say("answer");
      EXPECT_EQ(c->got, "answer");
      s.stream->shutdown_write();
      settle();
    }
}

}  // namespace
}  // namespace proxy::in_memory
