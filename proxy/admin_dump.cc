#include <fmt/format.h>

#include "base/version.h"
#include "doc/writer.h"
#include "proxy/admin_pages.h"

namespace proxy {
namespace {
using Kind = routing::Listener::Kind;

const char* kind_name(Kind kind) {
  switch (kind) {
    case Kind::kHttp: return "HTTP";
    case Kind::kTcp: return "TCP";
    case Kind::kAuto: return "AUTO";
    case Kind::kPassthrough: return "PASSTHROUGH";
    case Kind::kBlackHole: return "BLACKHOLE";
  }
  return "?";
}
const char* balancer_name(base::LoadBalancer balancer) {
  switch (balancer) {
    case base::LoadBalancer::kLeastRequest: return "LEAST_REQUEST";
    case base::LoadBalancer::kRoundRobin: return "ROUND_ROBIN";
    case base::LoadBalancer::kRandom: return "RANDOM";
    case base::LoadBalancer::kPassthrough: return "CLUSTER_PROVIDED";
  }
  return "?";
}
std::string seconds(std::chrono::milliseconds time) { return fmt::format("{}s", static_cast<double>(time.count()) / 1000); }

void dump_clusters(doc::JsonWriter& json, const routing::Snapshot& snapshot) {
  json.begin_object().member("@type", "type.googleapis.com/envoy.admin.v3.ClustersConfigDump").key("dynamic_active_clusters").begin_array();
  for (const auto& c : snapshot.clusters()) {
    json.begin_object().key("cluster").begin_object();
    json.member("name", c->name).member("type", c->original_dst ? "ORIGINAL_DST" : "EDS").member("lb_policy", balancer_name(c->load_balancer));
    json.member("connect_timeout", seconds(c->connect_timeout));
    json.end_object().end_object();
  }
  json.end_array().end_object();
}
void dump_listeners(doc::JsonWriter& json, const routing::Snapshot& snapshot) {
  json.begin_object().member("@type", "type.googleapis.com/envoy.admin.v3.ListenersConfigDump").key("dynamic_listeners").begin_array();
  for (const auto& listener : snapshot.listeners()) {
    json.begin_object().member("name", listener.name).member("port", static_cast<unsigned>(listener.port)).member("protocol", kind_name(listener.kind));
    json.member("direction", listener.inbound ? "INBOUND" : "OUTBOUND");
    if (listener.tcp_cluster != routing::RoutePlan::kMissing) json.member("tcp_cluster", snapshot.clusters()[listener.tcp_cluster]->name);
    json.end_object();
  }
  json.end_array().end_object();
}
}  // namespace

std::string config_dump(const AdminContext& admin) {
  const auto snapshot = admin.pipeline.latest();
  if (!snapshot) return "{\"configs\":[]}\n";
  doc::JsonWriter json;
  json.begin_object().member("version", snapshot->version).member("digest", snapshot->digest).key("configs").begin_array();
  dump_clusters(json, *snapshot);
  dump_listeners(json, *snapshot);
  json.end_array().end_object();
  std::string text = json.take();
  // The routes come as JSON text already; they are the last element of "configs".
  const auto end = text.rfind("]}");
  text.insert(end, ",{\"@type\":\"type.googleapis.com/envoy.admin.v3.RoutesConfigDump\",\"dynamic_route_configs\":" + snapshot->routes_json() + "}");
  return text + "\n";
}

std::string listeners_text(const AdminContext& admin) {
  std::string text;
  if (admin.options.gateway) {
    if (const auto snapshot = admin.pipeline.latest())
      for (const auto& port : snapshot->gateway_ports()) text += fmt::format("0.0.0.0_{}::0.0.0.0:{}\n", port.port, port.port);
    return text;
  }
  text = fmt::format("virtualOutbound::0.0.0.0:{}\nvirtualInbound::0.0.0.0:{}\n", admin.options.outbound_port, admin.options.inbound_port);
  if (const auto snapshot = admin.pipeline.latest())
    for (const auto& listener : snapshot->listeners())
      if (listener.name.find('_') != std::string::npos) text += fmt::format("{}::{}\n", listener.name, kind_name(listener.kind));
  return text;
}

std::string listeners_json(const AdminContext& admin) {
  doc::JsonWriter json(true);
  json.begin_object().key("listener_statuses").begin_array();
  if (const auto snapshot = admin.pipeline.latest())
    for (const auto& listener : snapshot->listeners())
      json.begin_object().member("name", listener.name).member("port", static_cast<unsigned>(listener.port)).member("protocol", kind_name(listener.kind)).end_object();
  json.end_array().end_object();
  return json.take() + "\n";
}

std::string server_info(const AdminContext& admin) {
  const auto uptime = std::chrono::duration_cast<std::chrono::seconds>(std::chrono::steady_clock::now() - admin.started).count();
  doc::JsonWriter json(true);
  json.begin_object().member("version", fmt::format("sluice {}", base::version_line())).member("state", admin.state());
  json.member("uptime_current_epoch", fmt::format("{}s", uptime)).member("concurrency", static_cast<unsigned>(admin.workers.size()));
  json.key("node").begin_object().member("id", fmt::format("{}~{}.{}", admin.options.gateway ? "router" : "sidecar", admin.options.pod_name, admin.options.pod_namespace)).end_object();
  json.member("old_snapshots_alive", static_cast<uint64_t>(admin.pipeline.old_snapshots_alive()));
  json.member("access_log_lines_dropped", admin.shared.access_log_dropped());
  json.end_object();
  return json.take() + "\n";
}

}  // namespace proxy
