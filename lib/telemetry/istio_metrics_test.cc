#include "telemetry/istio_metrics.h"

#include <gtest/gtest.h>

#include <algorithm>

namespace telemetry {
namespace {

using namespace std::chrono_literals;

struct Metrics {
  explicit Metrics(size_t series_cap = 10'000) : registry(series_cap), metrics(registry.make_shard(), self()) {
    cluster.name = "outbound|9080|v1|ratings.default.svc.cluster.local";
    cluster.service_host = "ratings.default.svc.cluster.local";
    cluster.service_name = "ratings";
    cluster.service_namespace = "default";
    peer.workload = "ratings-v1";
    peer.name_space = "default";
    peer.app = "ratings";
    peer.version = "v1";
  }
  static Self self() {
    Self self;
    self.workload.workload = "a-v1";
    self.workload.name_space = "default";
    self.workload.app = "a";
    self.workload.version = "v2";
    self.workload.canonical_name = "canon";
    self.workload.canonical_revision = "rev";
    self.workload.cluster_id = "Kubernetes";
    self.principal = "spiffe://cluster.local/ns/default/sa/a";
    return self;
  }
  RequestLabels request(uint16_t status = 200) const {
    RequestLabels labels;
    labels.cluster = &cluster;
    labels.peer = &peer;
    labels.status = status;
    return labels;
  }
  void record(const RequestLabels& labels) { metrics.record_request(labels, {.duration = 3.5ms, .request_bytes = 10, .response_bytes = 300}); }
  // The one series of this name; its value, and its labels by name.
  stats::Registry::Sample only(std::string_view name) const {
    stats::Registry::Sample found{};
    int n = 0;
    for (auto& sample : samples = registry.merged()) {
      if (sample.name != name) continue;
      found = sample;
      ++n;
    }
    EXPECT_EQ(n, 1) << name;
    return found;
  }
  std::string label(std::string_view metric, std::string_view label) const {
    const auto sample = only(metric);
    if (!sample.labels) return "no such series";
    for (const auto& [name, value] : *sample.labels) {
      if (name == label) return value;
    }
    return "no such label";
  }
  stats::Registry registry;
  IstioMetrics metrics;
  base::ClusterSettings cluster;
  base::WorkloadInfo peer;
  mutable std::vector<stats::Registry::Sample> samples;
};

TEST(IstioMetrics, Source_LabelsAreIstiosInOrder) {
  Metrics m;
  m.record(m.request());
  const stats::Labels want = {
      {"reporter", "source"},
      {"source_workload", "a-v1"},
      {"source_workload_namespace", "default"},
      {"source_principal", "unknown"},
      {"source_app", "a"},
      {"source_version", "v2"},
      {"source_cluster", "Kubernetes"},
      {"source_canonical_service", "canon"},
      {"source_canonical_revision", "rev"},
      {"destination_workload", "ratings-v1"},
      {"destination_workload_namespace", "default"},
      {"destination_principal", "unknown"},
      {"destination_app", "ratings"},
      {"destination_version", "v1"},
      {"destination_service", "ratings.default.svc.cluster.local"},
      {"destination_service_name", "ratings"},
      {"destination_service_namespace", "default"},
      {"destination_cluster", "unknown"},
      {"destination_canonical_service", "ratings"},
      {"destination_canonical_revision", "v1"},
      {"request_protocol", "http"},
      {"response_code", "200"},
      {"grpc_response_status", ""},
      {"response_flags", "-"},
      {"connection_security_policy", "unknown"},
  };
  const auto sample = m.only("istio_requests_total");
  ASSERT_TRUE(sample.labels);
  EXPECT_EQ(*sample.labels, want);
  EXPECT_EQ(sample.value, 1u);
}

TEST(IstioMetrics, Destination_SidesChangeAndTheConnectionSpeaks) {
  Metrics m;
  RequestLabels labels = m.request(503);
  labels.reporter = Reporter::kDestination;
  labels.mutual_tls = true;
  labels.peer_principal = "spiffe://cluster.local/ns/default/sa/client";
  labels.flags = "UF,URX";
  m.record(labels);
  const auto label = [&](std::string_view name) { return m.label("istio_requests_total", name); };
  EXPECT_EQ(label("reporter"), "destination");
  EXPECT_EQ(label("source_workload"), "ratings-v1");
  EXPECT_EQ(label("destination_workload"), "a-v1");
  EXPECT_EQ(label("source_principal"), "spiffe://cluster.local/ns/default/sa/client");
  EXPECT_EQ(label("destination_principal"), "spiffe://cluster.local/ns/default/sa/a");
  EXPECT_EQ(label("connection_security_policy"), "mutual_tls");
  EXPECT_EQ(label("response_code"), "503");
  EXPECT_EQ(label("response_flags"), "UF,URX");
}

TEST(IstioMetrics, DestinationPlaintext_IsNoneAndPrincipalsAreUnknown) {
  Metrics m;
  RequestLabels labels = m.request();
  labels.reporter = Reporter::kDestination;
  m.record(labels);
  EXPECT_EQ(m.label("istio_requests_total", "connection_security_policy"), "none");
  EXPECT_EQ(m.label("istio_requests_total", "destination_principal"), "unknown");
}

TEST(IstioMetrics, NothingKnown_IsUnknownExceptFallbacks) {
  Metrics m;
  RequestLabels labels;
  labels.status = 502;
  labels.fallback_name = "BlackHoleCluster";
  labels.fallback_host = "www.example.com";
  m.record(labels);
  const auto label = [&](std::string_view name) { return m.label("istio_requests_total", name); };
  EXPECT_EQ(label("destination_service"), "www.example.com");
  EXPECT_EQ(label("destination_service_name"), "BlackHoleCluster");
  EXPECT_EQ(label("destination_service_namespace"), "unknown");
  EXPECT_EQ(label("destination_workload"), "unknown");
  EXPECT_EQ(label("destination_canonical_service"), "unknown");
  EXPECT_EQ(label("destination_canonical_revision"), "unknown");
}

TEST(IstioMetrics, WorkloadWithoutVersion_HasRevisionLatest) {
  Metrics m;
  m.peer.version.clear();
  m.record(m.request());
  EXPECT_EQ(m.label("istio_requests_total", "destination_canonical_revision"), "latest");
  EXPECT_EQ(m.label("istio_requests_total", "destination_version"), "unknown");
}

TEST(IstioMetrics, Grpc_HasItsStatus) {
  Metrics m;
  RequestLabels labels = m.request();
  labels.grpc = true;
  labels.grpc_status = 14;
  m.record(labels);
  EXPECT_EQ(m.label("istio_requests_total", "request_protocol"), "grpc");
  EXPECT_EQ(m.label("istio_requests_total", "grpc_response_status"), "14");
}

TEST(IstioMetrics, Histograms_GetTheNumbers) {
  Metrics m;
  m.record(m.request());
  m.record(m.request());
  EXPECT_EQ(m.only("istio_requests_total").value, 2u);
  EXPECT_DOUBLE_EQ(m.only("istio_request_duration_milliseconds").sum, 7.0);
  EXPECT_DOUBLE_EQ(m.only("istio_request_bytes").sum, 20.0);
  EXPECT_DOUBLE_EQ(m.only("istio_response_bytes").sum, 600.0);
}

TEST(IstioMetrics, WhateverDiffers_IsASeriesOfItsOwn) {
  Metrics m;
  base::ClusterSettings other_cluster = m.cluster;
  other_cluster.service_host = "details.default.svc.cluster.local";
  base::WorkloadInfo other_peer = m.peer;
  other_peer.version = "v9";
  std::vector<RequestLabels> different(8, m.request());
  different[1].status = 404;
  different[2].flags = "DC";
  different[3].grpc = true;
  different[4].reporter = Reporter::kDestination;
  different[5].cluster = &other_cluster;
  different[6].peer = &other_peer;
  different[7].peer = nullptr;
  for (int round = 0; round < 2; ++round) {
    for (const auto& labels : different) m.record(labels);
  }
  size_t n = 0;
  for (const auto& sample : m.registry.merged()) {
    if (sample.name != "istio_requests_total") continue;
    EXPECT_EQ(sample.value, 2u);
    ++n;
  }
  EXPECT_EQ(n, different.size());
}

TEST(IstioMetrics, EqualWorkloadAtAnotherAddress_IsTheSameSeries) {
  Metrics m;
  m.record(m.request());
  const base::WorkloadInfo copy = m.peer;
  RequestLabels labels = m.request();
  labels.peer = &copy;
  m.record(labels);
  EXPECT_EQ(m.only("istio_requests_total").value, 2u);
}

TEST(IstioMetrics, AnotherConfigurationAtTheSameAddresses_IsItsOwnSeries) {
  Metrics m;
  m.record(m.request());
  m.metrics.configuration_changed();
  m.cluster.service_host = "reviews.default.svc.cluster.local";
  m.peer.workload = "reviews-v3";
  m.record(m.request());
  size_t n = 0;
  for (const auto& sample : m.registry.merged()) n += sample.name == "istio_requests_total" && sample.value == 1;
  EXPECT_EQ(n, 2u);
}

TEST(IstioMetrics, EndlessAuthorities_AreFoldedByTheRegistry) {
  Metrics m(100);
  RequestLabels labels;
  labels.status = 200;
  labels.fallback_name = "PassthroughCluster";
  for (int i = 0; i < 17'000; ++i) {
    const std::string host = "h" + std::to_string(i) + ".example";
    labels.fallback_host = host;
    m.record(labels);
  }
  size_t series = 0;
  uint64_t requests = 0;
  for (const auto& sample : m.registry.merged()) {
    if (sample.name != "istio_requests_total") continue;
    ++series;
    requests += sample.value;
  }
  EXPECT_EQ(requests, 17'000u);
  EXPECT_LE(series, 101u);
}

TEST(IstioMetrics, Tcp_CountersWithoutResponseCode) {
  Metrics m;
  TrafficLabels labels;
  labels.cluster = &m.cluster;
  labels.peer = &m.peer;
  const auto tunnel = m.metrics.tcp(labels);
  tunnel.opened->add();
  tunnel.sent->add(100);
  tunnel.received->add(7);
  m.metrics.tcp(labels).closed->add();
  EXPECT_EQ(m.only("istio_tcp_connections_opened_total").value, 1u);
  EXPECT_EQ(m.only("istio_tcp_connections_closed_total").value, 1u);
  EXPECT_EQ(m.only("istio_tcp_sent_bytes_total").value, 100u);
  EXPECT_EQ(m.only("istio_tcp_received_bytes_total").value, 7u);
  EXPECT_EQ(m.label("istio_tcp_sent_bytes_total", "request_protocol"), "tcp");
  EXPECT_EQ(m.label("istio_tcp_sent_bytes_total", "response_code"), "no such label");
  EXPECT_EQ(m.label("istio_tcp_sent_bytes_total", "response_flags"), "-");
}

TEST(WorkloadOfPodName, DeploymentPods_LoseHashAndSuffix) {
  EXPECT_EQ(workload_of_pod_name("reviews-v1-7d5b8c9f4d-x2k9q"), "reviews-v1");
  EXPECT_EQ(workload_of_pod_name("a-5f76d8c9b-abcde"), "a");
  EXPECT_EQ(workload_of_pod_name("istio-ingressgateway-6bd5b7c58c-mzk8p"), "istio-ingressgateway");
}

TEST(WorkloadOfPodName, OtherNames_Stay) {
  for (const char* name : {"a", "mysql-0", "reviews-v1", "my-postgres-store", "x-7d5b8c9f4d", "-7d5b8c9f4d-x2k9q", "a-7d5b8-x2k9q", "a-7d5b8c9f4d-x2k9", "-x2k9q", "", "a-7D5B8C9F4D-x2k9q"}) {
    EXPECT_EQ(workload_of_pod_name(name), name);
  }
}

}  // namespace
}  // namespace telemetry
