#pragma once

// What the tests of this room share: a server on one end of a memory pipe and a client that speaks raw bytes on the other.

#include <memory>
#include <string>
#include <vector>

#include "http/guard.h"
#include "http/h1.h"
#include "http/head_scan.h"
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

inline net::Task<> write_text(net::Stream& stream, std::string text) { (void)co_await stream.write(net::Borrowed::of_static(text)); }

// Whether the codec takes the head that these bytes begin with. CONNECT is one that it answers without passing it on.
inline bool codec_takes(std::string_view bytes, bool http10) {
  HeadScan scan;
  const auto found = scan.scan(bytes, Limits{});
  if (found.kind != HeadScan::Verdict::Kind::kComplete) return false;
  std::string head(bytes.substr(found.skip, found.end - found.skip));
  std::pmr::monotonic_buffer_resource arena;
  RequestHead out(&arena);
  Hop hop;
  const auto fault = judge_request(head, scan.fields(), {.http10 = http10}, out, hop);
  return fault == base::Detail::kNone || fault == base::Detail::kConnectRefused;
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
  std::string answer_length = "auto";  // "auto": body in one piece; "chunked": no length
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
        one.body.clear();  // how much came before the fault was noticed depends on the cutting
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
  void drop_client() {  // with all that it did not read or get rid of
    if (far) far->cancel({.code = base::Code::kCancelled});
    worker.poll();
    far.reset();
  }
  net::Task<> run(H1Server::Handle handle, void* context) {
    co_await server->serve(handle, context);
    done = true;
    server.reset();
    near.reset();  // as the owner of a connection does
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
  bool whole = true;  // the request is sent to its end
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
    std::pmr::monotonic_buffer_resource arena;
    UpstreamExchange& one = client->begin(&arena);
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

}  // namespace http::testing
