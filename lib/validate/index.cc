#include "validate/index.h"

#include <algorithm>

#include <fmt/format.h>

#include "validate/validate.h"

namespace validate {
namespace {

std::string lower(std::string_view text) {
  std::string out(text);
  for (char& c : out) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
  return out;
}

std::string_view without_dot(std::string_view host) {
  if (host.ends_with('.')) host.remove_suffix(1);
  return host;
}

std::string_view first_label(std::string_view host) { return host.substr(0, host.find('.')); }

// The namespace of "name.namespace.svc.domain", empty for other hosts.
std::string_view namespace_of(std::string_view full_host) {
  const size_t dot = full_host.find('.');
  if (dot == std::string_view::npos) return {};
  const std::string_view rest = full_host.substr(dot + 1);
  const size_t end = rest.find(".svc.");
  return end == std::string_view::npos ? std::string_view() : rest.substr(0, end);
}

bool serves(const api::Pod& pod) { return !pod.ips.empty() && !pod.terminating && pod.phase != "Failed" && pod.phase != "Succeeded"; }

}  // namespace

bool covers(std::string_view wildcard, std::string_view host) {
  if (wildcard == "*" || wildcard == host) return true;
  return wildcard.starts_with('*') && host.size() >= wildcard.size() && host.ends_with(wildcard.substr(1));
}

bool overlaps(std::string_view a, std::string_view b) { return covers(a, b) || covers(b, a); }

bool Target::has_port(uint16_t port) const {
  const std::vector<uint16_t> all = ports();
  return std::find(all.begin(), all.end(), port) != all.end();
}

std::vector<uint16_t> Target::ports() const {
  std::vector<uint16_t> out;
  if (service)
    for (const api::ServicePort& port : service->ports) out.push_back(port.port);
  else
    for (const api::ServiceEntry::Port& port : entry->ports) out.push_back(port.number);
  return out;
}

Index::Index(const api::Mesh& mesh) : mesh_(mesh) {
  for (const api::Service* service : mesh.services) {
    const std::string host = fmt::format("{}.{}.svc.{}", service->meta.name, service->meta.name_space, mesh.config.domain);
    targets_.try_emplace(host, Target{host, service, nullptr});
  }
  for (const api::ServiceEntry* entry : mesh.service_entries)
    for (const api::Text& text : entry->hosts) {
      const std::string host = lower(without_dot(text.value));
      targets_.try_emplace(host, Target{host, nullptr, entry});
    }
  for (const api::DestinationRule* rule : mesh.destination_rules) rules_.emplace_back(full_host(rule->host.value, rule->meta.name_space), rule);
  for (const api::Pod* pod : mesh.pods) pods_[{pod->meta.name_space, pod->meta.name}] = pod;
  for (const api::EndpointSlice* slice : mesh.slices) slices_[{slice->meta.name_space, slice->service}].push_back(slice);
}

std::string Index::full_host(std::string_view host, std::string_view name_space) const {
  host = without_dot(host);
  if (host.find('.') != std::string_view::npos || host.starts_with('*')) return lower(host);
  return fmt::format("{}.{}.svc.{}", lower(host), name_space, mesh_.config.domain);
}

const Target* Index::target(std::string_view full_host) const {
  if (const auto found = targets_.find(full_host); found != targets_.end()) return &found->second;
  for (const auto& [host, target] : targets_)
    if (host.starts_with('*') && covers(host, full_host)) return &target;
  return nullptr;
}

std::vector<const Target*> Index::covered_by(std::string_view wildcard) const {
  std::vector<const Target*> out;
  for (const auto& [host, target] : targets_)
    if (overlaps(wildcard, host)) out.push_back(&target);
  return out;
}

std::vector<std::string_view> Index::hosts() const {
  std::vector<std::string_view> out;
  for (const auto& [host, target] : targets_) out.push_back(host);
  return out;
}

std::string Index::near_host(std::string_view written, std::string_view full_host) const {
  // The same name in another namespace is the mistake that short names invite.
  for (const auto& [host, target] : targets_)
    if (target.service && first_label(host) == first_label(full_host) && host != full_host) return fmt::format("; did you mean {}?", host);
  if (written.find('.') == std::string_view::npos) {
    std::vector<std::string_view> names;
    for (const auto& [host, target] : targets_)
      if (target.service && namespace_of(host) == namespace_of(full_host)) names.push_back(target.service->meta.name);
    const std::string_view near = nearest(written, names);
    return near.empty() ? std::string() : fmt::format("; did you mean {}?", near);
  }
  const std::string_view near = nearest(full_host, hosts());
  return near.empty() ? std::string() : fmt::format("; did you mean {}?", near);
}

GatewayName Index::gateway_name(std::string_view written, std::string_view name_space) {
  if (written == "mesh") return {{}, {}, true};
  const size_t slash = written.find('/');
  if (slash != std::string_view::npos) {
    const std::string_view first = written.substr(0, slash);
    return {std::string(first == "." ? name_space : first), std::string(written.substr(slash + 1)), false};
  }
  // The old form by service name: gateway.namespace.svc.cluster.local.
  if (const std::string_view old = namespace_of(written); !old.empty()) return {std::string(old), std::string(first_label(written)), false};
  return {std::string(name_space), std::string(written), false};
}

const api::Gateway* Index::gateway(const GatewayName& name) const {
  for (const api::Gateway* gateway : mesh_.gateways)
    if (gateway->meta.name == name.name && gateway->meta.name_space == name.name_space) return gateway;
  return nullptr;
}

std::vector<const api::DestinationRule*> Index::rules_for(std::string_view full_host, std::string_view client_namespace) const {
  const Target* target = this->target(full_host);
  const std::string_view service_namespace = target ? (target->service ? std::string_view(target->service->meta.name_space) : std::string_view(target->entry->meta.name_space)) : namespace_of(full_host);
  std::vector<const api::DestinationRule*> out;
  for (const auto& [host, rule] : rules_) {
    const std::string& ns = rule->meta.name_space;
    if (ns != client_namespace && ns != service_namespace && ns != mesh_.config.root_namespace) continue;
    if (covers(host, full_host)) out.push_back(rule);
  }
  return out;
}

bool Index::labels_from_slices(const api::Service& service, std::vector<const api::Labels*>& out) const {
  const auto slices = slices_.find({service.meta.name_space, service.meta.name});
  if (slices == slices_.end()) return true;
  for (const api::EndpointSlice* slice : slices->second) {
    for (const api::EndpointAddress& address : slice->addresses) {
      const auto pod = pods_.find({service.meta.name_space, address.pod});
      if (pod == pods_.end()) return false;
      out.push_back(&pod->second->meta.labels);
    }
  }
  return true;
}

bool Index::endpoint_labels(const Target& target, std::vector<const api::Labels*>& out) const {
  if (target.entry) {
    if (!target.entry->workload_selector.empty()) return false;
    for (const api::WorkloadEndpoint& endpoint : target.entry->endpoints) out.push_back(&endpoint.labels);
    return true;
  }
  if (!labels_from_slices(*target.service, out)) return false;
  if (!out.empty() || !target.service->has_selector) return true;
  for (const api::Pod* pod : mesh_.pods)
    if (pod->meta.name_space == target.service->meta.name_space && serves(*pod) && api::selects(target.service->selector, pod->meta.labels)) out.push_back(&pod->meta.labels);
  return true;
}

}  // namespace validate
