#pragma once

// What the tests of this room share: a server on one end of a memory pipe and a client that speaks raw bytes on the other.

#include <memory>
#include <string>
#include <vector>

#include "http/h1.h"
#include "net/mem_stream.h"
#include "net/worker.h"

namespace http::testing {

inline net::Worker::Options manual() { return {.manual_clock = true}; }

// Collects everything that arrives on a stream.
class Collector {
 public:
  explicit Collector(net::Stream& stream) : stream_(stream) {}
  net::Task<> run() {
    for (;;) {
      auto piece = co_await stream_.read();
      if (!piece) {
        broken = true;
        co_return;
      }
      if (piece->empty()) {
        ended = true;
        co_return;
      }
      text += net::text_of(piece->bytes());
    }
  }
  std::string text;
  bool ended = false, broken = false;

 private:
  net::Stream& stream_;
};

inline net::Task<> write_text(net::Stream& stream, std::string text) {
  (void)co_await stream.write(net::Borrowed::of_static(text));
}

// What a handler saw of one request.
struct Seen {
  std::string method, authority, path, original_path, upgrade, body, fields, trailers;
  base::Detail refused = base::Detail::kNone, body_fault = base::Detail::kNone;
  bool operator==(const Seen&) const = default;
};

inline std::string text_of(const base::Fields& fields) {
  std::string text;
  for (const auto& field : fields.all()) text.append(field.name).append(": ").append(field.value).append("\n");
  return text;
}

// Reads every request whole and answers 200 with the body it got; refused ones get the status of their detail.
struct Echo {
  std::vector<Seen> seen;
  bool read_body = true;
  std::string answer_length = "auto";                  // "auto": body in one piece; "chunked": no length
  std::vector<std::pair<std::string, std::string>> answer_fields;

  static net::Task<> handle(DownstreamExchange& exchange, void* context) { return static_cast<Echo*>(context)->serve(exchange); }
  net::Task<> serve(DownstreamExchange& exchange) {
    Seen one;
    RequestHead& request = exchange.request();
    one.method = request.method;
    one.authority = request.authority;
    one.path = request.path;
    one.original_path = request.original_path;
    one.upgrade = request.upgrade;
    one.fields = text_of(request.fields);
    ResponseHead answer(exchange.arena());
    if (exchange.error()) {
      one.refused = exchange.error()->detail;
      answer.status = base::row(one.refused).status;
      seen.push_back(one);
      (void)co_await exchange.response().head(answer, net::Borrowed::of_static(base::row(one.refused).body), true);
      co_return;
    }
    while (read_body) {
      auto piece = co_await exchange.request_body().next();
      if (!piece) {
        one.body_fault = piece.error().detail;
        one.body.clear();              // how much came before the fault was noticed depends on the cutting
        break;
      }
      if (piece->empty()) break;
      one.body += net::text_of(piece->bytes());
    }
    if (const auto* trailers = exchange.request_body().trailers()) one.trailers = text_of(*trailers);
    seen.push_back(one);
    if (one.body_fault != base::Detail::kNone) {
      answer.status = base::row(one.body_fault).status;
      exchange.close_after();
      if (answer.status == 0) {
        exchange.abort();
        co_return;
      }
      (void)co_await exchange.response().head(answer, {}, true);
      co_return;
    }
    answer.status = 200;
    for (const auto& [name, value] : answer_fields) answer.fields.add(answer.fields.keep(name), answer.fields.keep(value));
    std::string body = one.body;
    if (answer_length == "auto") {
      (void)co_await exchange.response().head(answer, net::Borrowed::of_static(body), true);
      co_return;
    }
    if (!(co_await exchange.response().head(answer, {}, false))) co_return;
    if (!body.empty() && !(co_await exchange.response().body(net::Borrowed::of_static(body), false))) co_return;
    (void)co_await exchange.response().finish(nullptr);
  }
};

struct ServerPipe {
  explicit ServerPipe(net::MemPipe pipe = {}, H1Options o = {}, H1Server::Handle handle = &Echo::handle, void* context = nullptr)
      : options(o) {
    auto [a, b] = net::mem_pipe(worker, pipe);
    near = std::move(a);
    far = std::move(b);
    server = std::make_unique<H1Server>(worker, *near, options);
    collector = std::make_unique<Collector>(*far);
    worker.spawn(run(handle, context ? context : &echo));
    worker.spawn(collector->run());
    worker.poll();
  }
  ~ServerPipe() {
    if (!done) {
      near->cancel({.code = base::Code::kCancelled});
      worker.poll();
    }
    drop_client();
  }
  void drop_client() {                 // with all that it did not read or get rid of
    if (far) far->cancel({.code = base::Code::kCancelled});
    worker.poll();
    far.reset();
  }
  net::Task<> run(H1Server::Handle handle, void* context) {
    co_await server->serve(handle, context);
    done = true;
    server.reset();
    near.reset();                      // as the owner of a connection does
  }
  void send(std::string text) {
    worker.spawn(write_text(*far, std::move(text)));
    worker.poll();
  }
  std::string& got() { return collector->text; }

  net::Worker worker{manual()};
  H1Options options;
  Echo echo;
  std::unique_ptr<net::MemStream> near, far;
  std::unique_ptr<H1Server> server;
  std::unique_ptr<Collector> collector;
  bool done = false;
};

}  // namespace http::testing
