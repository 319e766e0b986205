#include "api/tables.h"

namespace api::tables {
namespace {

// Kubernetes' own kinds have thousands of fields; kubectl has judged them. Listed is what we read, so that its type is checked.
constexpr Field kServicePortFields[] = {text("name"), text("protocol"), text("appProtocol"), required(port("port")), anything("targetPort")};
constexpr Message kServicePort{kServicePortFields, true};
constexpr Field kServiceSpecFields[] = {text("type"), text("clusterIP"), list(text("clusterIPs")), text_map("selector"), list(message("ports", kServicePort)),
                                        text("externalName"), truth("publishNotReadyAddresses")};
constexpr Message kServiceSpec{kServiceSpecFields, true};

constexpr Field kTargetFields[] = {text("kind"), text("name")};
constexpr Message kTarget{kTargetFields, true};
constexpr Field kOldAddressFields[] = {required(text("ip")), text("nodeName"), message("targetRef", kTarget)};
constexpr Message kOldAddress{kOldAddressFields, true};
constexpr Field kEndpointPortFields[] = {text("name"), port("port")};
constexpr Message kEndpointPort{kEndpointPortFields, true};
constexpr Field kEndpointSubsetFields[] = {list(message("addresses", kOldAddress)), list(message("notReadyAddresses", kOldAddress)), list(message("ports", kEndpointPort))};
constexpr Message kEndpointSubset{kEndpointSubsetFields, true};

constexpr Field kConditionsFields[] = {truth("ready"), truth("serving"), truth("terminating")};
constexpr Message kConditions{kConditionsFields, true};
constexpr Field kEndpointFields[] = {required(list(text("addresses"))), message("conditions", kConditions), message("targetRef", kTarget), text("zone"), text("nodeName")};
constexpr Message kEndpoint{kEndpointFields, true};

constexpr Field kContainerPortFields[] = {text("name"), text("protocol"), required(port("containerPort"))};
constexpr Message kContainerPort{kContainerPortFields, true};
constexpr Field kContainerFields[] = {text("name"), list(message("ports", kContainerPort))};
constexpr Message kContainer{kContainerFields, true};
constexpr Field kPodSpecFields[] = {text("serviceAccountName"), text("serviceAccount"), text("nodeName"), truth("hostNetwork"), integer("terminationGracePeriodSeconds"), list(message("containers", kContainer)),
                                    list(message("initContainers", kContainer))};
constexpr Message kPodSpec{kPodSpecFields, true};
constexpr Field kConditionFields[] = {text("type"), text("status")};
constexpr Message kCondition{kConditionFields, true};
constexpr Field kPodIpFields[] = {text("ip")};
constexpr Message kPodIp{kPodIpFields, true};
constexpr Field kPodStatusFields[] = {text("phase"), text("podIP"), list(message("podIPs", kPodIp)), list(message("conditions", kCondition))};
constexpr Message kPodStatus{kPodStatusFields, true};

constexpr Field kIngressRuleFields[] = {text("host")};
constexpr Message kIngressRule{kIngressRuleFields, true};
constexpr Field kIngressSpecFields[] = {list(message("rules", kIngressRule))};
constexpr Message kIngressSpec{kIngressSpecFields, true};

constexpr Field kNamespaceFields[] = {message("metadata", tables::kMetadata)};
constexpr Field kServiceFields[] = {message("metadata", tables::kMetadata), message("spec", kServiceSpec)};
constexpr Field kEndpointsFields[] = {message("metadata", tables::kMetadata), list(message("subsets", kEndpointSubset))};
constexpr Field kEndpointSliceFields[] = {message("metadata", tables::kMetadata), list(message("endpoints", kEndpoint)), list(message("ports", kEndpointPort))};
constexpr Field kPodFields[] = {message("metadata", tables::kMetadata), message("spec", kPodSpec), message("status", kPodStatus)};
constexpr Field kConfigMapFields[] = {message("metadata", tables::kMetadata), free_text_map("data")};
constexpr Field kIngressFields[] = {message("metadata", tables::kMetadata), message("spec", kIngressSpec)};

}  // namespace

constexpr Message kNamespace{kNamespaceFields, true};
constexpr Message kService{kServiceFields, true};
constexpr Message kEndpoints{kEndpointsFields, true};
constexpr Message kEndpointSlice{kEndpointSliceFields, true};
constexpr Message kPod{kPodFields, true};
constexpr Message kConfigMap{kConfigMapFields, true};
constexpr Message kIngress{kIngressFields, true};

}  // namespace api::tables
