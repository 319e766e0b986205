#pragma once

#include "api/schema.h"

// Internal to api: the fields of each kind, once. Networking: istio.io/api at v1; the same fields in every served version.
namespace api::tables {

extern const Message kVirtualService, kDestinationRule, kGateway, kServiceEntry;   // whole documents, metadata included
extern const Message kNamespace, kService, kEndpoints, kEndpointSlice, kPod, kConfigMap;
extern const Message kMeshConfig, kProxyConfig;
extern const Message kMetadata;
extern const Message kIngress;

// The words that the decoders map to values, in Istio's order.
extern const std::span<const std::string_view> kLoadBalancers, kResolutions, kServerTlsModes;

}  // namespace api::tables
