#pragma once

#include <map>
#include <string>
#include <vector>

#include "runner/addresses.h"
#include "runner/plan.h"

namespace runner {

// A pod as it stands: plan, addresses, and whether it takes traffic.
struct PodState {
  const PodPlan* plan = nullptr;
  AddressPair ip;
  bool ready = false, terminating = false;
};
struct ServiceState {
  const ServicePlan* plan = nullptr;
  AddressPair ip;  // unused when headless or ExternalName
};

// The generated root, pure: file name → text. What a cluster would have written: Pods with status, Services with cluster IPs,
// EndpointSlices of both families.
std::map<std::string, std::string> generated_root(const std::vector<PodState>& pods, const std::vector<ServiceState>& services);

// /etc/hosts as a pod of `name_space` would resolve services: every form from `name` to `name.ns.svc.cluster.local`; headless
// services lead to their pods.
std::string hosts_file(const std::string& name_space, const std::vector<PodState>& pods, const std::vector<ServiceState>& services,
                       const PodState* self);

// Rules of the node that send cluster IPs to a ready endpoint each, at random: what kube-proxy does for pods without a proxy.
// For iptables-restore (v4) or ip6tables-restore.
std::string kube_proxy_rules(const std::vector<PodState>& pods, const std::vector<ServiceState>& services, bool v4);

// The port number behind a Service's targetPort on this pod; 0: the pod has no port of that name.
uint16_t target_port(const doc::Node& pod, const PlannedPort& port);

}  // namespace runner
