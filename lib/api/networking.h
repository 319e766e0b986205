#pragma once

#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "api/meta.h"
#include "base/cluster_settings.h"
#include "base/ip.h"
#include "base/regex.h"

namespace api {

struct StringMatch {
  enum class Kind : uint8_t { kExact, kPrefix, kRegex, kPresent } kind = Kind::kExact;   // kPresent: `{}` or regex `*`
  std::string value;
  std::optional<base::Regex> regex;      // compiled, kRegex only
  doc::Mark at;
  bool matches(std::string_view text) const;
};

struct Destination {
  Text host, subset;
  uint16_t port = 0;                     // 0: not said
  doc::Mark at;
};
struct HeaderOperations {
  std::vector<std::pair<std::string, std::string>> set, add;
  std::vector<std::string> remove;
  bool empty() const noexcept { return set.empty() && add.empty() && remove.empty(); }
};
struct RouteDestination {
  Destination destination;
  std::optional<uint32_t> weight;        // absent is not the same as 0 for messages, but counts as 0
  HeaderOperations request_headers, response_headers;
  doc::Mark at;
};

struct HttpMatch {
  std::string name;
  std::optional<StringMatch> uri, scheme, method, authority;
  bool ignore_uri_case = false;
  std::vector<std::pair<std::string, StringMatch>> headers, without_headers, query_params;   // header names lower-case
  uint16_t port = 0;                     // 0: any
  Labels source_labels;
  std::string source_namespace;
  std::vector<Text> gateways;
  doc::Mark at;
};
struct HttpRoute {
  std::string name;
  std::vector<HttpMatch> match;          // empty: everything
  std::vector<RouteDestination> route;
  std::optional<std::chrono::milliseconds> timeout;
  struct Retries {
    uint32_t attempts = 2;
    std::optional<std::chrono::milliseconds> per_try_timeout;
    std::string retry_on;
  };
  std::optional<Retries> retries;
  HeaderOperations request_headers, response_headers;
  doc::Mark at;
};
struct VirtualService {
  Meta meta;
  std::vector<Text> hosts;
  std::vector<Text> gateways;            // as written; empty means mesh
  std::vector<Text> export_to;
  std::vector<HttpRoute> http;
  size_t tcp_rules = 0, tls_rules = 0;   // counted only: not implemented yet, the reader has warned
};

// trafficPolicy.connectionPool. Istio: a threshold of 0 is one that was not set, and there is none then.
struct ConnectionPool {
  uint32_t max_connections = 0, max_pending = 0, max_requests = 0, max_retries = 0, max_requests_per_connection = 0;
  std::optional<std::chrono::milliseconds> connect_timeout, max_connection_duration, tcp_idle_timeout, idle_timeout;
};
struct PolicyBlocks {
  std::optional<base::LoadBalancer> load_balancer;
  std::optional<ConnectionPool> pool;
};
struct TrafficPolicy : PolicyBlocks {
  std::vector<std::pair<uint16_t, PolicyBlocks>> ports;   // portLevelSettings, by port of the service; the first of a number counts
};
struct Subset {
  Text name;
  Labels labels;
  TrafficPolicy policy;
  doc::Mark at;
};
struct DestinationRule {
  Meta meta;
  Text host;
  std::vector<Text> export_to;
  std::optional<TrafficPolicy> policy;
  std::vector<Subset> subsets;
};

struct Server {
  std::string name, port_name, protocol; // protocol upper-case: HTTP, HTTP2, GRPC, GRPC-WEB, HTTPS, TLS, TCP …
  uint16_t port = 0;
  std::vector<Text> hosts;               // "[ns/]dnsName" as written
  std::string bind;
  bool tls = false;                      // has a tls block
  bool https_redirect = false;
  doc::Mark at;
};
struct Gateway {
  Meta meta;
  Labels selector;                       // empty: every gateway
  doc::Mark selector_at;
  std::vector<Server> servers;
};

struct WorkloadEndpoint {                // spec.endpoints[] of a ServiceEntry, or a WorkloadEntry
  std::string address;
  std::vector<std::pair<std::string, uint16_t>> ports;
  Labels labels;
  uint32_t weight = 1;
  std::string service_account;
  doc::Mark at;
};
struct ServiceEntry {
  enum class Resolution : uint8_t { kNone, kStatic, kDns, kDnsRoundRobin };
  Meta meta;
  std::vector<Text> hosts;
  std::vector<Text> export_to;
  std::vector<base::Cidr> addresses;
  struct Port {
    std::string name, protocol;          // protocol as written
    uint16_t number = 0, target = 0;     // target 0: the same
    doc::Mark at;
  };
  std::vector<Port> ports;
  bool mesh_internal = false;
  Resolution resolution = Resolution::kNone;
  std::vector<WorkloadEndpoint> endpoints;
  Labels workload_selector;
};

}  // namespace api
