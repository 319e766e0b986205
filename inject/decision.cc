#include "inject/decision.h"

#include <fmt/format.h>

#include "inject/annotations.h"
#include "inject/build.h"

namespace inject {
namespace {

constexpr std::string_view kInject = "sidecar.istio.io/inject";
constexpr std::string_view kRevision = "istio.io/rev";

std::string_view value(const api::Labels& labels, std::string_view key) {
  const auto at = labels.find(std::string(key));
  return at == labels.end() ? std::string_view{} : std::string_view(at->second);
}
bool has(const api::Labels& labels, std::string_view key) { return labels.contains(std::string(key)); }

Verdict unless_opted_out(const api::Labels& pod, std::string because) {
  if (value(pod, kInject) == "false") return {false, "label sidecar.istio.io/inject is \"false\"", {}};
  return {true, std::move(because), {}};
}

}  // namespace

Verdict selected(const api::Labels* namespace_labels, const api::Labels& pod, std::string_view revision) {
  static const api::Labels none;
  const api::Labels& space = namespace_labels ? *namespace_labels : none;
  if (has(space, "istio-injection")) {
    if (value(space, "istio-injection") == "enabled") return unless_opted_out(pod, "namespace has label istio-injection=enabled");
    // A pod cannot opt in against its namespace (inject.md §1.2), which surprises people: say so.
    Verdict verdict{false, fmt::format("namespace has label istio-injection={}", value(space, "istio-injection")), {}};
    if (value(pod, kInject) == "true")
      verdict.warning = "label sidecar.istio.io/inject=true has no effect here: the namespace's label wins";
    return verdict;
  }
  if (has(space, kRevision)) {
    if (value(space, kRevision) != revision)
      return {false, fmt::format("namespace belongs to revision {}, this is {}", value(space, kRevision), revision), {}};
    return unless_opted_out(pod, fmt::format("namespace has label istio.io/rev={}", revision));
  }
  if (has(pod, kRevision)) {
    if (value(pod, kRevision) != revision)
      return {false, fmt::format("pod belongs to revision {}, this is {}", value(pod, kRevision), revision), {}};
    return unless_opted_out(pod, fmt::format("pod has label istio.io/rev={}", revision));
  }
  if (value(pod, kInject) == "true") return {true, "pod has label sidecar.istio.io/inject=true", {}};
  return {false, "namespace has no label istio-injection=enabled, pod none that asks for it", {}};
}

Verdict required(const doc::Node& pod, std::string_view name_space) {
  const doc::Node* host_network = pod.at_path("spec.hostNetwork");
  if (host_network && host_network->text_or() == "true")
    return {false, "spec.hostNetwork is true: rules in the node's network would catch every pod's traffic", {}};
  for (const std::string_view system : {"kube-system", "kube-public", "kube-node-lease", "local-path-storage"})
    if (name_space == system) return {false, fmt::format("namespace {} is never injected", system), {}};
  const auto labels = texts_of(pod.at_path("metadata.labels"));
  const auto annotations = texts_of(pod.at_path("metadata.annotations"));
  // Istio: a label that is present hides the annotation, whatever its value.
  const bool by_label = has(labels, kInject);
  if (!by_label && !has(annotations, kInject)) return {true, "injection is on by default", {}};
  const std::string_view said = by_label ? value(labels, kInject) : value(annotations, kInject);
  const std::string_view what = by_label ? "label" : "annotation";
  if (said == "false") return {false, fmt::format("{} {} is \"false\"", what, kInject), {}};
  if (said == "true") return {true, fmt::format("{} {} is \"true\"", what, kInject), {}};
  Verdict verdict{true, "injection is on by default", {}};
  if (!said.empty()) verdict.warning = fmt::format("{} {}: '{}' is neither \"true\" nor \"false\" and has no effect", what, kInject, said);
  return verdict;
}

}  // namespace inject
