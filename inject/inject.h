#pragma once

#include <map>
#include <string>
#include <vector>

#include "api/meta.h"
#include "doc/node.h"
#include "doc/problem.h"
#include "inject/settings.h"

// Sidecar injection without I/O: decision and patch. Used by `sluice inject`, `sluice up` and the webhook alike, so that what is
// seen offline is what happens.
namespace inject {

// Whose pod it is: names and owner in the proxy's environment.
struct Owner {
  std::string api_version = "v1", kind = "Pod", name, name_space = "default";
};

struct Report {
  enum class Outcome : uint8_t { kInjected, kAlready, kSkipped, kRefused } outcome = Outcome::kSkipped;
  std::string object;  // Deployment/default/hello
  std::string why;
  doc::Problems problems;  // refused: the errors; else warnings
  doc::Mark at;
};

// Patches one pod (`metadata`, `spec`) in place after the server's rules said yes; a refused or skipped pod is left as it was.
// `document` gives the marks. Injecting twice changes nothing the second time.
Report inject_pod(doc::Node& pod, const Owner& owner, const Settings& settings, const doc::Document& document);

// Takes istio-init, istio-proxy and everything else that the status annotation names out of a pod. True when it changed.
bool uninject_pod(doc::Node& pod);

// A pod inside a document: the Pod itself, or the template of a Deployment, DaemonSet, StatefulSet, ReplicaSet,
// ReplicationController, Job, CronJob or DeploymentConfig; of every item for a List.
struct Workload {
  doc::Node* pod = nullptr;
  Owner owner;
  doc::Mark at;
};
std::vector<Workload> workloads_in(doc::Document& document);

// Labels of the namespaces that are known, by name. `gate` null: every pod is taken, as `istioctl kube-inject` does.
using Namespaces = std::map<std::string, api::Labels>;
std::vector<Report> inject_document(doc::Document& document, const Settings& settings, const Namespaces* gate);

}  // namespace inject
