#include "api/kinds.h"

#include "api/tables.h"

namespace api {
namespace {

using Versions = std::string_view[];
constexpr Versions kNetworking = {"v1", "v1beta1", "v1alpha3"};
constexpr Versions kAlpha3 = {"v1alpha3"};
constexpr Versions kBeta = {"v1beta1"};
constexpr Versions kSecurity = {"v1", "v1beta1"};
constexpr Versions kTelemetry = {"v1", "v1alpha1"};
constexpr Versions kAlpha1 = {"v1alpha1"};

constexpr std::string_view kIstio = "networking.istio.io", kPolicy = "security.istio.io", kGatewayApi = "gateway.networking.k8s.io";

const Kind kKinds[] = {
    {"", "Namespace", {}, Handling::kNamespace, &tables::kNamespace, true},
    {"", "Service", {}, Handling::kService, &tables::kService},
    {"", "Endpoints", {}, Handling::kEndpoints, &tables::kEndpoints},
    {"", "Pod", {}, Handling::kPod, &tables::kPod},
    {"", "ConfigMap", {}, Handling::kConfigMap, &tables::kConfigMap},
    // Its content must not appear anywhere, not even as "not implemented".
    {"", "Secret", {}, Handling::kSilent},
    {"discovery.k8s.io", "EndpointSlice", {}, Handling::kEndpointSlice, &tables::kEndpointSlice},
    {"networking.k8s.io", "Ingress", {}, Handling::kIngress, &tables::kIngress},
    {"extensions", "Ingress", {}, Handling::kIngress, &tables::kIngress},
    {"networking.k8s.io", "IngressClass", {}, Handling::kPending, nullptr, true},
    {kIstio, "VirtualService", kNetworking, Handling::kVirtualService, &tables::kVirtualService},
    {kIstio, "DestinationRule", kNetworking, Handling::kDestinationRule, &tables::kDestinationRule},
    {kIstio, "Gateway", kNetworking, Handling::kGateway, &tables::kGateway},
    {kIstio, "ServiceEntry", kNetworking, Handling::kServiceEntry, &tables::kServiceEntry},
    {kIstio, "Sidecar", kNetworking, Handling::kPending},
    {kIstio, "WorkloadEntry", kNetworking, Handling::kPending},
    {kIstio, "WorkloadGroup", kNetworking, Handling::kPending},
    {kIstio, "EnvoyFilter", kAlpha3, Handling::kPending},
    {kIstio, "ProxyConfig", kBeta, Handling::kPending},
    {kPolicy, "PeerAuthentication", kSecurity, Handling::kPending},
    {kPolicy, "RequestAuthentication", kSecurity, Handling::kPending},
    {kPolicy, "AuthorizationPolicy", kSecurity, Handling::kPending},
    {"telemetry.istio.io", "Telemetry", kTelemetry, Handling::kPending},
    {"extensions.istio.io", "WasmPlugin", kAlpha1, Handling::kPending},
    {kGatewayApi, "Gateway", {}, Handling::kPending},
    {kGatewayApi, "GatewayClass", {}, Handling::kPending, nullptr, true},
    {kGatewayApi, "HTTPRoute", {}, Handling::kPending},
    {kGatewayApi, "GRPCRoute", {}, Handling::kPending},
    {kGatewayApi, "TLSRoute", {}, Handling::kPending},
    {kGatewayApi, "TCPRoute", {}, Handling::kPending},
    {kGatewayApi, "ReferenceGrant", {}, Handling::kPending},
};

}  // namespace

const Kind* find_kind(std::string_view group, std::string_view name) {
  for (const Kind& kind : kKinds)
    if (kind.group == group && kind.name == name) return &kind;
  return nullptr;
}

std::vector<const Kind*> namesakes(std::string_view name) {
  std::vector<const Kind*> out;
  for (const Kind& kind : kKinds)
    if (kind.name == name) out.push_back(&kind);
  return out;
}

std::vector<std::string_view> kinds_of(std::string_view group) {
  std::vector<std::string_view> out;
  for (const Kind& kind : kKinds)
    if (kind.group == group) out.push_back(kind.name);
  return out;
}

bool is_istio_group(std::string_view group) {
  for (const std::string_view ours : {kIstio, kPolicy, std::string_view("telemetry.istio.io"), std::string_view("extensions.istio.io")})
    if (group == ours) return true;
  return false;
}

}  // namespace api
