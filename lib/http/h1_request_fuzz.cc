// Any bytes as requests. The guard must say the same however they are cut, what it accepts must survive being written and read
// again unchanged, and the codec must show its handler the same requests and its client the same answers byte by byte.

#include <cstdio>
#include <cstdlib>

#include "http/encode.h"
#include "http/head_scan.h"
#include "http/testing.h"

namespace {

using namespace http;
using Kind = HeadScan::Verdict::Kind;

void must(bool condition, const char* what) {
  if (condition) return;
  std::fprintf(stderr, "violated: %s\n", what);
  std::abort();
}

void guard(std::string_view input, net::Worker& worker) {
  HeadScan whole, bytewise;
  const Limits limits;
  const auto all = whole.scan(input, limits);
  HeadScan::Verdict one;
  for (size_t n = 1; n <= input.size() && one.kind == Kind::kMore; ++n) one = bytewise.scan(input.substr(0, n), limits);
  must(all.kind == one.kind && all.end == one.end && all.skip == one.skip && all.refused == one.refused, "scan depends on cutting");
  if (all.kind != Kind::kComplete) return;
  std::string text(input.substr(all.skip, all.end - all.skip));
  std::pmr::monotonic_buffer_resource arena;
  RequestHead head(&arena);
  Hop hop;
  if (judge_request(text, whole.fields(), {.http10 = true}, head, hop) != base::Detail::kNone) return;
  OutBuffer out(worker);
  must(encode_request(head, {.chunked = hop.framing == Framing::kChunked}, out, 0), "an accepted head cannot be written");
  std::string written(out.text());
  HeadScan again;
  const auto verdict = again.scan(written, {.head_bytes = 1 << 20, .fields = 1000});
  must(verdict.kind == Kind::kComplete && verdict.end == written.size() && verdict.skip == 0, "what we write is not one head");
  RequestHead second(&arena);
  Hop second_hop;
  if (!head.authority.empty()) {
    must(judge_request(written, again.fields(), {.path = PathMode::kNone}, second, second_hop) == base::Detail::kNone,
         "what we write is refused");
    must(second.method == head.method && second.path == head.path && second.authority == head.authority && second.upgrade == head.upgrade,
         "request changed");
    must(second_hop.framing == hop.framing && second_hop.length == hop.length, "framing changed");
    must(testing::text_of(second.fields) == testing::text_of(head.fields), "fields changed");
  }
}

struct Conversation {
  std::vector<testing::Seen> seen;
  std::string answers;
};
Conversation converse(std::string_view input, size_t max_read) {
  testing::ServerPipe pipe({.capacity = 1 << 20, .max_read = max_read});
  pipe.send(std::string(input));
  pipe.far->shutdown_write();
  pipe.worker.advance(std::chrono::seconds(20));
  must(pipe.done, "the connection hangs");
  return {pipe.echo.seen, pipe.got()};
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size > 8192) return 0;
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  net::Worker worker{testing::manual()};
  guard(input, worker);
  const Conversation whole = converse(input, 1 << 20), bytewise = converse(input, 1);
  must(whole.seen == bytewise.seen, "requests depend on cutting");
  must(whole.answers == bytewise.answers, "answers depend on cutting");
  return 0;
}
