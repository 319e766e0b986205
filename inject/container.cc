#include "inject/container.h"

#include <algorithm>
#include <array>

#include <fmt/format.h>

#include "base/ip.h"
#include "doc/writer.h"
#include "inject/build.h"
#include "inject/lists.h"

namespace inject {
namespace {

doc::Node variable(std::string_view name, std::string_view value) { return map({{"name", str(name)}, {"value", str(value)}}); }
doc::Node field_variable(std::string_view name, std::string_view path) {
  return map({{"name", str(name)}, {"valueFrom", map({{"fieldRef", map({{"fieldPath", str(path)}})}})}});
}

std::string image_of(const Choices& choices, const std::string& own) {
  if (choices.proxy_image.find('/') != std::string::npos) return choices.proxy_image;
  std::string image = choices.settings.image(own);
  if (choices.image_type.empty()) return image;
  for (const std::string_view suffix : {"-debug", "-distroless"})
    if (image.ends_with(suffix)) image.resize(image.size() - suffix.size());
  return choices.image_type == "default" ? image : image + '-' + choices.image_type;
}

// Fields that equal Istio's own defaults are left out: the proxy knows them (inject.md §3.3).
std::string proxy_config_json(const doc::Node& config) {
  static constexpr std::array<std::pair<std::string_view, std::string_view>, 11> kDefaults{{{"configPath", "./etc/istio/proxy"},
                                                                                            {"binaryPath", "/usr/local/bin/envoy"},
                                                                                            {"serviceCluster", "istio-proxy"},
                                                                                            {"drainDuration", "45s"},
                                                                                            {"parentShutdownDuration", "60s"},
                                                                                            {"terminationDrainDuration", "5s"},
                                                                                            {"proxyAdminPort", "15000"},
                                                                                            {"statNameLength", "189"},
                                                                                            {"statusPort", "15020"},
                                                                                            {"interceptionMode", "REDIRECT"},
                                                                                            {"controlPlaneAuthPolicy", "MUTUAL_TLS"}}};
  doc::Node out = doc::Node::make_map();
  for (const auto& entry : config.map) {
    const auto is_default = [&entry](const auto& row) { return row.first == entry.key && row.second == entry.value.text_or(); };
    if (std::none_of(kDefaults.begin(), kDefaults.end(), is_default)) out.set(entry.key, entry.value);
  }
  return doc::to_json(out) + '\n';
}

std::string pod_ports(const doc::Node& pod) {
  doc::Node ports = doc::Node::make_list();
  if (const doc::Node* containers = pod.at_path("spec.containers"))
    for (const auto& container : containers->list)
      if (const doc::Node* own = container.find("ports"); own && text_at(container, "name") != "istio-proxy")
        for (const auto& port : own->list) ports.list.push_back(port);
  return doc::to_json(ports);
}

std::string app_containers(const doc::Node& pod) {
  std::string names;
  if (const doc::Node* containers = pod.at_path("spec.containers"))
    for (const auto& container : containers->list)
      if (const auto name = text_at(container, "name"); name != "istio-proxy") names += (names.empty() ? "" : ",") + std::string(name);
  return names;
}

// kubernetes://apis/apps/v1/namespaces/default/deployments/hello
std::string owner_link(const Owner& owner) {
  std::string plural = owner.kind + 's';
  std::transform(plural.begin(), plural.end(), plural.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return fmt::format("kubernetes://apis/{}/namespaces/{}/{}/{}", owner.api_version, owner.name_space, plural, owner.name);
}

std::string workload_name(const doc::Node& pod, const Owner& owner) {
  const auto labels = texts_of(pod.at_path("metadata.labels"));
  const auto own = labels.find("service.istio.io/workload-name");
  return own != labels.end() && !own->second.empty() ? own->second : owner.name;
}

// Whether rules with these settings bring the proxy's canary back to the proxy: a connection of its own to port 15002 of the pod,
// and to 127.0.0.6 (docs/interception.md). Where they do not, its failure would say nothing about them.
bool captures_probe(const Choices& choices) {
  const Settings& s = choices.settings;
  const auto lists = [](std::string_view list, std::string_view item) {
    for (const std::string_view part : split(list))
      if (trimmed(part) == item) return true;
    return false;
  };
  constexpr std::string_view kPort = "15002";
  if (lists(s.exclude_interfaces, "lo")) return false;
  if (s.interception == "TPROXY") return s.include_inbound_ports == "*" ? !lists(s.exclude_inbound_ports, kPort) : lists(s.include_inbound_ports, kPort);
  if (lists(s.exclude_outbound_ports, kPort)) return false;
  for (const auto& [name, value] : choices.proxy_metadata)
    if (name == "ISTIO_OUTBOUND_IPV4_LOOPBACK_CIDR")
      if (const auto loopback = base::Cidr::parse(value)) return !loopback->contains(*base::Ip::parse("127.0.0.6"));
  return true;
}

doc::Node environment(const doc::Node& pod, const Owner& owner, const Choices& choices) {
  const Settings& s = choices.settings;
  doc::Node env = doc::Node::make_list();
  auto& items = env.list;
  items = {field_variable("POD_NAME", "metadata.name"),
           field_variable("POD_NAMESPACE", "metadata.namespace"),
           field_variable("INSTANCE_IP", "status.podIP"),
           field_variable("SERVICE_ACCOUNT", "spec.serviceAccountName"),
           field_variable("HOST_IP", "status.hostIP"),
           map({{"name", str("ISTIO_CPU_LIMIT")},
                {"valueFrom", map({{"resourceFieldRef", map({{"resource", str("limits.cpu")}, {"divisor", str("1")}})}})}}),
           variable("PROXY_CONFIG", proxy_config_json(s.proxy_config)),
           variable("ISTIO_META_POD_PORTS", pod_ports(pod)),
           variable("ISTIO_META_APP_CONTAINERS", app_containers(pod)),
           variable("ISTIO_META_CLUSTER_ID", s.cluster),
           field_variable("ISTIO_META_NODE_NAME", "spec.nodeName"),
           variable("ISTIO_META_INTERCEPTION_MODE", s.interception)};
  if (!captures_probe(choices)) items.push_back(variable("SLUICE_INTERCEPTION_PROBE", "false"));
  if (!s.network.empty()) items.push_back(variable("ISTIO_META_NETWORK", s.network));
  if (!owner.name.empty()) {
    items.push_back(variable("ISTIO_META_WORKLOAD_NAME", workload_name(pod, owner)));
    items.push_back(variable("ISTIO_META_OWNER", owner_link(owner)));
  }
  if (!choices.bootstrap_override.empty())
    items.push_back(variable("ISTIO_BOOTSTRAP_OVERRIDE", "/etc/istio/custom-bootstrap/custom_bootstrap.json"));
  items.push_back(variable("ISTIO_META_MESH_ID", s.mesh_id));
  items.push_back(variable("TRUST_DOMAIN", s.trust_domain));
  // Where the configuration is mounted; `sluice up` puts its own directories here.
  items.push_back(variable("SLUICE_CONFIG", "/etc/sluice/config"));
  for (const auto& [name, value] : choices.proxy_metadata) items.push_back(variable(name, value));
  return env;
}

doc::Node proxy_security(const Choices& choices) {
  if (choices.gateway) return map({{"runAsUser", num(1337)}, {"runAsGroup", num(1337)}});
  const bool tproxy = choices.settings.interception == "TPROXY";
  const bool root = tproxy || choices.cap_net_bind_service;
  doc::Node capabilities = map({{"drop", strings({"ALL"})}});
  std::vector<std::string> add;
  if (tproxy) add.emplace_back("NET_ADMIN");
  if (choices.cap_net_bind_service) add.emplace_back("NET_BIND_SERVICE");
  if (!add.empty()) capabilities.set("add", strings(add));
  const bool privileged = choices.settings.privileged;
  return map({{"allowPrivilegeEscalation", privileged ? yes() : no()},
              {"privileged", privileged ? yes() : no()},
              {"capabilities", capabilities},
              {"readOnlyRootFilesystem", yes()},
              {"runAsUser", num(root ? 0 : 1337)},
              {"runAsGroup", num(1337)},
              {"runAsNonRoot", root ? no() : yes()}});
}

doc::Node mounts(const Choices& choices) {
  doc::Node out = list({map({{"name", str("workload-certs")}, {"mountPath", str("/var/run/secrets/workload-spiffe-credentials")}}),
                        map({{"name", str("istio-podinfo")}, {"mountPath", str("/etc/istio/pod")}}),
                        map({{"name", str("sluice-config")}, {"mountPath", str("/etc/sluice/config")}, {"readOnly", yes()}})});
  if (!choices.bootstrap_override.empty())
    out.list.push_back(map({{"name", str("custom-bootstrap-volume")}, {"mountPath", str("/etc/istio/custom-bootstrap")}}));
  for (const auto& entry : choices.user_mounts.map) {
    doc::Node mount = entry.value;
    mount.set("name", str(entry.key));
    out.list.push_back(std::move(mount));
  }
  return out;
}

doc::Node health_probe(const Choices& choices, bool startup) {
  const Settings& s = choices.settings;
  doc::Node probe = map({{"httpGet", map({{"path", str("/healthz/ready")}, {"port", num(15021)}})}});
  if (startup) {
    probe.set("periodSeconds", num(s.startup_period));
    probe.set("timeoutSeconds", num(3));
    probe.set("failureThreshold", num(s.startup_failures));
  } else {
    probe.set("initialDelaySeconds", num(s.readiness_initial_delay));
    probe.set("periodSeconds", num(s.readiness_period));
    probe.set("timeoutSeconds", num(3));
    probe.set("failureThreshold", num(s.readiness_failures));
  }
  return probe;
}

void add_hooks(doc::Node& container, const Choices& choices) {
  const Settings& s = choices.settings;
  const auto run = [](std::vector<std::string> words) { return map({{"exec", map({{"command", strings(words)}})}}); };
  if (choices.gateway) return;
  if (s.native_sidecars) {
    container.set("restartPolicy", str("Always"));
    container.set("lifecycle", map({{"preStop", run({"sluice", "drain"})}}));
  } else if (s.hold_application) {
    container.set("lifecycle", map({{"postStart", run({"sluice", "wait", "--ready", "--timeout", "60s"})}}));
  }
}

}  // namespace

doc::Node init_container(const Choices& choices, std::string_view proxy_uid) {
  const Settings& s = choices.settings;
  std::string inbound_out = "15090,15021";
  if (!s.exclude_inbound_ports.empty()) inbound_out += ',' + s.exclude_inbound_ports;
  const std::string status = std::to_string(s.status_port);
  if (s.status_port != 0 && (',' + inbound_out + ',').find(',' + status + ',') == std::string::npos) inbound_out += ',' + status;
  std::vector<std::string> args{"-p", "15001",
                                "-z", "15006",
                                "-u", std::string(proxy_uid),
                                "-m", s.interception,
                                "-i", s.include_ip_ranges,
                                "-x", s.exclude_ip_ranges,
                                "-b", s.include_inbound_ports,
                                "-d", inbound_out};
  const auto flag = [&args](const char* name, const std::string& value) { args.insert(args.end(), {name, value}); };
  if (choices.include_outbound_ports_set || !s.include_outbound_ports.empty()) flag("-q", s.include_outbound_ports);
  if (choices.exclude_outbound_ports_set || !s.exclude_outbound_ports.empty()) flag("-o", s.exclude_outbound_ports);
  if (!choices.interfaces.empty()) flag("-k", choices.interfaces);
  if (!s.exclude_interfaces.empty()) flag("-c", s.exclude_interfaces);
  const doc::Node truth = s.privileged ? yes() : no();
  doc::Node container =
      map({{"name", str("istio-init")},
           {"image", str(image_of(choices, s.init_image))},
           {"command", strings({"sluice-init"})},
           {"args", strings(args)},
           {"resources", s.resources},
           {"securityContext", map({{"allowPrivilegeEscalation", truth},
                                    {"privileged", truth},
                                    {"capabilities", map({{"add", strings({"NET_ADMIN", "NET_RAW"})}, {"drop", strings({"ALL"})}})},
                                    {"readOnlyRootFilesystem", no()},
                                    {"runAsUser", num(0)},
                                    {"runAsGroup", num(0)},
                                    {"runAsNonRoot", no()}})}});
  if (!choices.proxy_metadata.empty()) {
    doc::Node env = doc::Node::make_list();
    for (const auto& [name, value] : choices.proxy_metadata) env.list.push_back(variable(name, value));
    container.set("env", std::move(env));
  }
  if (!s.pull_policy.empty()) container.set("imagePullPolicy", str(s.pull_policy));
  return container;
}

doc::Node proxy_container(const doc::Node& pod, const Owner& owner, const Choices& choices) {
  const Settings& s = choices.settings;
  doc::Node container =
      map({{"name", str("istio-proxy")},
           {"image", str(image_of(choices, s.proxy_image))},
           {"command", strings({"sluice-proxy"})},
           {"args", strings({choices.gateway ? "gateway" : "sidecar", "--log-level=" + s.log_level})},
           {"ports", list({map({{"containerPort", num(15090)}, {"protocol", str("TCP")}, {"name", str("http-envoy-prom")}})})},
           {"env", environment(pod, owner, choices)}});
  if (!s.pull_policy.empty()) container.set("imagePullPolicy", str(s.pull_policy));
  add_hooks(container, choices);
  if (s.status_port != 0) {
    if (!choices.gateway) container.set("startupProbe", health_probe(choices, true));
    container.set("readinessProbe", health_probe(choices, false));
  }
  if (!choices.gateway) container.set("resources", s.resources);
  container.set("securityContext", proxy_security(choices));
  container.set("volumeMounts", mounts(choices));
  return container;
}

std::vector<doc::Node> volumes(const Choices& choices) {
  const auto downward = [](std::string_view what) {
    return map({{"path", str(what)}, {"fieldRef", map({{"fieldPath", str("metadata." + std::string(what))}})}});
  };
  std::vector<doc::Node> out{
      map({{"name", str("workload-certs")}, {"emptyDir", doc::Node::make_map()}}),
      map({{"name", str("istio-podinfo")}, {"downwardAPI", map({{"items", list({downward("labels"), downward("annotations")})}})}}),
      map({{"name", str("sluice-config")}, {"configMap", map({{"name", str("sluice-config")}, {"optional", yes()}})}})};
  if (!choices.bootstrap_override.empty())
    out.push_back(map({{"name", str("custom-bootstrap-volume")}, {"configMap", map({{"name", str(choices.bootstrap_override)}})}}));
  for (const auto& entry : choices.user_volumes.map) {
    doc::Node volume = entry.value;
    volume.set("name", str(entry.key));
    out.push_back(std::move(volume));
  }
  return out;
}

}  // namespace inject
