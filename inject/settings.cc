#include "inject/settings.h"

#include <charconv>

#include <fmt/format.h>

#include "base/version.h"
#include "inject/annotations.h"
#include "inject/build.h"

namespace inject {
namespace {

class Reader {
 public:
  Reader(const doc::Document& document, doc::Problems& problems) : document_(document), problems_(problems) {}

  const doc::Node* at(std::string_view path) const {
    const doc::Node* node = document_.root.at_path(path);
    return node && !node->is_null() ? node : nullptr;
  }
  void text(std::string_view path, std::string& out) const {
    if (const doc::Node* node = at(path)) {
      if (node->is_scalar())
        out = node->scalar;
      else
        wrong(path, *node, "text");
    }
  }
  void truth(std::string_view path, bool& out) const {
    const doc::Node* node = at(path);
    if (!node) return;
    const auto value = parse_bool(node->text_or("?"));
    if (value)
      out = *value;
    else
      wrong(path, *node, "true or false");
  }
  template <class T>
  void number(std::string_view path, T& out) const {
    const doc::Node* node = at(path);
    if (!node) return;
    const std::string_view digits = node->text_or();
    T value{};
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
    if (error == std::errc{} && end == digits.data() + digits.size() && !digits.empty())
      out = value;
    else
      wrong(path, *node, "a whole number");
  }
  void wrong(std::string_view path, const doc::Node& node, std::string_view wanted) const {
    problems_.push_back({doc::Problem::Severity::kError, "INJECT_VALUES", "-", std::string(path),
                         fmt::format("{} is not {}", node.is_scalar() ? '\'' + node.scalar + '\'' : "this", wanted), document_.mark(node)});
  }
  void unused(std::string_view path, std::string_view why) const {
    if (const doc::Node* node = at(path))
      problems_.push_back(
          {doc::Problem::Severity::kWarning, "NOT_IMPLEMENTED", "-", std::string(path), std::string(why), document_.mark(*node)});
  }

 private:
  const doc::Document& document_;
  doc::Problems& problems_;
};

void apply_resources(Settings& settings, const doc::Node& given) {
  for (const char* kind : {"requests", "limits"}) {
    const doc::Node* amounts = given.find(kind);
    if (!amounts || !amounts->is_map()) continue;
    doc::Node& ours = map_at(settings.resources, kind);
    for (const auto& entry : amounts->map) {
      // Helm: a null takes the default away.
      if (entry.value.is_null())
        ours.erase(entry.key);
      else
        ours.set(entry.key, entry.value);
    }
  }
}

}  // namespace

Settings::Settings() {
  resources = map(
      {{"requests", map({{"cpu", str("100m")}, {"memory", str("128Mi")}})}, {"limits", map({{"cpu", str("2")}, {"memory", str("1Gi")}})}});
  proxy_config = doc::Node::make_map();
}

std::string Settings::image(const std::string& name) const {
  if (name.find('/') != std::string::npos) return name;
  return fmt::format("{}/{}:{}", hub, name, tag.empty() ? std::string(base::version()) : tag);
}

doc::Problems apply_values(Settings& settings, const doc::Document& values) {
  doc::Problems problems;
  const Reader read(values, problems);
  read.text("revision", settings.revision);
  read.text("global.hub", settings.hub);
  read.text("global.tag", settings.tag);
  read.text("global.network", settings.network);
  read.text("global.imagePullPolicy", settings.pull_policy);
  read.text("global.meshID", settings.mesh_id);
  read.text("global.multiCluster.clusterName", settings.cluster);
  read.text("global.proxy.image", settings.proxy_image);
  read.text("global.proxy_init.image", settings.init_image);
  read.text("global.proxy.clusterDomain", settings.domain);
  read.text("global.proxy.includeIPRanges", settings.include_ip_ranges);
  read.text("global.proxy.excludeIPRanges", settings.exclude_ip_ranges);
  read.text("global.proxy.includeInboundPorts", settings.include_inbound_ports);
  read.text("global.proxy.excludeInboundPorts", settings.exclude_inbound_ports);
  read.text("global.proxy.includeOutboundPorts", settings.include_outbound_ports);
  read.text("global.proxy.excludeOutboundPorts", settings.exclude_outbound_ports);
  read.number("global.proxy.statusPort", settings.status_port);
  read.number("global.proxy.readinessInitialDelaySeconds", settings.readiness_initial_delay);
  read.number("global.proxy.readinessPeriodSeconds", settings.readiness_period);
  read.number("global.proxy.readinessFailureThreshold", settings.readiness_failures);
  read.truth("global.proxy.holdApplicationUntilProxyStarts", settings.hold_application);
  read.truth("global.proxy.privileged", settings.privileged);
  read.truth("sidecarInjectorWebhook.rewriteAppHTTPProbe", settings.rewrite_probes);
  if (const doc::Node* native = read.at("pilot.env.ENABLE_NATIVE_SIDECARS"); native && native->text_or() != "auto")
    read.truth("pilot.env.ENABLE_NATIVE_SIDECARS", settings.native_sidecars);
  if (const doc::Node* resources = read.at("global.proxy.resources")) apply_resources(settings, *resources);
  if (const doc::Node* secrets = read.at("global.imagePullSecrets"); secrets && secrets->is_list())
    for (const auto& secret : secrets->list) settings.image_pull_secrets.emplace_back(secret.text_or());
  if (const doc::Node* cni = read.at("pilot.cni.enabled"); cni && cni->text_or() == "true")
    read.unused("pilot.cni.enabled", "the CNI plugin is not built; istio-init programs the rules");
  return problems;
}

void apply_mesh(Settings& settings, const doc::Node& mesh) {
  if (const doc::Node* config = mesh.find("defaultConfig"); config && config->is_map()) {
    settings.proxy_config = *config;
    if (const doc::Node* mode = config->find("interceptionMode")) settings.interception = mode->text_or("REDIRECT");
    if (const doc::Node* hold = config->find("holdApplicationUntilProxyStarts"))
      settings.hold_application = parse_bool(hold->text_or()).value_or(settings.hold_application);
  }
  if (const doc::Node* merge = mesh.find("enablePrometheusMerge")) settings.prometheus_merge = parse_bool(merge->text_or()).value_or(true);
  if (const doc::Node* trust = mesh.find("trustDomain")) settings.trust_domain = trust->text_or("cluster.local");
}

}  // namespace inject
