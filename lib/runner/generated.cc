#include "runner/generated.h"

#include <charconv>
#include <set>

#include <fmt/format.h>

#include "doc/writer.h"
#include "inject/annotations.h"

namespace runner {
namespace {

using doc::Node;

Node map(std::initializer_list<std::pair<std::string_view, Node>> entries) {
  Node node = Node::make_map();
  for (const auto& [key, value] : entries) node.set(key, value);
  return node;
}
Node& map_at(Node& parent, std::string_view key) {
  Node* child = parent.find(key);
  return child && child->is_map() ? *child : parent.set(key, Node::make_map());
}
Node truth(bool value) { return Node::plain(value ? "true" : "false"); }
Node text(std::string value) { return Node::text(std::move(value)); }

bool fits(const ServicePlan& service, const PodPlan& pod) {
  return service.has_selector && service.name_space == pod.name_space &&
         api::selects(service.selector, inject::texts_of(pod.pod.at_path("metadata.labels")));
}
bool has_address(const ServicePlan& service) { return !service.headless && service.type != "ExternalName"; }

Node pod_object(const PodState& state) {
  Node pod = state.plan->pod;
  Node& spec = map_at(pod, "spec");
  spec.set("nodeName", text("sluice"));
  if (!spec.find("serviceAccountName")) spec.set("serviceAccountName", text("default"));
  if (state.terminating) map_at(pod, "metadata").set("deletionTimestamp", text("2000-01-01T00:00:00Z"));
  Node ips = Node::make_list();
  ips.list = {map({{"ip", text(state.ip.v4.text())}}), map({{"ip", text(state.ip.v6.text())}})};
  Node conditions = Node::make_list();
  conditions.list = {map({{"type", text("Ready")}, {"status", text(state.ready ? "True" : "False")}})};
  pod.set("status", map({{"phase", text("Running")},
                         {"podIP", text(state.ip.v4.text())},
                         {"podIPs", std::move(ips)},
                         {"hostIP", text("169.254.1.1")},
                         {"conditions", std::move(conditions)}}));
  return pod;
}

Node service_object(const ServiceState& state) {
  Node service = state.plan->service;
  if (!has_address(*state.plan)) return service;
  Node& spec = map_at(service, "spec");
  Node ips = Node::make_list();
  ips.list = {text(state.ip.v4.text()), text(state.ip.v6.text())};
  spec.set("clusterIP", text(state.ip.v4.text()));
  spec.set("clusterIPs", std::move(ips));
  return service;
}

Node slice_object(const ServiceState& service, const std::vector<PodState>& pods, bool v4) {
  const ServicePlan& plan = *service.plan;
  Node endpoints = Node::make_list();
  Node ports = Node::make_list();
  for (const PodState& pod : pods) {
    if (!fits(plan, *pod.plan)) continue;
    // Named target ports may differ between pods; one slice has one list, and the first pod's is the rule in practice.
    if (ports.list.empty())
      for (const PlannedPort& port : plan.ports)
        if (const uint16_t number = target_port(pod.plan->pod, port); number != 0)
          ports.list.push_back(
              map({{"name", text(port.name)}, {"protocol", text(port.protocol)}, {"port", Node::plain(std::to_string(number))}}));
    Node addresses = Node::make_list();
    addresses.list = {text((v4 ? pod.ip.v4 : pod.ip.v6).text())};
    endpoints.list.push_back(map(
        {{"addresses", std::move(addresses)},
         {"conditions",
          map({{"ready", truth(pod.ready && !pod.terminating)}, {"serving", truth(pod.ready)}, {"terminating", truth(pod.terminating)}})},
         {"nodeName", text("sluice")},
         {"targetRef", map({{"kind", text("Pod")}, {"name", text(pod.plan->name)}, {"namespace", text(pod.plan->name_space)}})}}));
  }
  return map({{"apiVersion", text("discovery.k8s.io/v1")},
              {"kind", text("EndpointSlice")},
              {"metadata", map({{"name", text(plan.name + (v4 ? "-ipv4" : "-ipv6"))},
                                {"namespace", text(plan.name_space)},
                                {"labels", map({{"kubernetes.io/service-name", text(plan.name)}})}})},
              {"addressType", text(v4 ? "IPv4" : "IPv6")},
              {"endpoints", std::move(endpoints)},
              {"ports", std::move(ports)}});
}

void add_document(std::string& out, const Node& object) { out += "---\n" + doc::to_yaml(object); }

}  // namespace

uint16_t target_port(const Node& pod, const PlannedPort& port) {
  uint16_t number = 0;
  const auto [end, error] = std::from_chars(port.target.data(), port.target.data() + port.target.size(), number);
  if (error == std::errc{} && end == port.target.data() + port.target.size()) return number;
  for (const char* field : {"spec.containers", "spec.initContainers"}) {
    const Node* containers = pod.at_path(field);
    if (!containers) continue;
    for (const Node& container : containers->list)
      if (const Node* ports = container.find("ports"))
        for (const Node& declared : ports->list) {
          const Node* name = declared.find("name");
          const Node* value = declared.find("containerPort");
          if (!name || !value || name->text_or() != port.target) continue;
          const auto digits = value->text_or();
          std::from_chars(digits.data(), digits.data() + digits.size(), number);
          return number;
        }
  }
  return 0;
}

std::map<std::string, std::string> generated_root(const std::vector<PodState>& pods, const std::vector<ServiceState>& services) {
  std::map<std::string, std::string> files{{"pods.yaml", {}}, {"services.yaml", {}}, {"endpointslices.yaml", {}}};
  for (const PodState& pod : pods) add_document(files["pods.yaml"], pod_object(pod));
  for (const ServiceState& service : services) {
    add_document(files["services.yaml"], service_object(service));
    if (!service.plan->has_selector || service.plan->type == "ExternalName") continue;
    add_document(files["endpointslices.yaml"], slice_object(service, pods, true));
    add_document(files["endpointslices.yaml"], slice_object(service, pods, false));
  }
  return files;
}

std::string hosts_file(const std::string& name_space, const std::vector<PodState>& pods, const std::vector<ServiceState>& services,
                       const PodState* self) {
  std::string out = "127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n";
  if (self) out += fmt::format("{} {}\n{} {}\n", self->ip.v4.text(), self->plan->name, self->ip.v6.text(), self->plan->name);
  for (const ServiceState& service : services) {
    const ServicePlan& plan = *service.plan;
    if (plan.type == "ExternalName") continue;
    const std::string names = fmt::format("{0}{1}.{2} {1}.{2}.svc {1}.{2}.svc.cluster.local",
                                          plan.name_space == name_space ? plan.name + ' ' : "", plan.name, plan.name_space);
    const auto add = [&out, &names](const AddressPair& ip) {
      out += fmt::format("{} {}\n{} {}\n", ip.v4.text(), names, ip.v6.text(), names);
    };
    if (!plan.headless)
      add(service.ip);
    else
      for (const PodState& pod : pods)
        if (pod.ready && !pod.terminating && fits(plan, *pod.plan)) add(pod.ip);
  }
  return out;
}

std::string kube_proxy_rules(const std::vector<PodState>& pods, const std::vector<ServiceState>& services, bool v4) {
  std::string nat = "*nat\n:PREROUTING ACCEPT [0:0]\n:INPUT ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n:POSTROUTING ACCEPT [0:0]\n";
  std::string filter = "*filter\n:INPUT ACCEPT [0:0]\n:FORWARD ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n";
  std::set<std::string> hairpins;
  for (const ServiceState& service : services) {
    const ServicePlan& plan = *service.plan;
    if (!has_address(plan)) continue;
    const std::string vip = (v4 ? service.ip.v4 : service.ip.v6).text();
    for (const PlannedPort& port : plan.ports) {
      if (port.protocol != "TCP") continue;
      std::vector<base::SocketAddress> targets;
      for (const PodState& pod : pods)
        if (pod.ready && !pod.terminating && fits(plan, *pod.plan))
          if (const uint16_t number = target_port(pod.plan->pod, port); number != 0)
            targets.push_back({v4 ? pod.ip.v4 : pod.ip.v6, number});
      for (size_t left = targets.size(); left > 0; --left) {
        const auto& target = targets[targets.size() - left];
        const std::string chance =
            left > 1 ? fmt::format(" -m statistic --mode random --probability {:.8f}", 1.0 / static_cast<double>(left)) : "";
        // Both ways into NAT: pods come through PREROUTING, the node's own connections (the published port) through OUTPUT.
        for (const char* chain : {"PREROUTING", "OUTPUT"})
          nat += fmt::format("-A {} -d {} -p tcp -m tcp --dport {}{} -j DNAT --to-destination {}\n", chain, vip, port.port, chance,
                             target.text());
        hairpins.insert(target.ip.text());
      }
    }
    filter += fmt::format("-A FORWARD -d {} -p tcp -j REJECT --reject-with tcp-reset\n", vip);
  }
  for (const auto& ip : hairpins) nat += fmt::format("-A POSTROUTING -s {0} -d {0} -j MASQUERADE\n", ip);
  return nat + "COMMIT\n" + filter + "COMMIT\n";
}

}  // namespace runner
