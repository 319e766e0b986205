#pragma once

#include <span>
#include <string_view>

#include "api/schema.h"

// Internal to api: the kinds that mean something to a mesh, and what we do with each.
namespace api {

enum class Handling : uint8_t {
  kNamespace, kService, kEndpoints, kEndpointSlice, kPod, kConfigMap, kVirtualService, kDestinationRule, kGateway, kServiceEntry,
  kIngress,      // checked, without effect yet
  kPending,      // Istio's or Kubernetes', without effect yet: one warning
  kSilent,       // read by somebody else, or harmless: nothing is said
};

struct Kind {
  std::string_view group, name;
  std::span<const std::string_view> versions;   // newest first; empty: any
  Handling handling;
  const Message* table = nullptr;               // null: only metadata is looked at
  bool cluster_wide = false;
};

// The row of a kind, null when it means nothing to us.
const Kind* find_kind(std::string_view group, std::string_view name);
// Kinds of that name in other groups, for "did you mean".
std::vector<const Kind*> namesakes(std::string_view name);
std::vector<std::string_view> kinds_of(std::string_view group);

// networking.istio.io and its siblings: a kind or version that we do not know there is a mistake, not somebody else's object.
bool is_istio_group(std::string_view group);

}  // namespace api
