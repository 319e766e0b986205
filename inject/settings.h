#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "doc/node.h"
#include "doc/problem.h"

namespace inject {

// What an administrator decides once for all pods: the structure and the defaults of Istio's Helm values, as far as they reach
// the patch (inject.md §3).
struct Settings {
  std::string hub = "sluice", tag;  // tag empty: our own version
  std::string proxy_image = "sluice-proxy", init_image = "sluice-init";
  std::string pull_policy, revision = "default", network, cluster = "Kubernetes", mesh_id = "cluster.local", trust_domain = "cluster.local";
  std::string log_level = "info";
  // Sidecars as init containers with restartPolicy Always (Kubernetes 1.29 and later). Offline nobody can ask the nodes.
  bool native_sidecars = true;
  bool hold_application = false, rewrite_probes = true, prometheus_merge = true, privileged = false;
  std::string interception = "REDIRECT";  // REDIRECT, TPROXY, NONE
  std::string include_ip_ranges = "*", exclude_ip_ranges, include_inbound_ports = "*", exclude_inbound_ports;
  std::string include_outbound_ports, exclude_outbound_ports, exclude_interfaces;
  uint16_t status_port = 15020;  // 0: neither excluded nor probed
  uint32_t readiness_initial_delay = 0, readiness_period = 15, readiness_failures = 4;
  uint32_t startup_period = 1, startup_failures = 600;
  std::vector<std::string> image_pull_secrets;
  doc::Node resources;     // of both containers
  doc::Node proxy_config;  // MeshConfig.defaultConfig, a map
  std::string domain = "cluster.local";

  Settings();
  std::string image(const std::string& name) const;
};

// Takes the values that are given (a map as Istio's Helm values; `mesh` is MeshConfig or null). A value of the wrong form is an
// error; one that we know but do not act on is a warning.
doc::Problems apply_values(Settings& settings, const doc::Document& values);
void apply_mesh(Settings& settings, const doc::Node& mesh);

}  // namespace inject
