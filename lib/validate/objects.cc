#include <algorithm>

#include <fmt/format.h>

#include "validate/checks.h"

namespace validate {
namespace {

std::string joined(const api::Labels& labels) {
  std::string out;
  for (const auto& [key, value] : labels) out += fmt::format("{}{}={}", out.empty() ? "" : ", ", key, value);
  return out;
}

// Labels of the selector that the pod lacks or has with another value.
std::vector<std::string> missing(const api::Labels& selector, const api::Labels& labels) {
  std::vector<std::string> out;
  for (const auto& [key, value] : selector) {
    const auto found = labels.find(key);
    if (found == labels.end() || found->second != value) out.push_back(fmt::format("{}={}", key, value));
  }
  return out;
}

void check_selector(const api::Gateway& gateway, const api::Mesh& mesh, doc::Problems& out) {
  const api::Pod* best = nullptr;
  std::vector<std::string> lacks = missing(gateway.selector, {});
  for (const api::Pod* pod : mesh.pods) {
    std::vector<std::string> here = missing(gateway.selector, pod->meta.labels);
    if (here.empty()) return;
    if (here.size() >= lacks.size()) continue;
    lacks = std::move(here);
    best = pod;
  }
  std::string message = "the selector selects no gateway instance:";
  for (size_t i = 0; i < lacks.size(); ++i) message += fmt::format("{} missing label {}", i == 0 ? "" : ",", lacks[i]);
  message += best ? fmt::format(" on pod {}/{}", best->meta.name_space, best->meta.name) : " on every pod";
  out.push_back(warning("IST0101", gateway.meta, "spec.selector", gateway.selector_at, std::move(message)));
}

void check_subsets(const Index& index, const api::DestinationRule& rule, const Target& target, doc::Problems& out) {
  std::vector<const api::Labels*> endpoints;
  if (!index.endpoint_labels(target, endpoints) || endpoints.empty()) return;
  for (size_t i = 0; i < rule.subsets.size(); ++i) {
    const api::Subset& subset = rule.subsets[i];
    if (std::any_of(endpoints.begin(), endpoints.end(), [&subset](const api::Labels* labels) { return api::selects(subset.labels, *labels); })) continue;
    out.push_back(warning("EMPTY_SUBSET", rule.meta, fmt::format("spec.subsets[{}]", i), subset.at,
                          fmt::format("subset {} selects 0 of {} endpoints of {}: none has {}. Requests to it get 503", subset.name.value, endpoints.size(), target.host, joined(subset.labels))));
  }
}

// Istio's naming: the whole name or what stands before the first '-', upper or lower case (traffic.md §3.4).
bool names_protocol(std::string_view name) {
  std::string lower(name);
  for (char& c : lower) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
  const std::string_view first = std::string_view(lower).substr(0, lower.find('-'));
  for (const std::string_view known : {"http", "http2", "grpc", "https", "tls", "tcp", "mongo", "mysql", "redis", "udp"})
    if (first == known) return true;
  return false;
}

bool known_app_protocol(std::string_view protocol) {
  for (const std::string_view known : {"kubernetes.io/h2c", "kubernetes.io/ws", "kubernetes.io/wss", "grpc-web"})
    if (protocol == known) return true;
  return names_protocol(protocol) && protocol.find('-') == std::string_view::npos;
}

}  // namespace

void check_gateways(const api::Mesh& mesh, doc::Problems& out) {
  // Without any pod this is a set of rules whose pods live elsewhere.
  if (mesh.pods.empty()) return;
  for (const api::Gateway* gateway : mesh.gateways)
    if (!gateway->selector.empty()) check_selector(*gateway, mesh, out);
}

void check_destination_rules(const Index& index, doc::Problems& out) {
  for (const api::DestinationRule* rule : index.mesh().destination_rules) {
    const std::string host = index.full_host(rule->host.value, rule->meta.name_space);
    if (host.starts_with('*')) {
      if (index.knows_services() && index.covered_by(host).empty())
        out.push_back(warning("IST0101", rule->meta, "spec.host", rule->host.at, fmt::format("no service fits {}; the rule has no effect", rule->host.value)));
      continue;
    }
    const Target* target = index.target(host);
    if (target) check_subsets(index, *rule, *target, out);
    else if (index.knows_services())
      out.push_back(warning("IST0101", rule->meta, "spec.host", rule->host.at, fmt::format("service {} not found{}; the rule has no effect", host, index.near_host(rule->host.value, host))));
  }
}

void check_services(const api::Mesh& mesh, doc::Problems& out) {
  for (const api::Service* service : mesh.services) {
    if (service->type == "ExternalName") continue;
    for (size_t i = 0; i < service->ports.size(); ++i) {
      const api::ServicePort& port = service->ports[i];
      if (port.protocol != "TCP" || names_protocol(port.name) || known_app_protocol(port.app_protocol)) continue;
      if (port.port == 25 || port.port == 53 || port.port == 3306 || port.port == 27017) continue;   // TCP by their number
      out.push_back(info("IST0118", service->meta, fmt::format("spec.ports[{}]", i), port.at,
                         fmt::format("port {} {}: the protocol is guessed from the first bytes; begin the name with http-, grpc-, tcp- or the like, or set appProtocol", port.port,
                                     port.name.empty() ? "has no name" : fmt::format("is named {}, which says no protocol", port.name))));
    }
  }
}

}  // namespace validate
