#include <algorithm>
#include <array>

#include <fmt/format.h>

#include "inject/annotations.h"
#include "inject/build.h"
#include "inject/container.h"
#include "inject/decision.h"
#include "inject/inject.h"
#include "doc/reader.h"

namespace inject {
namespace {

constexpr std::string_view kStatus = "sidecar.istio.io/status";

// Where a kind keeps its pod template; empty: the object is the pod; null: no workload.
const char* template_path(std::string_view kind) {
  if (kind == "Pod") return "";
  if (kind == "CronJob") return "spec.jobTemplate.spec.template";
  for (const char* other : {"Deployment", "DaemonSet", "StatefulSet", "ReplicaSet", "ReplicationController", "Job", "DeploymentConfig"})
    if (kind == other) return "spec.template";
  return nullptr;
}

// Who made this pod, as far as its own owner reference and labels tell: a ReplicaSet is traced back to its Deployment by the
// hash in its name, a Job to its CronJob by the time in its name.
void trace_owner(const doc::Node& pod, Owner& owner) {
  const doc::Node* references = pod.at_path("metadata.ownerReferences");
  if (!references) return;
  for (const auto& reference : references->list) {
    if (text_at(reference, "controller") != "true") continue;
    owner.api_version = text_at(reference, "apiVersion");
    owner.kind = text_at(reference, "kind");
    owner.name = text_at(reference, "name");
    const auto labels = texts_of(pod.at_path("metadata.labels"));
    if (const auto hash = labels.find("pod-template-hash");
        owner.kind == "ReplicaSet" && hash != labels.end() && owner.name.ends_with('-' + hash->second)) {
      owner.name.resize(owner.name.size() - hash->second.size() - 1);
      owner.kind = "Deployment";
    }
    const size_t dash = owner.name.rfind('-');
    if (owner.kind == "Job" && dash != std::string::npos && owner.name.size() - dash >= 9 &&
        std::all_of(owner.name.begin() + static_cast<std::ptrdiff_t>(dash) + 1, owner.name.end(),
                    [](unsigned char c) { return std::isdigit(c); })) {
      owner.name.resize(dash);
      owner.kind = "CronJob";
    }
    return;
  }
}

void collect(doc::Node& object, const doc::Document& document, std::vector<Workload>& out) {
  const std::string_view kind = text_at(object, "kind");
  if (kind == "List") {
    if (doc::Node* items = object.find("items"))
      for (auto& item : items->list) collect(item, document, out);
    return;
  }
  const char* path = template_path(kind);
  if (!path) return;
  Workload workload;
  workload.pod = *path ? const_cast<doc::Node*>(object.at_path(path)) : &object;
  if (!workload.pod || !workload.pod->is_map() || !workload.pod->find("spec")) return;
  workload.at = document.mark(object);
  workload.owner.api_version = text_at(object, "apiVersion");
  workload.owner.kind = kind;
  if (const doc::Node* name = object.at_path("metadata.name"))
    workload.owner.name = name->text_or();
  else if (const doc::Node* prefix = object.at_path("metadata.generateName"))
    workload.owner.name = prefix->text_or();
  if (const doc::Node* space = object.at_path("metadata.namespace"); space && !space->text_or().empty())
    workload.owner.name_space = space->text_or();
  if (!*path) trace_owner(object, workload.owner);
  out.push_back(std::move(workload));
}

}  // namespace

std::vector<Workload> workloads_in(doc::Document& document) {
  std::vector<Workload> out;
  collect(document.root, document, out);
  return out;
}

std::vector<Report> inject_document(doc::Document& document, const Settings& settings, const Namespaces* gate) {
  std::vector<Report> reports;
  for (Workload& workload : workloads_in(document)) {
    if (gate) {
      const auto space = gate->find(workload.owner.name_space);
      const Verdict verdict =
          selected(space == gate->end() ? nullptr : &space->second, texts_of(workload.pod->at_path("metadata.labels")), settings.revision);
      if (!verdict.inject) {
        Report report;
        report.object = fmt::format("{}/{}/{}", workload.owner.kind, workload.owner.name_space, workload.owner.name);
        report.why = verdict.why;
        report.at = workload.at;
        if (!verdict.warning.empty())
          report.problems.push_back(
              {doc::Problem::Severity::kWarning, "IST0125", report.object, "metadata.labels", verdict.warning, workload.at});
        reports.push_back(std::move(report));
        continue;
      }
      reports.push_back(inject_pod(*workload.pod, workload.owner, settings, document));
      if (reports.back().outcome == Report::Outcome::kInjected) reports.back().why = verdict.why;
    } else {
      reports.push_back(inject_pod(*workload.pod, workload.owner, settings, document));
    }
    reports.back().at = workload.at;
  }
  return reports;
}

namespace {

// Gives probes and hooks back what they asked before they were turned to the agent.
void restore_probes(doc::Node& spec) {
  std::string text;
  for (const char* field : {"initContainers", "containers"})
    if (const doc::Node* proxy = named(spec.find(field), "istio-proxy"))
      if (const doc::Node* variable = named(proxy->find("env"), "ISTIO_KUBE_APP_PROBERS")) text = text_at(*variable, "value");
  const doc::File parsed = doc::read_json("", text);
  if (parsed.documents.size() != 1) return;
  static constexpr std::array<std::array<std::string_view, 3>, 5> kPlaces{{{"readyz", "readinessProbe", ""},
                                                                           {"livez", "livenessProbe", ""},
                                                                           {"startupz", "startupProbe", ""},
                                                                           {"prestopz", "lifecycle", "preStop"},
                                                                           {"poststartz", "lifecycle", "postStart"}}};
  for (const auto& entry : parsed.documents[0].root.map) {
    const size_t end = entry.key.rfind('/'), begin = entry.key.rfind('/', end - 1);
    const std::string name = entry.key.substr(begin + 1, end - begin - 1), leaf = entry.key.substr(end + 1);
    for (const char* field : {"initContainers", "containers"})
      for (const auto& [path, probe, hook] : kPlaces) {
        doc::Node* container = named(spec.find(field), name);
        doc::Node* target = container && leaf == path ? container->find(probe) : nullptr;
        if (target && !hook.empty()) target = target->find(hook);
        if (!target) continue;
        target->erase("httpGet");
        for (const auto& handler : entry.value.map)
          if (handler.key != "timeoutSeconds") target->set(handler.key, handler.value);
      }
  }
}

}  // namespace

bool uninject_pod(doc::Node& pod) {
  doc::Node* annotations = const_cast<doc::Node*>(pod.at_path("metadata.annotations"));
  doc::Node* spec = pod.find("spec");
  if (!annotations || !spec || !annotations->find(kStatus)) return false;
  const doc::File parsed = doc::read_json("", text_at(*annotations, kStatus));
  if (parsed.documents.size() != 1) return false;
  const doc::Node& status = parsed.documents[0].root;
  restore_probes(*spec);
  const auto remove = [&](const char* field, const doc::Node* names) {
    doc::Node* items = spec->find(field);
    if (!items || !names) return;
    for (const auto& name : names->list)
      std::erase_if(items->list, [&name](const doc::Node& item) { return text_at(item, "name") == name.text_or(); });
    if (items->list.empty()) spec->erase(field);
  };
  for (const char* field : {"initContainers", "containers", "volumes"}) remove(field, status.find(field));
  for (const char* name : {"sidecar.istio.io/status", "proxy.istio.io/overrides", "istio.io/rev"}) annotations->erase(name);
  if (text_at(*annotations, "prometheus.io/path") == "/stats/prometheus")
    for (const char* name : {"prometheus.io/port", "prometheus.io/path", "prometheus.io/scrape"}) annotations->erase(name);
  if (doc::Node* labels = const_cast<doc::Node*>(pod.at_path("metadata.labels")))
    for (const char* name : {"security.istio.io/tlsMode", "service.istio.io/canonical-name", "service.istio.io/canonical-revision"})
      labels->erase(name);
  return true;
}

}  // namespace inject
