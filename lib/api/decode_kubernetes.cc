#include <fmt/format.h>

#include "api/decode.h"
#include "api/rules.h"

namespace api {
namespace {

std::optional<base::Ip> ip(const Cursor& at) {
  auto parsed = base::Ip::parse(at.text());
  if (!parsed) at.error(fmt::format("{} is no IP address", quoted(at.text())));
  return parsed;
}

void add_ip(const Cursor& at, std::vector<base::Ip>& out) {
  if (!at || at.text().empty()) return;
  const auto parsed = ip(at);
  if (!parsed) return;
  for (const base::Ip& known : out)
    if (known == *parsed) return;
  out.push_back(*parsed);
}

// targetPort is a number or the name of a container's port.
void target_port(const Cursor& at, ServicePort& out) {
  if (!at) return;
  if (!at.node().is_scalar()) return at.error("a list or map where a port number or name is expected");
  const std::string& text = at.node().scalar;
  if (text.find_first_not_of("0123456789") != std::string::npos) {
    out.target_name = text;
    return;
  }
  // "8080" in quotes is accepted too: in a cluster it would be a name that no container has.
  const int64_t number = at.number();
  if (text.size() > 5 || number < 1 || number > 65535) return at.error(fmt::format("{} is no port; use 1–65535", quoted(text)));
  out.target_number = static_cast<uint16_t>(number);
}

std::vector<EndpointPort> endpoint_ports(const Cursor& list) {
  std::vector<EndpointPort> out;
  for (const Cursor& item : list.items())
    if (item["port"]) out.push_back({item["name"].text(), static_cast<uint16_t>(item["port"].number())});
  return out;
}

std::string pod_of(const Cursor& target) { return target["kind"].text("Pod") == "Pod" ? target["name"].text() : std::string(); }

}  // namespace

Service decode_service(const Meta& meta, const Cursor& spec) {
  Service out;
  out.meta = meta;
  out.type = spec["type"].text("ClusterIP");
  out.external_name = spec["externalName"].text();
  out.publish_not_ready = spec["publishNotReadyAddresses"].truth();
  out.has_selector = spec["selector"] && !spec["selector"].entries().empty();
  out.selector = spec["selector"].labels();
  if (spec["clusterIP"].text() == "None") out.headless = true;
  else add_ip(spec["clusterIP"], out.cluster_ips);
  for (const Cursor& item : spec["clusterIPs"].items())
    if (item.text() == "None") out.headless = true;
    else add_ip(item, out.cluster_ips);
  const bool several = spec["ports"].items().size() > 1;
  for (const Cursor& item : spec["ports"].items()) {
    ServicePort port;
    port.name = item["name"].text();
    port.protocol = item["protocol"].text("TCP");
    port.app_protocol = item["appProtocol"].text();
    port.port = static_cast<uint16_t>(item["port"].number());
    port.at = item.mark();
    target_port(item["targetPort"], port);
    if (several && port.name.empty()) item.error("a port of several needs a name");
    for (const ServicePort& other : out.ports) {
      if (!port.name.empty() && other.name == port.name) item["name"].error(fmt::format("the port name {} stands twice", port.name));
      if (other.port == port.port && other.protocol == port.protocol) item["port"].error(fmt::format("the port {}/{} stands twice", port.port, port.protocol));
    }
    out.ports.push_back(std::move(port));
  }
  if (out.type == "ExternalName" && out.external_name.empty()) spec.error("type ExternalName needs externalName");
  return out;
}

std::vector<EndpointSlice> decode_endpoints(const Meta& meta, const Cursor& subsets) {
  std::vector<EndpointSlice> out;
  for (const Cursor& subset : subsets.items()) {
    EndpointSlice slice;
    slice.meta = meta;
    slice.service = meta.name;
    slice.ports = endpoint_ports(subset["ports"]);
    for (const std::string_view list : {"addresses", "notReadyAddresses"}) {
      for (const Cursor& item : subset[list].items()) {
        const auto address = ip(item["ip"]);
        if (!address) continue;
        EndpointAddress endpoint;
        endpoint.ip = *address;
        endpoint.ready = endpoint.serving = list == "addresses";
        endpoint.pod = pod_of(item["targetRef"]);
        endpoint.node = item["nodeName"].text();
        slice.addresses.push_back(std::move(endpoint));
      }
    }
    out.push_back(std::move(slice));
  }
  return out;
}

EndpointSlice decode_endpoint_slice(const Meta& meta, const Cursor& root) {
  EndpointSlice out;
  out.meta = meta;
  const auto service = meta.labels.find("kubernetes.io/service-name");
  if (service != meta.labels.end()) out.service = service->second;
  else root["metadata"].warn("NO_SERVICE", "the label kubernetes.io/service-name is missing: these endpoints belong to no Service");
  out.ports = endpoint_ports(root["ports"]);
  for (const Cursor& item : root["endpoints"].items()) {
    EndpointAddress endpoint;
    const Cursor conditions = item["conditions"];
    endpoint.ready = conditions["ready"].truth(true);
    endpoint.serving = conditions["serving"].truth(endpoint.ready);
    endpoint.terminating = conditions["terminating"].truth(false);
    endpoint.pod = pod_of(item["targetRef"]);
    endpoint.zone = item["zone"].text();
    endpoint.node = item["nodeName"].text();
    // Several addresses of one endpoint are ways to the same thing; Kubernetes says: use the first.
    const std::vector<Cursor> addresses = item["addresses"].items();
    if (addresses.empty() || root["addressType"].text("IPv4") == "FQDN") continue;
    if (const auto address = ip(addresses[0])) {
      endpoint.ip = *address;
      out.addresses.push_back(std::move(endpoint));
    }
  }
  return out;
}

Pod decode_pod(const Meta& meta, const Cursor& root) {
  Pod out;
  out.meta = meta;
  const Cursor spec = root["spec"], status = root["status"];
  out.service_account = spec["serviceAccountName"].text(spec["serviceAccount"].text("default"));
  if (out.service_account.empty()) out.service_account = "default";
  out.node = spec["nodeName"].text();
  out.host_network = spec["hostNetwork"].truth();
  out.termination_grace = std::chrono::seconds(spec["terminationGracePeriodSeconds"].number(30));
  out.phase = status["phase"].text();
  out.terminating = static_cast<bool>(root["metadata"]["deletionTimestamp"]);
  add_ip(status["podIP"], out.ips);
  for (const Cursor& item : status["podIPs"].items()) add_ip(item["ip"], out.ips);
  for (const Cursor& condition : status["conditions"].items())
    if (condition["type"].text() == "Ready") out.ready = condition["status"].text() != "False";
  for (const Cursor& item : spec["containers"].items()) {
    Container container;
    container.name = item["name"].text();
    for (const Cursor& port : item["ports"].items())
      container.ports.push_back({port["name"].text(), port["protocol"].text("TCP"), static_cast<uint16_t>(port["containerPort"].number())});
    out.containers.push_back(std::move(container));
  }
  return out;
}

ConfigMap decode_config_map(const Meta& meta, const Cursor& root) {
  ConfigMap out;
  out.meta = meta;
  for (const doc::Node::Entry& entry : root["data"].entries()) out.data[entry.key] = entry.value.text_or();
  return out;
}

void check_ingress(const Cursor& root) {
  for (const Cursor& rule : root["spec"]["rules"].items())
    if (rule["host"] && !rule["host"].text().empty()) rules::host(rule["host"]);
}

}  // namespace api
