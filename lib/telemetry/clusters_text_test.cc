#include "telemetry/clusters_text.h"

#include <gtest/gtest.h>

namespace telemetry {
namespace {

using upstream::Cluster;

Cluster::View view(std::string name, uint32_t active, uint64_t requests) {
  Cluster::View view;
  view.name = std::move(name);
  auto settings = std::make_shared<base::ClusterSettings>();
  settings->max_connections = 100;
  view.settings = settings;
  Cluster::EndpointView endpoint;
  endpoint.endpoint.address = *base::SocketAddress::parse("10.0.0.1:9080");
  endpoint.connections_active = active;
  endpoint.connections_idle = 1;
  endpoint.connections_total = active + 1;
  endpoint.requests_active = active;
  endpoint.requests_total = requests;
  view.endpoints.push_back(endpoint);
  return view;
}

std::vector<std::vector<Cluster::View>> two_workers() {
  std::vector<std::vector<Cluster::View>> workers(2);
  workers[0] = {view("outbound|9080||b", 1, 10)};
  workers[1] = {view("outbound|9080||a", 0, 1), view("outbound|9080||b", 2, 5)};
  workers[1][1].endpoints.push_back(workers[1][1].endpoints[0]);
  workers[1][1].endpoints[1].endpoint.address = *base::SocketAddress::parse("[fd00::1]:9080");
  workers[1][1].endpoints[1].endpoint.healthy = false;
  return workers;
}

bool has_line(const std::string& text, std::string_view line) { return ("\n" + text).find("\n" + std::string(line) + "\n") != std::string::npos; }

TEST(Clusters, Text_SumsWorkersAndListsEachEndpointOnce) {
  const std::string text = clusters_text(two_workers());
  for (const char* line : {
           "outbound|9080||a::observability_name::outbound|9080||a",
           "outbound|9080||b::default_priority::max_connections::100",
           "outbound|9080||b::high_priority::max_retries::4294967295",
           "outbound|9080||b::added_via_api::true",
           "outbound|9080||b::10.0.0.1:9080::cx_active::5",
           "outbound|9080||b::10.0.0.1:9080::cx_total::5",
           "outbound|9080||b::10.0.0.1:9080::rq_active::3",
           "outbound|9080||b::10.0.0.1:9080::rq_total::15",
           "outbound|9080||b::10.0.0.1:9080::health_flags::healthy",
           "outbound|9080||b::10.0.0.1:9080::weight::1",
           "outbound|9080||b::[fd00::1]:9080::health_flags::/failed_eds_health",
       }) {
    EXPECT_TRUE(has_line(text, line)) << line;
  }
  EXPECT_EQ(text.find("outbound|9080||a::"), 0u);
}

TEST(Clusters, Json_HasEnvoysShape) {
  std::vector<std::vector<Cluster::View>> workers(1);
  workers[0] = {view("x", 2, 7)};
  EXPECT_EQ(clusters_json(workers),
            R"({"cluster_statuses":[{"name":"x","added_via_api":true,"observability_name":"x","host_statuses":[)"
            R"({"address":{"socket_address":{"address":"10.0.0.1","port_value":9080}},"stats":[{"type":"GAUGE","name":"cx_active","value":"3"},)"
            R"({"type":"COUNTER","name":"cx_connect_fail"},{"type":"COUNTER","name":"cx_total","value":"3"},)"
            R"({"type":"GAUGE","name":"rq_active","value":"2"},{"type":"COUNTER","name":"rq_total","value":"7"}],)"
            R"("health_status":{"eds_health_status":"HEALTHY"},"weight":1,"locality":{}}],)"
            R"("circuit_breakers":{"thresholds":[)"
            R"({"priority":"DEFAULT","max_connections":100,"max_pending_requests":4294967295,"max_requests":4294967295,"max_retries":4294967295},)"
            R"({"priority":"HIGH","max_connections":100,"max_pending_requests":4294967295,"max_requests":4294967295,"max_retries":4294967295}]}}]})"
            "\n");
}

TEST(Clusters, NoWorkers_IsEmpty) {
  EXPECT_EQ(clusters_text({}), "");
  EXPECT_EQ(clusters_json({}), "{\"cluster_statuses\":[]}\n");
}

}  // namespace
}  // namespace telemetry
