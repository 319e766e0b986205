#include "proxy/admin_pages.h"

#include <algorithm>
#include <cstdio>

#include <fmt/format.h>

#include "doc/writer.h"
#include "http/message.h"
#include "proxy/gather.h"
#include "telemetry/clusters_text.h"

namespace proxy {
namespace {

constexpr std::string_view kHelp =
    "admin commands are:\n"
    "  /certs: certificates of this proxy\n"
    "  /clusters[?format=json]: clusters and the state of their endpoints\n"
    "  /config/status: which configuration is live, and what is wrong with it\n"
    "  /config_dump: listeners, routes and clusters as they are used\n"
    "  /connections: every live connection, and what it waits for\n"
    "  /drain_listeners (POST): stop accepting connections\n"
    "  /healthcheck/fail, /healthcheck/ok (POST): readiness by hand\n"
    "  /help: this\n"
    "  /listeners[?format=json]: addresses and names\n"
    "  /logging[?level=L][?COMPONENT=L] (POST): show or change log levels\n"
    "  /memory: what the process uses\n"
    "  /quitquitquit (POST): drain and exit\n"
    "  /ready: LIVE with 200, anything else with 503\n"
    "  /reopen_logs (POST): open access logs anew, after rotation\n"
    "  /server_info: version, state, uptime\n"
    "  /stats[?usedonly][?filter=TEXT][?format=prometheus]: counters\n"
    "  /stats/prometheus: counters in Prometheus' text format\n";

Page text_page(std::string body, uint16_t status = 200) { return {status, "text/plain; charset=UTF-8", std::move(body)}; }

Page stats_page(const AdminContext& admin, std::string_view path) {
  admin.refresh();
  bool used = false;
  query(path, "usedonly", &used);
  const auto filter = query(path, "filter");
  if (query(path, "format") == "prometheus" || http::path_only(path) == "/stats/prometheus")
    return {200, "text/plain; version=0.0.4; charset=utf-8", admin.registry.prometheus(used, filter)};
  return text_page(admin.registry.text(used, filter));
}

// POST /logging?level=debug or ?config=debug; without parameters the levels as they are.
Page logging_page(std::string_view method, std::string_view path) {
  const auto question = path.find('?');
  if (question != std::string_view::npos) {
    if (method != "POST") return text_page("changes need POST\n", 405);
    const auto assignment = path.substr(question + 1);
    const auto equals = assignment.find('=');
    logs::Level level{};
    if (equals == std::string_view::npos || !logs::parse(assignment.substr(equals + 1), level))
      return text_page("use ?level=LEVEL or ?COMPONENT=LEVEL with trace, debug, info, warning, error, off\n", 400);
    const auto name = assignment.substr(0, equals);
    bool known = name == "level";
    if (known) logs::set_level(level);
    for (uint8_t i = 0; !known && i < static_cast<uint8_t>(logs::Component::kCount); ++i) {
      const auto component = static_cast<logs::Component>(i);
      if (logs::name_of(component) != name) continue;
      logs::set_level(component, level);
      known = true;
    }
    if (!known) return text_page(fmt::format("no component is called {}\n", name), 400);
  }
  std::string body = "active loggers:\n";
  for (uint8_t i = 0; i < static_cast<uint8_t>(logs::Component::kCount); ++i) {
    const auto component = static_cast<logs::Component>(i);
    body += fmt::format("  {}: {}\n", logs::name_of(component), logs::name_of(logs::level(component)));
  }
  return text_page(std::move(body));
}

Page memory_page() {
  std::string body;
  if (FILE* file = std::fopen("/proc/self/statm", "r")) {
    unsigned long pages = 0, resident = 0;
    if (std::fscanf(file, "%lu %lu", &pages, &resident) == 2) {
      doc::JsonWriter json(true);
      json.begin_object().member("allocated", fmt::to_string(resident * 4096)).member("virtual", fmt::to_string(pages * 4096)).end_object();
      body = json.take();
    }
    std::fclose(file);
  }
  return json_page(std::move(body));
}

struct ConnectionView {
  uint64_t id = 0;
  const char *kind = "", *state = "", *waits_for = "", *direction = "";
  std::string peer, destination;
  int64_t age_ms = 0;
  unsigned worker = 0;
};
std::vector<ConnectionView> connections_of(WorkerState& state) {
  std::vector<ConnectionView> views;
  for (Connection* c = state.connections.front(); c; c = state.connections.next(*c)) {
    constexpr const char* kDirections[] = {"outbound", "inbound", "gateway"};
    views.push_back({c->id, c->kind, c->state, c->waits_for, kDirections[static_cast<size_t>(c->direction)], c->peer.text(),
                     c->dst.address.text(), std::chrono::duration_cast<std::chrono::milliseconds>(state.worker.now() - c->since).count(),
                     state.worker.index()});
  }
  return views;
}

net::Task<Page> connections_page(AdminContext& admin) {
  Gather<std::vector<ConnectionView>> gather(admin.main, admin.workers, &connections_of);
  const auto answers = co_await gather;
  doc::JsonWriter json(true);
  json.begin_array();
  for (const auto& views : answers)
    for (const auto& view : views)
      json.begin_object().member("id", view.id).member("kind", view.kind).member("direction", view.direction).member("peer", view.peer)
          .member("destination", view.destination).member("state", view.state).member("age_ms", view.age_ms)
          .member("waits_for", view.waits_for).member("worker", view.worker).end_object();
  json.end_array();
  co_return json_page(json.take() + "\n");
}

net::Task<Page> clusters_page(AdminContext& admin, bool json) {
  Gather<std::vector<upstream::Cluster::View>> gather(admin.main, admin.workers, [](WorkerState& state) { return state.clusters.view(); });
  const auto answers = co_await gather;
  co_return json ? json_page(telemetry::clusters_json(answers)) : text_page(telemetry::clusters_text(answers));
}

Page change(AdminContext& admin, std::string_view path) {
  if (path == "/quitquitquit") admin.quit();
  else if (path == "/drain_listeners") admin.drain_listeners();
  else if (path == "/reopen_logs") admin.shared.reopen_logs();
  else admin.failed_by_hand = path == "/healthcheck/fail";
  return text_page("OK\n");
}
}  // namespace

std::string_view query(std::string_view path, std::string_view name, bool* has) {
  if (has) *has = false;
  auto rest = path.substr(std::min(path.find('?'), path.size()));
  while (!rest.empty()) {
    rest.remove_prefix(1);
    const auto part = rest.substr(0, rest.find('&'));
    rest.remove_prefix(part.size());
    const auto equals = part.find('=');
    if (part.substr(0, equals) != name) continue;
    if (has) *has = true;
    return equals == std::string_view::npos ? std::string_view{} : part.substr(equals + 1);
  }
  return {};
}

net::Task<Page> admin_page(AdminContext& admin, std::string_view method, std::string_view full) {
  const auto path = http::path_only(full);
  if (path == "/quitquitquit" || path == "/drain_listeners" || path == "/reopen_logs" || path == "/healthcheck/fail" || path == "/healthcheck/ok") {
    if (method != "POST") co_return text_page("changes need POST\n", 405);
    co_return change(admin, path);
  }
  if (path == "/logging") co_return logging_page(method, full);
  if (method == "POST") co_return text_page("nothing to change here; use GET\n", 405);
  if (path == "/connections") co_return co_await connections_page(admin);
  if (path == "/clusters") co_return co_await clusters_page(admin, query(full, "format") == "json");
  if (path == "/config/status") co_return json_page(admin.pipeline.status().json());
  if (path == "/config_dump") co_return json_page(config_dump(admin));
  if (path == "/listeners") co_return query(full, "format") == "json" ? json_page(listeners_json(admin)) : text_page(listeners_text(admin));
  if (path == "/stats" || path == "/stats/prometheus") co_return stats_page(admin, full);
  if (path == "/server_info") co_return json_page(server_info(admin));
  if (path == "/memory") co_return memory_page();
  if (path == "/certs") co_return json_page("{\"certificates\":[]}\n");
  if (path == "/ready") co_return text_page(fmt::format("{}\n", admin.state()), admin.ready() ? 200 : 503);
  if (path == "/" || path == "/help") co_return text_page(std::string(kHelp));
  co_return text_page(fmt::format("no page {}\n{}", path, kHelp), 404);
}

}  // namespace proxy
