#pragma once

#include "api/kubernetes.h"
#include "base/cluster_settings.h"

namespace routing {

// Who a pod is for metrics and logs: its workload, app, version and canonical names as Istio's injector derives them
// (inject.md: canonical-name, canonical-revision; workload name from the owner).
base::WorkloadInfo workload_of(const api::Pod& pod);

}  // namespace routing
