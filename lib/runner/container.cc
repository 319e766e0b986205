#include "runner/container.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <optional>

#include <fmt/format.h>

#include "inject/annotations.h"

namespace runner {
namespace {

using doc::Node;
using Variables = std::vector<std::pair<std::string, std::string>>;

std::string_view text_at(const Node& node, std::string_view path, std::string_view fallback = {}) {
  const Node* found = node.at_path(path);
  return found ? found->text_or(fallback) : fallback;
}

const std::string* find(const Variables& variables, std::string_view name) {
  for (const auto& [key, value] : variables)
    if (key == name) return &value;
  return nullptr;
}
void set(Variables& variables, std::string name, std::string value) {
  std::erase_if(variables, [&name](const auto& v) { return v.first == name; });
  variables.emplace_back(std::move(name), std::move(value));
}

// Kubernetes: $(NAME) of a variable defined before, $$ is a dollar, an unknown name stays as it is.
std::string expanded(std::string_view text, const Variables& variables) {
  std::string out;
  while (!text.empty()) {
    const size_t dollar = text.find('$');
    out += text.substr(0, dollar);
    if (dollar == std::string_view::npos) break;
    text.remove_prefix(dollar);
    const size_t close = text.starts_with("$(") ? text.find(')') : std::string_view::npos;
    if (text.starts_with("$$")) {
      out += '$';
      text.remove_prefix(2);
    } else if (const std::string* value = close == std::string_view::npos ? nullptr : find(variables, text.substr(2, close - 2))) {
      out += *value;
      text.remove_prefix(close + 1);
    } else {
      out += '$';
      text.remove_prefix(1);
    }
  }
  return out;
}

std::string labelled(const PodFacts& facts, std::string_view map, std::string_view path) {
  const size_t from = path.find("['"), to = path.find("']");
  if (from == std::string_view::npos || to == std::string_view::npos) return {};
  const auto values = inject::texts_of(facts.plan->pod.at_path(map));
  const auto at = values.find(std::string(path.substr(from + 2, to - from - 2)));
  return at == values.end() ? std::string{} : at->second;
}

std::string field(const PodFacts& facts, std::string_view path) {
  const PodPlan& plan = *facts.plan;
  if (path == "metadata.name") return plan.name;
  if (path == "metadata.namespace") return plan.name_space;
  if (path == "metadata.uid") return short_hash(plan.key(), 10);
  if (path == "spec.nodeName") return "sluice";
  if (path == "spec.serviceAccountName") return std::string(text_at(plan.pod, path, "default"));
  if (path == "status.podIP") return facts.ip.v4.text();
  if (path == "status.podIPs") return facts.ip.v4.text() + ',' + facts.ip.v6.text();
  if (path == "status.hostIP") return "169.254.1.1";
  if (path.starts_with("metadata.labels")) return labelled(facts, "metadata.labels", path);
  if (path.starts_with("metadata.annotations")) return labelled(facts, "metadata.annotations", path);
  return {};
}

// limits.cpu in whole cores, limits.memory in bytes, rounded up (divisor 1); what the proxies ask for.
std::string resource(const Node& container, std::string_view path) {
  const std::string_view amount = text_at(container, "resources." + std::string(path));
  double number = 0;
  const auto [end, error] = std::from_chars(amount.data(), amount.data() + amount.size(), number);
  if (error != std::errc{}) return {};
  const std::string_view suffix = amount.substr(static_cast<size_t>(end - amount.data()));
  for (const auto& [name, factor] : {std::pair{"m", 1e-3}, std::pair{"k", 1e3}, std::pair{"M", 1e6}, std::pair{"G", 1e9},
                                     std::pair{"Ki", 1024.0}, std::pair{"Mi", 1048576.0}, std::pair{"Gi", 1073741824.0}})
    if (suffix == name) number *= factor;
  return std::to_string(static_cast<int64_t>(std::ceil(number)));
}

class Environment {
 public:
  Environment(const Node& container, const PodFacts& facts, std::vector<std::string>& notes)
      : container_(container), facts_(facts), notes_(notes) {}

  Variables all() {
    Variables out;
    set(out, "HOSTNAME", facts_.plan->name);
    set(out, "HOME", "/");
    if (const Node* from = container_.find("envFrom"))
      for (const Node& source : from->list) take_all(source, out);
    if (const Node* env = container_.find("env"))
      for (const Node& variable : env->list) {
        const std::string name(text_at(variable, "name"));
        if (const Node* source = variable.find("valueFrom")) {
          if (auto value = from_source(name, *source)) set(out, name, std::move(*value));
        } else {
          set(out, name, expanded(text_at(variable, "value"), out));
        }
      }
    return out;
  }

 private:
  const std::map<std::string, std::string>* config_map(std::string_view name) const {
    if (!facts_.config_maps) return nullptr;
    const auto at = facts_.config_maps->find(facts_.plan->name_space + '/' + std::string(name));
    return at == facts_.config_maps->end() ? nullptr : &at->second;
  }
  void take_all(const Node& source, Variables& out) {
    const auto* data = config_map(text_at(source, "configMapRef.name"));
    if (!data) return note("envFrom is taken from ConfigMaps of the folder only");
    for (const auto& [key, value] : *data) set(out, std::string(text_at(source, "prefix")) + key, value);
  }
  std::optional<std::string> from_source(const std::string& name, const Node& source) {
    if (const Node* ref = source.find("fieldRef")) return field(facts_, text_at(*ref, "fieldPath"));
    if (const Node* ref = source.find("resourceFieldRef")) {
      auto value = resource(container_, text_at(*ref, "resource"));
      return value.empty() ? std::nullopt : std::optional(std::move(value));
    }
    if (const Node* ref = source.find("configMapKeyRef"))
      if (const auto* data = config_map(text_at(*ref, "name")))
        if (const auto at = data->find(std::string(text_at(*ref, "key"))); at != data->end()) return at->second;
    if (text_at(source, "secretKeyRef.optional") != "true" && text_at(source, "configMapKeyRef.optional") != "true")
      note(fmt::format("variable {} has no value here", name));
    return std::nullopt;
  }
  void note(std::string what) { notes_.push_back(fmt::format("{}/{}: {}", facts_.plan->workload, text_at(container_, "name"), what)); }

  const Node& container_;
  const PodFacts& facts_;
  std::vector<std::string>& notes_;
};

unsigned number(const Node* own, const Node* of_pod, const char* name, unsigned fallback) {
  for (const Node* context : {own, of_pod}) {
    const auto digits = context ? text_at(*context, name) : std::string_view{};
    unsigned value = 0;
    if (!digits.empty() && std::from_chars(digits.data(), digits.data() + digits.size(), value).ec == std::errc{}) return value;
  }
  return fallback;
}

void take_security(const Node& container, const PodFacts& facts, ContainerSpec& spec) {
  const Node* own = container.find("securityContext");
  const Node* of_pod = facts.plan->pod.at_path("spec.securityContext");
  spec.uid = number(own, of_pod, "runAsUser", 1000);
  spec.gid = number(own, of_pod, "runAsGroup", spec.uid == 0 ? 0 : 1000);
  if (!own) return;
  spec.no_new_privileges = text_at(*own, "allowPrivilegeEscalation") == "false";
  if (const Node* drop = own->at_path("capabilities.drop"))
    for (const Node& name : drop->list) spec.drop_all |= name.text_or() == "ALL";
  if (const Node* add = own->at_path("capabilities.add"))
    for (const Node& name : add->list) spec.capabilities.emplace_back(name.text_or());
}

// No image is run here, so a container that relies on its image's entry point is played by the echo app.
void take_builtin(const PodFacts& facts, ContainerSpec& spec) {
  spec.builtin = true;
  const auto labels = inject::texts_of(facts.plan->pod.at_path("metadata.labels"));
  const auto version = labels.find("version");
  spec.command = {facts.program, "demo-app", "echo", "--namespace", facts.plan->name_space};
  if (version != labels.end()) spec.command.insert(spec.command.end(), {"--version-label", version->second});
  for (const uint16_t port : spec.ports) spec.command.insert(spec.command.end(), {"--port", std::to_string(port)});
}

// Said, not passed over: an app that reads its configuration from a volume would behave strangely.
void note_volumes(const Node& container, const PodFacts& facts, std::vector<std::string>& notes) {
  std::string paths;
  const Node* mounts = container.find("volumeMounts");
  if (!mounts || text_at(container, "name") == "istio-proxy" || text_at(container, "name") == "istio-init") return;
  for (const Node& mount : mounts->list) paths += (paths.empty() ? "" : ", ") + std::string(text_at(mount, "mountPath"));
  if (!paths.empty())
    notes.push_back(fmt::format("{}/{}: volumes are not mounted here: {}", facts.plan->workload, text_at(container, "name"), paths));
}

}  // namespace

ContainerSpec container_spec(const Node& container, const PodFacts& facts, std::vector<std::string>& notes) {
  ContainerSpec spec;
  spec.name = text_at(container, "name");
  if (const Node* ports = container.find("ports"))
    for (const Node& port : ports->list) {
      const auto digits = text_at(port, "containerPort");
      uint16_t value = 0;
      std::from_chars(digits.data(), digits.data() + digits.size(), value);
      if (value != 0 && text_at(port, "protocol", "TCP") == "TCP") spec.ports.push_back(value);
    }
  Variables variables = Environment(container, facts, notes).all();
  // The injected container names the folder it would have in a pod; here the files lie elsewhere.
  if (spec.name == "istio-proxy") set(variables, "SLUICE_CONFIG", facts.config_roots);
  const Node* command = container.find("command");
  if (command && command->is_list() && !command->list.empty()) {
    for (const char* part : {"command", "args"})
      if (const Node* words = container.find(part))
        for (const Node& word : words->list) spec.command.push_back(expanded(word.text_or(), variables));
  } else {
    take_builtin(facts, spec);
  }
  for (const auto& [name, value] : variables) spec.environment.push_back(name + '=' + value);
  note_volumes(container, facts, notes);
  spec.working_folder = text_at(container, "workingDir", "/");
  take_security(container, facts, spec);
  return spec;
}

}  // namespace runner
