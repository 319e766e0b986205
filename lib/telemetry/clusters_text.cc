#include "telemetry/clusters_text.h"

#include <array>
#include <map>
#include <unordered_map>
#include <utility>

#include <fmt/format.h>

#include "telemetry/text.h"

namespace telemetry {
namespace {

using upstream::Cluster;

// The shares of all workers added up, clusters by name, endpoints in the first worker's order.
std::map<std::string_view, Cluster::View> merge(std::span<const std::vector<Cluster::View>> workers) {
  std::map<std::string_view, Cluster::View> merged;
  for (const auto& worker : workers) {
    for (const Cluster::View& part : worker) {
      Cluster::View& sum = merged[part.name];
      if (sum.name.empty()) {
        sum = part;
        continue;
      }
      std::unordered_map<base::SocketAddress, size_t> place;
      for (size_t i = 0; i < sum.endpoints.size(); ++i) place.emplace(sum.endpoints[i].endpoint.address, i);
      for (const Cluster::EndpointView& endpoint : part.endpoints) {
        const auto at = place.find(endpoint.endpoint.address);
        Cluster::EndpointView* same = at == place.end() ? nullptr : &sum.endpoints[at->second];
        if (!same) {
          sum.endpoints.push_back(endpoint);
          continue;
        }
        same->connections_active += endpoint.connections_active;
        same->connections_idle += endpoint.connections_idle;
        same->requests_active += endpoint.requests_active;
        same->connections_total += endpoint.connections_total;
        same->connect_failures += endpoint.connect_failures;
        same->requests_total += endpoint.requests_total;
      }
    }
  }
  return merged;
}

struct Threshold {
  std::string_view name;
  uint32_t value;
};

std::array<Threshold, 4> thresholds(const Cluster::View& view) {
  static const base::ClusterSettings kDefault;
  const base::ClusterSettings& s = view.settings ? *view.settings : kDefault;
  return {{{"max_connections", s.max_connections}, {"max_pending_requests", s.max_pending}, {"max_requests", s.max_requests}, {"max_retries", s.max_retries}}};
}

struct Stat {
  std::string_view name;
  uint64_t value;
  std::string_view kind;
};

std::array<Stat, 5> stats_of(const Cluster::EndpointView& e) {
  // Envoy counts idle connections as active.
  return {{{"cx_active", uint64_t{e.connections_active} + e.connections_idle, "GAUGE"},
           {"cx_connect_fail", e.connect_failures, "COUNTER"},
           {"cx_total", e.connections_total, "COUNTER"},
           {"rq_active", e.requests_active, "GAUGE"},
           {"rq_total", e.requests_total, "COUNTER"}}};
}

std::string quoted(std::string_view text) {
  std::string out = "\"";
  append_json_text(out, text);
  out += '"';
  return out;
}

std::string endpoint_json(const Cluster::EndpointView& e) {
  std::string stats;
  for (const Stat& stat : stats_of(e)) {
    if (!stats.empty()) stats += ',';
    // Envoy writes 64-bit numbers as strings (protobuf's JSON) and leaves zeros out.
    stats += stat.value == 0 ? fmt::format(R"({{"type":"{}","name":"{}"}})", stat.kind, stat.name)
                             : fmt::format(R"({{"type":"{}","name":"{}","value":"{}"}})", stat.kind, stat.name, stat.value);
  }
  return fmt::format(R"({{"address":{{"socket_address":{{"address":"{}","port_value":{}}}}},"stats":[{}],)"
                     R"("health_status":{{"eds_health_status":"{}"}},"weight":{},"locality":{{}}}})",
                     e.endpoint.address.ip.text(), e.endpoint.address.port, stats, e.endpoint.healthy ? "HEALTHY" : "UNHEALTHY", e.endpoint.weight);
}

}  // namespace

std::string clusters_text(std::span<const std::vector<Cluster::View>> workers) {
  std::string out;
  for (const auto& [name, view] : merge(workers)) {
    const auto line = [&, cluster = name](std::string_view what, const auto& value) { out += fmt::format("{}::{}::{}\n", cluster, what, value); };
    line("observability_name", name);
    for (const std::string_view priority : {"default_priority", "high_priority"}) {
      for (const Threshold& threshold : thresholds(view)) line(fmt::format("{}::{}", priority, threshold.name), threshold.value);
    }
    line("added_via_api", true);
    for (const Cluster::EndpointView& e : view.endpoints) {
      const std::string at = e.endpoint.address.text();
      const auto host = [&](std::string_view what, const auto& value) { line(fmt::format("{}::{}", at, what), value); };
      for (const Stat& stat : stats_of(e)) host(stat.name, stat.value);
      host("hostname", "");
      host("health_flags", e.endpoint.healthy ? "healthy" : "/failed_eds_health");
      host("weight", e.endpoint.weight);
      host("region", "");
      host("zone", "");
      host("sub_zone", "");
      host("canary", false);
      host("priority", 0);
    }
  }
  return out;
}

std::string clusters_json(std::span<const std::vector<Cluster::View>> workers) {
  std::string out = R"({"cluster_statuses":[)";
  bool first = true;
  for (const auto& [name, view] : merge(workers)) {
    if (!std::exchange(first, false)) out += ',';
    std::string limits;
    for (const Threshold& threshold : thresholds(view)) limits += fmt::format(R"(,"{}":{})", threshold.name, threshold.value);
    std::string hosts;
    for (const Cluster::EndpointView& e : view.endpoints) {
      if (!hosts.empty()) hosts += ',';
      hosts += endpoint_json(e);
    }
    out += fmt::format(R"({{"name":{0},"added_via_api":true,"observability_name":{0},"host_statuses":[{1}],)"
                       R"("circuit_breakers":{{"thresholds":[{{"priority":"DEFAULT"{2}}},{{"priority":"HIGH"{2}}}]}}}})",
                       quoted(name), hosts, limits);
  }
  out += "]}\n";
  return out;
}

}  // namespace telemetry
