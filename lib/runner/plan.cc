#include "runner/plan.h"

#include <algorithm>
#include <charconv>
#include <set>

#include <fmt/format.h>

#include "doc/writer.h"
#include "inject/annotations.h"
#include "inject/decision.h"

namespace runner {
namespace {

using doc::Node;

std::string_view text_at(const Node& node, std::string_view path, std::string_view fallback = {}) {
  const Node* found = node.at_path(path);
  return found ? found->text_or(fallback) : fallback;
}
Node& map_at(Node& parent, std::string_view key) {
  Node* child = parent.find(key);
  return child && child->is_map() ? *child : parent.set(key, Node::make_map());
}

std::string space_of(const Node& object) {
  const auto space = text_at(object, "metadata.namespace");
  return space.empty() ? "default" : std::string(space);
}
std::string id_of(const Node& object) {
  return fmt::format("{}/{}/{}", text_at(object, "kind"), space_of(object), text_at(object, "metadata.name"));
}

// People's gateways carry this label and nothing else that says what they are.
bool is_gateway_by_label(const Node& pod) {
  const auto labels = inject::texts_of(pod.at_path("metadata.labels"));
  const auto istio = labels.find("istio");
  return istio != labels.end() && (istio->second == "ingressgateway" || istio->second == "egressgateway");
}

bool has_gateway_template(const Node& pod) {
  const auto annotations = inject::texts_of(pod.at_path("metadata.annotations"));
  const auto labels = inject::texts_of(pod.at_path("metadata.labels"));
  for (const auto* map : {&annotations, &labels})
    if (const auto at = map->find("inject.istio.io/templates"); at != map->end() && at->second == "gateway") return true;
  return false;
}

// A gateway of Istio's own manifests is written for Envoy: its image and arguments mean nothing here, ours take their place.
void make_gateway(Node& pod) {
  map_at(map_at(pod, "metadata"), "annotations").set("inject.istio.io/templates", Node::text("gateway"));
  Node* spec = pod.find("spec");
  Node* containers = spec ? spec->find("containers") : nullptr;
  if (!containers) return;
  for (Node& container : containers->list) {
    if (text_at(container, "name") != "istio-proxy") continue;
    for (const char* field : {"command", "args", "image", "env", "readinessProbe", "startupProbe", "livenessProbe", "resources"})
      container.erase(field);
    container.set("image", Node::text("auto"));
  }
}

class Planner {
 public:
  Planner(const inject::Settings& settings, Plan& plan) : settings_(settings), plan_(plan) {}

  void learn(const Node& object) {
    const auto kind = text_at(object, "kind");
    if (kind == "List") {
      if (const Node* items = object.find("items"))
        for (const Node& item : items->list) learn(item);
    } else if (kind == "Namespace") {
      namespaces_[std::string(text_at(object, "metadata.name"))] = inject::texts_of(object.at_path("metadata.labels"));
    } else if (kind == "ConfigMap") {
      auto& data = plan_.config_maps[space_of(object) + '/' + std::string(text_at(object, "metadata.name"))];
      data = inject::texts_of(object.find("data"));
    }
  }

  void add(const doc::Document& document, const Node& object) {
    const auto kind = text_at(object, "kind");
    if (kind == "List") {
      if (const Node* items = object.find("items"))
        for (const Node& item : items->list) add(document, item);
    } else if (kind == "Pod") {
      pod(document, object);
    } else if (kind == "Deployment") {
      deployment(document, object);
    } else if (kind == "Service") {
      service(object);
    } else {
      for (const char* other : {"Job", "CronJob", "StatefulSet", "DaemonSet", "ReplicaSet", "ReplicationController", "DeploymentConfig"})
        if (kind == other) plan_.notes.push_back(fmt::format("{}: not run, only Pods and Deployments are", id_of(object)));
    }
  }

 private:
  void pod(const doc::Document& document, const Node& object) {
    PodPlan plan;
    plan.name_space = space_of(object);
    plan.name = text_at(object, "metadata.name");
    plan.workload = id_of(object);
    plan.pod = object;
    plan.pod.erase("status");
    inject::Owner owner{std::string(text_at(object, "apiVersion", "v1")), "Pod", plan.name, plan.name_space};
    if (usable(plan)) finish(document, owner, std::move(plan));
  }

  void deployment(const doc::Document& document, const Node& object) {
    const Node* pod_template = object.at_path("spec.template");
    if (!pod_template || !pod_template->at_path("spec.containers")) {
      plan_.notes.push_back(fmt::format("{}: not run, it has no spec.template.spec.containers", id_of(object)));
      return;
    }
    const Node* selector = object.at_path("spec.selector.matchLabels");
    if (selector && !api::selects(inject::texts_of(selector), inject::texts_of(pod_template->at_path("metadata.labels")))) {
      plan_.notes.push_back(fmt::format("{}: not run, spec.selector does not match the template's labels", id_of(object)));
      return;
    }
    int replicas = 1;
    const auto wanted = text_at(object, "spec.replicas", "1");
    std::from_chars(wanted.data(), wanted.data() + wanted.size(), replicas);
    const std::string name(text_at(object, "metadata.name"));
    const inject::Owner owner{std::string(text_at(object, "apiVersion", "apps/v1")), "Deployment", name, space_of(object)};
    const std::string hash = short_hash(doc::to_json(*pod_template), 10);
    for (int replica = 0; replica < replicas; ++replica) {
      PodPlan plan;
      plan.name_space = owner.name_space;
      plan.name = fmt::format("{}-{}-{}", name, hash, short_hash(fmt::format("{}/{}", hash, replica), 5));
      plan.workload = id_of(object);
      plan.pod = *pod_template;
      Node& metadata = map_at(plan.pod, "metadata");
      map_at(metadata, "labels").set("pod-template-hash", Node::text(hash));
      if (usable(plan)) finish(document, owner, std::move(plan));
    }
  }

  bool usable(const PodPlan& plan) {
    std::string why;
    if (plan.name.empty())
      why = "it has no metadata.name";
    else if (!seen_.insert(plan.key()).second)
      why = "another pod has the same name";
    else if (!plan.pod.at_path("spec.containers"))
      why = "it has no spec.containers";
    if (!why.empty()) note_once(fmt::format("{}: not run, {}", plan.workload, why));
    return why.empty();
  }

  void finish(const doc::Document& document, const inject::Owner& owner, PodPlan plan) {
    const bool gateway = has_gateway_template(plan.pod) || is_gateway_by_label(plan.pod);
    if (gateway) make_gateway(plan.pod);
    if (text_at(plan.pod, "spec.hostNetwork") == "true")
      note_once(fmt::format("{}: hostNetwork gives no access to this machine's network here; the pod gets a namespace of its own",
                            plan.workload));
    Node& metadata = map_at(plan.pod, "metadata");
    metadata.set("name", Node::text(plan.name));
    metadata.set("namespace", Node::text(plan.name_space));
    // A gateway needs no permission of its namespace: it is a proxy and nothing else.
    if (gateway || is_selected(plan)) inject_into(document, owner, plan);
    plan.role = role_of(plan.pod, gateway);
    plan.pod.set("apiVersion", Node::text("v1"));
    plan.pod.set("kind", Node::text("Pod"));
    plan_.pods.push_back(std::move(plan));
  }

  bool is_selected(const PodPlan& plan) {
    const auto space = namespaces_.find(plan.name_space);
    const auto verdict = inject::selected(space == namespaces_.end() ? nullptr : &space->second,
                                          inject::texts_of(plan.pod.at_path("metadata.labels")), settings_.revision);
    if (!verdict.warning.empty()) note_once(fmt::format("{}: {}", plan.workload, verdict.warning));
    return verdict.inject;
  }

  void inject_into(const doc::Document& document, const inject::Owner& owner, PodPlan& plan) {
    const auto report = inject::inject_pod(plan.pod, owner, settings_, document);
    for (const auto& problem : report.problems)
      if (problem.severity != doc::Problem::Severity::kInfo) note_once(doc::line_of(problem));
    if (report.outcome == inject::Report::Outcome::kRefused)
      note_once(fmt::format("{}: runs without a proxy: {}", plan.workload, report.why));
  }

  static Role role_of(const Node& pod, bool gateway) {
    const auto annotations = inject::texts_of(pod.at_path("metadata.annotations"));
    if (!annotations.contains("sidecar.istio.io/status")) return Role::kPlain;
    return gateway ? Role::kGateway : Role::kSidecar;
  }

  void note_once(std::string line) {
    if (std::find(plan_.notes.begin(), plan_.notes.end(), line) == plan_.notes.end()) plan_.notes.push_back(std::move(line));
  }

  void service(const Node& object) {
    ServicePlan plan;
    plan.name_space = space_of(object);
    plan.name = text_at(object, "metadata.name");
    plan.type = text_at(object, "spec.type", "ClusterIP");
    plan.headless = text_at(object, "spec.clusterIP") == "None";
    const Node* selector = object.at_path("spec.selector");
    plan.has_selector = selector && selector->is_map() && !selector->map.empty();
    plan.selector = inject::texts_of(selector);
    if (const Node* ports = object.at_path("spec.ports"))
      for (const Node& port : ports->list) {
        PlannedPort planned;
        planned.name = text_at(port, "name");
        planned.protocol = text_at(port, "protocol", "TCP");
        const auto number = text_at(port, "port");
        std::from_chars(number.data(), number.data() + number.size(), planned.port);
        planned.target = text_at(port, "targetPort", number);
        plan.ports.push_back(std::move(planned));
      }
    if (const Node* ips = object.at_path("spec.clusterIPs"))
      for (const Node& ip : ips->list) plan.cluster_ips.emplace_back(ip.text_or());
    else if (const auto ip = text_at(object, "spec.clusterIP"); !ip.empty() && !plan.headless)
      plan.cluster_ips.emplace_back(ip);
    plan.service = object;
    if (plan.name.empty()) return note_once("Service/" + plan.name_space + "/: has no metadata.name");
    // The same name again: the later file wins, as it does for the proxies.
    std::erase_if(plan_.services, [&plan](const ServicePlan& other) { return other.key() == plan.key(); });
    plan_.services.push_back(std::move(plan));
  }

  const inject::Settings& settings_;
  Plan& plan_;
  inject::Namespaces namespaces_;
  std::set<std::string> seen_;
};

}  // namespace

std::string_view name_of(Role role) noexcept {
  switch (role) {
    case Role::kPlain:
      return "no proxy";
    case Role::kSidecar:
      return "sidecar";
    case Role::kGateway:
      return "gateway";
  }
  return "";
}

std::string short_hash(std::string_view text, size_t length) {
  // Letters of Kubernetes' own safe alphabet: no vowels, so no words.
  static constexpr std::string_view kAlphabet = "bcdfghjklmnpqrstvwxz2456789";
  uint64_t hash = 0xcbf29ce484222325;  // FNV-1a: stable across machines and versions, which std::hash is not
  for (const unsigned char c : text) hash = (hash ^ c) * 0x100000001b3;
  std::string out;
  while (out.size() < length) {
    out += kAlphabet[hash % kAlphabet.size()];
    hash = hash / kAlphabet.size() + (hash % 7919) * 0x100000001b3;
  }
  return out;
}

Plan make_plan(std::vector<doc::Document> documents, const inject::Settings& settings) {
  Plan plan;
  Planner planner(settings, plan);
  for (const auto& document : documents) planner.learn(document.root);
  for (const auto& document : documents) planner.add(document, document.root);
  const auto by_key = [](const auto& a, const auto& b) { return a.key() < b.key(); };
  std::sort(plan.pods.begin(), plan.pods.end(), by_key);
  std::sort(plan.services.begin(), plan.services.end(), by_key);
  return plan;
}

}  // namespace runner
