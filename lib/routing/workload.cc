#include "routing/engine.h"

#include <initializer_list>
#include <string_view>

namespace routing {
namespace {
std::string first_label(const api::Labels& labels, std::initializer_list<const char*> names, std::string_view otherwise) {
  for (const char* name : names)
    if (const auto found = labels.find(name); found != labels.end() && !found->second.empty()) return found->second;
  return std::string(otherwise);
}

// A pod's name without what its controller has added. Only labels that the controllers themselves set are trusted: `reviews-v1`
// made by hand must stay as it is.
std::string workload_name(const std::string& name, const api::Labels& labels) {
  const size_t last = name.rfind('-');
  if (last == name.npos) return name;
  if (const auto hash = labels.find("pod-template-hash"); hash != labels.end()) {
    const std::string_view replica_set = std::string_view(name).substr(0, last);
    const std::string tail = '-' + hash->second;
    return replica_set.ends_with(tail) ? std::string(replica_set.substr(0, replica_set.size() - tail.size())) : name;
  }
  // StatefulSets add an ordinal, DaemonSets five random characters.
  return labels.contains("controller-revision-hash") ? name.substr(0, last) : name;
}
}  // namespace

base::WorkloadInfo workload_of(const Proxy& self) {
  const auto& labels = self.labels;
  base::WorkloadInfo out;
  out.workload = workload_name(self.name, labels);
  out.name_space = self.name_space;
  out.app = first_label(labels, {"app"}, "");
  out.version = first_label(labels, {"version"}, "");
  out.service_account = self.service_account;
  out.canonical_name = first_label(labels, {"service.istio.io/canonical-name", "app.kubernetes.io/name", "app"}, out.workload);
  out.canonical_revision = first_label(labels, {"service.istio.io/canonical-revision", "app.kubernetes.io/version", "version"}, "latest");
  out.cluster_id = "Kubernetes";         // what Istio calls the only cluster unless told otherwise
  return out;
}

base::WorkloadInfo workload_of(const api::Pod& pod) { return workload_of(proxy_of(pod, Proxy::Role::kSidecar, {})); }

Proxy proxy_of(const api::Pod& pod, Proxy::Role role, const api::MeshConfig& config) {
  Proxy out;
  out.role = role;
  out.name = pod.meta.name;
  out.name_space = pod.meta.name_space;
  out.service_account = pod.service_account;
  out.domain = config.domain;
  out.labels = pod.meta.labels;
  out.addresses = pod.ips;
  out.termination_grace = pod.termination_grace;
  return out;
}

}  // namespace routing
