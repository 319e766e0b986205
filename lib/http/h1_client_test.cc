#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "http/testing.h"

namespace http::testing {
namespace {

using base::Detail;
using base::Retry;
using ::testing::HasSubstr;
using ::testing::SizeIs;

// What a caller of the client saw of one exchange.
struct Outcome {
  std::vector<uint16_t> interims;
  uint16_t status = 0;
  std::string fields, body, trailers, upgrade;
  Error error{}, body_error{}, send_error{};
  bool again = false, done = false;
};

struct Ask {
  std::string method = "GET", path = "/", body{}, upgrade{};
  std::vector<std::pair<std::string, std::string>> fields{};
  bool whole = true;                   // the request is sent to its end
};

struct ClientPipe {
  explicit ClientPipe(net::MemPipe pipe = {}, H1ClientOptions options = {}) {
    auto [a, b] = net::mem_pipe(worker, pipe);
    near = a.get();
    far = std::move(b);
    client = std::make_unique<H1Client>(worker, std::move(a), options);
    collector = std::make_unique<Collector>(*far);
    worker.spawn(collector->run());
    worker.poll();
  }
  ~ClientPipe() {
    if (client) client->stream().cancel({.code = base::Code::kCancelled});
    worker.poll();
    client.reset();
    far->cancel({.code = base::Code::kCancelled});
    worker.poll();
  }
  net::Task<> exchange(Ask ask, Outcome& out) {
    UpstreamExchange& one = client->begin(std::pmr::new_delete_resource());
    co_await talk(one, ask, out);
    out.again = client->finish();
    if (!out.again) client.reset();
    out.done = true;
  }
  net::Task<> talk(UpstreamExchange& one, Ask& ask, Outcome& out) {
    RequestHead head(&memory);
    head.method = ask.method;
    head.path = ask.path;
    head.authority = "a.test";
    head.upgrade = ask.upgrade;
    for (const auto& [name, value] : ask.fields) head.fields.add(name, value);
    if (auto sent = co_await one.request().head(head, net::Borrowed::of_static(ask.body), ask.whole); !sent) out.send_error = sent.error();
    ResponseHead* answer = nullptr;
    for (;;) {
      auto read = co_await one.read_head();
      if (!read) {
        out.error = read.error();
        co_return;
      }
      answer = *read;
      if (answer->status >= 200 || answer->status == 101) break;
      out.interims.push_back(answer->status);
    }
    out.status = answer->status;
    out.fields = text_of(answer->fields);
    out.upgrade = answer->upgrade;
    for (;;) {
      auto piece = co_await one.response_body().next();
      if (!piece) {
        out.body_error = piece.error();
        co_return;
      }
      if (piece->empty()) break;
      out.body += net::text_of(piece->bytes());
    }
    if (const auto* trailers = one.response_body().trailers()) out.trailers = text_of(*trailers);
  }
  Outcome& ask(Ask what) {
    outcomes.push_back(std::make_unique<Outcome>());
    worker.spawn(exchange(std::move(what), *outcomes.back()));
    worker.poll();
    return *outcomes.back();
  }
  void answer(std::string text) {
    worker.spawn(write_text(*far, std::move(text)));
    worker.poll();
  }
  void end() {
    far->shutdown_write();
    worker.poll();
  }
  std::string& got() { return collector->text; }

  net::Worker worker{manual()};
  std::pmr::monotonic_buffer_resource memory;
  net::MemStream* near = nullptr;
  std::unique_ptr<net::MemStream> far;
  std::unique_ptr<H1Client> client;
  std::unique_ptr<Collector> collector;
  std::vector<std::unique_ptr<Outcome>> outcomes;
};

TEST(H1Client, PlainGet_ConnectionServesAgain) {
  ClientPipe pipe;
  auto& one = pipe.ask({.fields = {{"x-one", "1"}}});
  EXPECT_EQ(pipe.got(), "GET / HTTP/1.1\r\nhost: a.test\r\nx-one: 1\r\n\r\n");
  pipe.answer("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-Two: 2\r\n\r\nhello");
  EXPECT_TRUE(one.done && one.again);
  EXPECT_EQ(one.status, 200);
  EXPECT_EQ(one.fields, "content-length: 5\nx-two: 2\n");
  EXPECT_EQ(one.body, "hello");
  auto& two = pipe.ask({.method = "POST", .body = "body"});
  EXPECT_THAT(pipe.got(), HasSubstr("POST / HTTP/1.1\r\nhost: a.test\r\ncontent-length: 4\r\n\r\nbody"));
  pipe.answer("HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n");
  EXPECT_TRUE(two.done && two.again);
  EXPECT_EQ(two.body, "abcde");
}

}  // namespace
}  // namespace http::testing
