#include "runner/demo_app.h"

#include <csignal>
#include <memory>
#include <memory_resource>

#include <fmt/format.h>

#include <netdb.h>
#include <unistd.h>

#include "http/h1.h"
#include "net/worker.h"
#include "runner/demo_pages.h"

namespace runner {
namespace {

using namespace std::chrono_literals;

struct App {
  DemoApp what;
  std::string pod;
};
net::Worker* running = nullptr;  // for the signal handler; Worker::stop is safe there (one atomic, one write)

// The pod's hosts file knows every Service, so this reads a small file and asks nobody. A real app would not block here.
std::optional<base::Ip> resolve(const std::string& host) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_family = AF_INET;
  addrinfo* found = nullptr;
  if (::getaddrinfo(host.c_str(), nullptr, &hints, &found) != 0 || !found) return std::nullopt;
  char text[NI_MAXHOST];
  const int failed = ::getnameinfo(found->ai_addr, found->ai_addrlen, text, sizeof text, nullptr, 0, NI_NUMERICHOST);
  ::freeaddrinfo(found);
  return failed ? std::nullopt : base::Ip::parse(text);
}

net::Task<Result<AppAnswer>> converse(http::UpstreamExchange& exchange, http::RequestHead& head) {
  auto sent = co_await exchange.request().head(head, {}, true);
  if (!sent) co_return std::unexpected(sent.error());
  AppAnswer answer;
  while (true) {
    auto read = co_await exchange.read_head();
    if (!read) co_return std::unexpected(read.error());
    answer.status = (*read)->status;
    if (answer.status >= 200) break;
  }
  while (true) {
    auto piece = co_await exchange.response_body().next();
    if (!piece) co_return std::unexpected(piece.error());
    if (piece->empty()) co_return answer;
    answer.body += net::text_of(piece->bytes());
  }
}

net::Task<> fetch(net::Worker& worker, const AppRequest& request, Neighbour& neighbour) {
  const auto ip = resolve(neighbour.host);
  if (!ip) co_return;
  net::ConnectTo to;
  to.to = {*ip, neighbour.port};
  to.within = 3'000ms;
  net::Connector connector(worker, to);
  auto stream = co_await connector;
  if (!stream) co_return;
  http::H1Client client(worker, std::move(*stream), {});
  std::pmr::monotonic_buffer_resource arena;
  http::RequestHead head(&arena);
  const std::string authority = fmt::format("{}:{}", neighbour.host, neighbour.port);
  head.method = "GET";
  head.path = neighbour.path;
  head.authority = authority;
  for (const auto& [name, value] : request.headers)
    if (is_forwarded(name)) head.fields.add(name, value);
  const std::string user = request.query("u");
  if (!user.empty() && request.header("end-user").empty()) head.fields.add("end-user", user);
  http::UpstreamExchange& exchange = client.begin(&arena);
  net::Deadline deadline(worker, exchange);
  deadline.arm(10'000ms, Error{.code = base::Code::kTimeout});
  auto answer = co_await converse(exchange, head);
  if (answer) neighbour.answer = std::move(*answer);
  deadline.disarm();
  client.finish();
}

net::Task<bool> drain_body(http::DownstreamExchange& exchange, size_t& length) {
  while (true) {
    auto piece = co_await exchange.request_body().next();
    if (!piece) co_return false;
    if (piece->empty()) co_return true;
    length += piece->size();
  }
}

AppRequest request_of(http::DownstreamExchange& exchange) {
  const http::RequestHead& head = exchange.request();
  AppRequest request;
  request.method = head.method;
  request.url = head.original_path.empty() ? head.path : head.original_path;
  request.host = head.authority;
  request.protocol = http::name_of(head.version);
  request.peer_ip = exchange.connection().peer().ip.text();
  request.peer_port = exchange.connection().peer().port;
  request.local_port = exchange.connection().local().port;
  for (const auto& field : head.fields.all()) request.headers.emplace_back(field.name, field.value);
  return request;
}

net::Task<> handle(http::DownstreamExchange& exchange, void* context) {
  const App& app = *static_cast<App*>(context);
  net::Worker& worker = exchange.connection().worker();
  AppAnswer answer;
  if (exchange.error()) {
    answer = {400, "text/plain", "bad request\n"};
  } else {
    AppRequest request = request_of(exchange);
    const bool whole = co_await drain_body(exchange, request.body_length);
    if (!whole) {
      exchange.abort();
      co_return;
    }
    auto neighbours = neighbours_for(app.what, request);
    for (Neighbour& neighbour : neighbours) co_await fetch(worker, request, neighbour);
    answer = answer_of(app.what, app.pod, request, neighbours);
  }
  http::ResponseHead head(exchange.arena());
  head.status = static_cast<uint16_t>(answer.status);
  head.fields.add("content-type", answer.type);
  const std::string length = std::to_string(answer.body.size());
  head.fields.add("content-length", length);
  const bool bodiless = exchange.request().method == "HEAD";
  auto sent = co_await exchange.response().head(head, net::Borrowed::of_static(bodiless ? "" : std::string_view(answer.body)), true);
  if (!sent) exchange.abort();
}

net::Task<> serve(net::Worker& worker, std::unique_ptr<net::Stream> stream, void* context) {
  http::H1Options options;
  options.path = http::PathMode::kNone;  // an app sees what was sent
  options.http10 = true;
  http::H1Server server(worker, *stream, options);
  co_await server.serve(&handle, context);
}

}  // namespace

int serve_demo_app(const DemoApp& what) {
  App app{what, {}};
  char name[256]{};
  ::gethostname(name, sizeof name - 1);
  app.pod = name;
  if (app.what.ports.empty() && app.what.name != "echo") app.what.ports = {9080};
  net::Worker worker(net::Worker::Options{});
  net::Worker* workers[]{&worker};
  std::vector<std::unique_ptr<net::Listener>> listeners;
  for (const uint16_t port : app.what.ports) {
    auto listener = net::Listener::open(workers, {base::Ip::any(false), port}, &serve, &app, {});
    if (!listener && listener.error().sys == EAFNOSUPPORT)
      listener = net::Listener::open(workers, {base::Ip::any(true), port}, &serve, &app, {});
    if (!listener) {
      fmt::print(stderr, "sluice: port {} cannot be opened: {}\n", port, std::generic_category().message(listener.error().sys));
      return 1;
    }
    listeners.push_back(std::move(*listener));
    listeners.back()->start();
  }
  running = &worker;
  std::signal(SIGTERM, [](int) { running->stop(); });
  std::signal(SIGINT, [](int) { running->stop(); });
  fmt::print("{} {}listens on {}\n", app.what.name, app.what.version.empty() ? "" : app.what.version + ' ',
             fmt::join(app.what.ports, ", "));
  std::fflush(stdout);
  worker.run();
  // Connections are not drained: the process ends, and with it all of them. An app behind a proxy is drained there.
  ::_exit(0);
}

}  // namespace runner
