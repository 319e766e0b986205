#include "proxy/admin.h"

#include <fmt/format.h>

#include "http/h1.h"
#include "proxy/admin_pages.h"
#include "proxy/stream_idle.h"

namespace proxy {
namespace {
using base::FieldId;

constexpr auto kPatience = std::chrono::seconds(60);   // with a client that asks for nothing, or takes nothing of its page

// Names under which a person or a probe in the pod reaches the admin port. Any other Host is a page in a browser that was
// led here by DNS rebinding (reliability.md §1.5).
bool loopback_host(std::string_view authority) {
  std::string_view host = authority;
  if (host.starts_with('[')) host = host.substr(1, host.find(']') - 1);
  else host = host.substr(0, host.find(':'));
  if (host == "localhost") return true;
  const auto ip = base::Ip::parse(host);
  return ip && ip->is_loopback();
}

net::Task<> send(const AdminContext& admin, http::DownstreamExchange& exchange, const Page& page) {
  http::ResponseHead head(exchange.arena());
  head.status = page.status;
  head.fields.add(FieldId::kContentType, page.type);
  head.fields.add(FieldId::kContentLength, head.fields.keep(fmt::to_string(page.body.size())));
  head.fields.add("cache-control", "no-cache, max-age=0");
  head.fields.add("x-content-type-options", "nosniff");
  head.fields.add(FieldId::kServer, "envoy");
  net::Borrowed body = exchange.request().method == "HEAD" ? net::Borrowed() : net::Borrowed::of_static(page.body);
  StreamIdle unread(admin.main, exchange, kPatience);
  unread.watch(&exchange.connection(), nullptr);
  unread.progress();
  const auto sent = co_await exchange.response().head(head, std::move(body), true);
  if (!sent) exchange.abort();
}

Page refuse(const Error& error) {
  const auto& row = base::row(error.detail);
  return {row.status ? row.status : uint16_t{400}, "text/plain", row.body.empty() ? "Bad Request\n" : std::string(row.body) + "\n"};
}

net::Task<> admin_request(http::DownstreamExchange& exchange, void* context) {
  auto& admin = *static_cast<AdminContext*>(context);
  const http::RequestHead& head = exchange.request();
  Page page;
  if (const Error* error = exchange.error()) page = refuse(*error);
  else if (!loopback_host(head.authority)) page = {403, "text/plain", "Host must be a loopback name\n"};
  else if (head.fields.find(FieldId::kOrigin) || head.fields.find("sec-fetch-site")) page = {403, "text/plain", "not for browsers\n"};
  else if (head.method != "GET" && head.method != "HEAD" && head.method != "POST") page = {405, "text/plain", "use GET, or POST for changes\n"};
  else page = co_await admin_page(admin, head.method, head.path);
  co_await send(admin, exchange, page);
}

Page metrics_page(const AdminContext& admin) {
  admin.refresh();
  return {200, "text/plain; version=0.0.4; charset=utf-8", admin.registry.prometheus()};
}
Page ready_page(const AdminContext& admin) {
  return admin.ready() ? Page{200, "text/plain", ""} : Page{503, "text/plain", fmt::format("{}\n", admin.state())};
}

net::Task<> metrics_request(http::DownstreamExchange& exchange, void* context) {
  const auto& admin = *static_cast<AdminContext*>(context);
  const auto path = http::path_only(exchange.request().path);
  Page page{404, "text/plain", "GET /stats/prometheus\n"};
  if (const Error* error = exchange.error()) page = refuse(*error);
  else if (path == "/stats/prometheus" || path == "/metrics") page = metrics_page(admin);
  co_await send(admin, exchange, page);
}

net::Task<> agent_request(http::DownstreamExchange& exchange, void* context) {
  const auto& admin = *static_cast<AdminContext*>(context);
  const auto path = http::path_only(exchange.request().path);
  Page page{404, "text/plain", "GET /healthz/ready or /stats/prometheus\n"};
  if (const Error* error = exchange.error()) page = refuse(*error);
  else if (path == "/healthz/ready") page = ready_page(admin);
  else if (path == "/stats/prometheus" || path == "/metrics") page = metrics_page(admin);
  co_await send(admin, exchange, page);
}

net::Task<> health_request(http::DownstreamExchange& exchange, void* context) {
  const auto& admin = *static_cast<AdminContext*>(context);
  Page page{404, "text/plain", "GET /healthz/ready\n"};
  if (const Error* error = exchange.error()) page = refuse(*error);
  else if (http::path_only(exchange.request().path) == "/healthz/ready") page = ready_page(admin);
  co_await send(admin, exchange, page);
}

net::Task<> serve_with(net::Worker& worker, std::unique_ptr<net::Stream> stream, http::H1Server::Handle handle, void* context) {
  http::H1Options options;
  options.http10 = true;                 // probes of old load balancers
  options.limits.idle_time = kPatience;
  http::H1Server server(worker, *stream, options);
  co_await server.serve(handle, context);
}
}  // namespace

net::Task<> serve_admin(net::Worker& worker, std::unique_ptr<net::Stream> stream, void* context) {
  return serve_with(worker, std::move(stream), &admin_request, context);
}
net::Task<> serve_metrics(net::Worker& worker, std::unique_ptr<net::Stream> stream, void* context) {
  return serve_with(worker, std::move(stream), &metrics_request, context);
}
net::Task<> serve_agent(net::Worker& worker, std::unique_ptr<net::Stream> stream, void* context) {
  return serve_with(worker, std::move(stream), &agent_request, context);
}
net::Task<> serve_health(net::Worker& worker, std::unique_ptr<net::Stream> stream, void* context) {
  return serve_with(worker, std::move(stream), &health_request, context);
}

}  // namespace proxy
