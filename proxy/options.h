#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/ip.h"
#include "log/log.h"
#include "proxy/limits.h"

namespace proxy {

// What the command line and the environment said (CONTRACT, sluice-proxy), already checked.
struct Options {
  bool gateway = false;
  std::vector<std::string> config_roots;
  std::string pod_namespace = "default", pod_name;
  std::vector<base::Ip> addresses;                   // --ip; empty: the Pod's, else the interfaces'
  std::string interception_mode;                     // REDIRECT or TPROXY; empty: the Pod's annotation
  std::optional<bool> interception_probe;            // SLUICE_INTERCEPTION_PROBE; false: the rules leave the canary alone
  std::string labels_file, annotations_file;         // downward API, instead of a Pod in the configuration
  uint16_t outbound_port = 15001, inbound_port = 15006, health_port = 15021, metrics_port = 15090, agent_port = 15020;
  base::SocketAddress admin{base::Ip::loopback(true), 15000};
  unsigned concurrency = 0;                          // 0: from the CPU limit
  std::string workload_certs = "/var/run/secrets/workload-spiffe-credentials";
  logs::Level log_level = logs::Level::kInfo;
  bool log_json = false;
  bool http10 = false;                               // PILOT_HTTP10=1
  Limits limits;
  // How long traffic is served after SIGTERM. Unset: what the mesh says (terminationDrainDuration, proxyMetadata), else 5 s.
  std::optional<std::chrono::milliseconds> drain;           // TERMINATION_DRAIN_DURATION_SECONDS
  std::optional<bool> exit_when_idle;                       // EXIT_ON_ZERO_ACTIVE_CONNECTIONS: until no connection is left …
  std::optional<std::chrono::milliseconds> minimum_drain;   // … but at least MINIMUM_DRAIN_DURATION; the drain time is not used
};

}  // namespace proxy
