#pragma once

#include <chrono>
#include <map>
#include <optional>
#include <string>

#include "doc/problem.h"

namespace api {

enum class OutboundPolicy : uint8_t { kAllowAny, kRegistryOnly };
enum class PathNormalization : uint8_t { kNone, kBase, kMergeSlashes, kDecodeAndMergeSlashes };

// MeshConfig.defaultConfig or the pod annotation proxy.istio.io/config, as far as the proxy reads it. Unset = not said.
struct ProxyConfig {
  std::optional<uint32_t> concurrency;
  std::map<std::string, std::string> proxy_metadata;
  std::optional<std::chrono::milliseconds> drain_duration, termination_drain_duration;
  std::optional<uint32_t> num_trusted_proxies;
  std::optional<bool> preserve_header_case, attempt_count_disabled, request_id_disabled, debug_headers_disabled, server_disabled;
  std::optional<std::string> server_value;
};

// The ConfigMap `istio` of istio-system, key `mesh`. Defaults are Istio's (traffic.md §2.13).
struct MeshConfig {
  OutboundPolicy outbound = OutboundPolicy::kAllowAny;
  PathNormalization normalization = PathNormalization::kBase;
  std::string access_log_file, access_log_format;
  bool access_log_json = false;
  std::string root_namespace = "istio-system", trust_domain = "cluster.local", domain = "cluster.local";
  std::chrono::milliseconds connect_timeout{10'000}, protocol_detection_timeout{0};
  bool auto_mtls = true;
  ProxyConfig defaults;
  doc::Mark at;
};

}  // namespace api
