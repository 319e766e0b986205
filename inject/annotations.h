#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "api/meta.h"
#include "doc/node.h"
#include "doc/problem.h"
#include "inject/settings.h"

namespace inject {

// What one pod's annotations make of the settings, every value checked (inject.md §2.1).
struct Choices {
  Settings settings;  // with the pod's own values in it
  bool include_outbound_ports_set = false, exclude_outbound_ports_set = false;
  std::string interfaces;   // -k
  std::string proxy_image;  // given in full; empty: made of hub and tag
  std::string image_type;
  std::string component_log_level, agent_log_level;
  bool cap_net_bind_service = false;
  bool gateway = false;  // inject.istio.io/templates: gateway
  std::string bootstrap_override;
  doc::Node user_volumes, user_mounts;  // JSON objects, null when absent
  std::vector<std::pair<std::string, std::string>> proxy_metadata;
};

// Errors in `problems` mean that the pod is refused: "invalid value 'x' for annotation 'y': why". Annotations that belong to
// the injector and are not acted on are one warning each.
Choices read_annotations(const doc::Node& pod, const Settings& settings, const std::string& object, const doc::Document& document,
                         doc::Problems& problems);

api::Labels texts_of(const doc::Node* map);  // labels or annotations as text

// strconv.ParseBool, as Istio reads switches.
std::optional<bool> parse_bool(std::string_view text);

}  // namespace inject
