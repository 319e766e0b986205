#include <gtest/gtest.h>

#include <cstdlib>
#include <new>

#include "net/checks.h"
#include "proxy/pump_harness.h"

namespace {
// Frames of this thread that are alive.
struct Frames {
  size_t count = 0, bytes = 0;
};
thread_local Frames frames;
}  // namespace

// In the place of lib/net/frame.cc, see there.
void* net::allocate_frame(size_t size) {
  void* frame = std::malloc(size);
  if (!frame) throw std::bad_alloc();
  ++frames.count;
  frames.bytes += size;
  return frame;
}
void net::free_frame(void* frame, size_t size) noexcept {
  --frames.count;
  frames.bytes -= size;
  std::free(frame);
}

namespace proxy::in_memory {
namespace {

// What `connections` idle ones may hold, against what was there before them. Debug frames keep every temporary: only their
// number says something there.
void expect_idle(const Frames& before, size_t connections) {
  EXPECT_EQ(frames.count - before.count, 2 * connections) << "serve_connection and the codec's, no other";
  testing::Test::RecordProperty("bytes_of_frames", static_cast<int>((frames.bytes - before.bytes) / connections));
  if (!net::kChecked) EXPECT_LE(frames.bytes - before.bytes, 512 * connections);
}

TEST_F(Pump, IdleHttpConnection_KeepsTwoFrames_InHalfAKibibyte) {
  const Frames before = frames;
  const auto answer = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
  Peer& outbound = client(80, "10.96.0.7");
  outbound.say(get("/", "", "one"));
  server().say(answer);
  ASSERT_TRUE(has(outbound.got, "200 OK"));
  expect_idle(before, 1);
  // An upload takes the longer way through the pump, and leaves nothing behind either.
  outbound.say("POST / HTTP/1.1\r\nHost: one\r\nContent-Length: 5\r\n\r\nabc");
  EXPECT_GT(frames.count - before.count, 2u) << "nothing is counted";
  outbound.say("de");
  servers_.back()->say(answer);
  expect_idle(before, 1);
  // Inbound, where no bytes are waited for before the codec, and with nothing said at all.
  publish(std::string(kMesh) + R"(
---
apiVersion: v1
kind: Service
metadata: {name: me, namespace: default}
spec: {clusterIP: 10.96.0.6, selector: {app: me}, ports: [{name: http, port: 8080}]}
)");
  inbound_client();
  expect_idle(before, 2);
}

}  // namespace
}  // namespace proxy::in_memory
