#pragma once

#include <span>
#include <string>
#include <vector>

#include "upstream/cluster.h"

namespace telemetry {

// The bodies of GET /clusters, in Envoy's text and JSON forms, from what each worker said about its share
// (Clusters::view). Numbers are summed; endpoints are listed once. Stats that this proxy does not count are left out.
std::string clusters_text(std::span<const std::vector<upstream::Cluster::View>> workers);
std::string clusters_json(std::span<const std::vector<upstream::Cluster::View>> workers);

}  // namespace telemetry
