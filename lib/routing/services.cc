#include "routing/services.h"

#include <algorithm>
#include <tuple>

#include <fmt/format.h>

#include "routing/names.h"
#include "routing/order.h"
#include "routing/visibility.h"

namespace routing {
namespace {
using Severity = doc::Problem::Severity;

void not_implemented(doc::Problems& problems, const api::Meta& meta, std::string field, std::string message, const doc::Mark& at) {
  problems.push_back({Severity::kWarning, "NOT_IMPLEMENTED", meta.id(), std::move(field), std::move(message), at});
}

bool whole_address(const base::Cidr& cidr) noexcept { return cidr.length == (cidr.base.v4 ? 32 : 128); }

KnownService::Resolution resolution_of(const api::ServiceEntry& entry) noexcept {
  switch (entry.resolution) {
    case api::ServiceEntry::Resolution::kNone: return KnownService::Resolution::kOriginalDst;
    case api::ServiceEntry::Resolution::kStatic: return KnownService::Resolution::kEndpoints;
    default: return KnownService::Resolution::kNothing;
  }
}

// What a ServiceEntry asks for and we do not do yet, beyond what its reader has named already (DNS, Unix sockets).
void name_gaps(const api::ServiceEntry& entry, doc::Problems& problems) {
  const auto& meta = entry.meta;
  if (entry.resolution != api::ServiceEntry::Resolution::kNone) return;
  for (size_t i = 0; i < entry.ports.size(); ++i)
    if (entry.ports[i].target != 0 && entry.ports[i].target != entry.ports[i].number)
      not_implemented(problems, meta, fmt::format("spec.ports[{}].targetPort", i), fmt::format("targetPort {} with resolution NONE is not implemented yet; the port that the client dialled is used", entry.ports[i].target), entry.ports[i].at);
}
}  // namespace

const KnownService::Port* KnownService::port(uint16_t number) const noexcept {
  const auto found = std::ranges::find(ports, number, &Port::number);
  return found == ports.end() ? nullptr : &*found;
}

uint16_t port_on_pod(const KnownService::Port& port, const api::Pod& pod) noexcept {
  if (port.target_number != 0) return port.target_number;
  if (port.target_name.empty()) return port.number;
  for (const auto& container : pod.containers)
    for (const auto& candidate : container.ports)
      if (candidate.name == port.target_name) return candidate.port;
  return 0;
}

Registry::Registry(const api::Mesh& mesh, const Proxy& self, doc::Problems& problems) {
  for (const auto* service : mesh.services)
    if (reach_of_service(service->meta, self.name_space) != Reach::kNone) add_service(*service, self);
  for (const auto* entry : mesh.service_entries)
    if (reach(entry->export_to, entry->meta.name_space, self.name_space) != Reach::kNone) add_entry(*entry, problems);
  settle(self);
  name_lost_aliases(problems);
}

void Registry::add_alias(const api::Service& service, std::string host) {
  Alias alias{std::move(host), service.meta.name, service.meta.name_space, lower_case(service.external_name), service.meta.at, {}};
  if (alias.target.ends_with('.')) alias.target.pop_back();
  for (const auto& port : service.ports) alias.ports.push_back(port.port);
  aliases_.push_back(std::move(alias));
}

// Istio makes a cluster with DNS for an alias that leads out of the mesh and has ports.
void Registry::name_lost_aliases(doc::Problems& problems) const {
  for (const auto& alias : aliases_) {
    if (alias.ports.empty() || target_of(alias)) continue;
    problems.push_back({Severity::kWarning, "NOT_IMPLEMENTED", fmt::format("Service/{}/{}", alias.name_space, alias.name), "spec.externalName",
                        fmt::format("{} is no service of the mesh; resolving it by DNS is not implemented yet, so the name counts as unknown and connections go where the client dialled", alias.target), alias.at});
  }
}

void Registry::add_service(const api::Service& service, const Proxy& self) {
  const auto& meta = service.meta;
  std::string host = service_host(meta.name, meta.name_space, self.domain);
  if (service.type == "ExternalName") return add_alias(service, std::move(host));
  KnownService known;
  known.host = std::move(host);
  known.name = meta.name;
  known.name_space = meta.name_space;
  known.object = meta.id();
  known.at = meta.at;
  known.created = meta.created;
  known.kubernetes = true;
  known.headless = service.headless;
  // The app has picked the pod itself; a sidecar keeps its choice. A gateway has no such choice to keep.
  if (service.headless && self.role == Proxy::Role::kSidecar) known.resolution = KnownService::Resolution::kOriginalDst;
  known.vips = service.cluster_ips;
  known.publish_not_ready = service.publish_not_ready;
  known.has_selector = service.has_selector;
  known.selector = service.selector;
  for (const auto& port : service.ports) {
    const Protocol protocol = protocol_of(port);
    if (protocol != Protocol::kUdp) known.ports.push_back({port.name, port.port, port.target_number, port.target_name, protocol});
  }
  services_.push_back(std::move(known));
}

void Registry::add_entry(const api::ServiceEntry& entry, doc::Problems& problems) {
  name_gaps(entry, problems);
  KnownService known;
  known.name_space = entry.meta.name_space;
  known.object = entry.meta.id();
  known.at = entry.meta.at;
  known.created = entry.meta.created;
  known.resolution = resolution_of(entry);
  for (const auto& cidr : entry.addresses) {
    if (whole_address(cidr)) known.vips.push_back(cidr.base);
    else known.ranges.push_back(cidr);
  }
  known.has_selector = !entry.workload_selector.empty();
  known.selector = entry.workload_selector;
  known.endpoints = entry.endpoints;
  for (const auto& port : entry.ports) {
    const Protocol protocol = protocol_of_entry(port.protocol, port.number);
    if (protocol != Protocol::kUdp) known.ports.push_back({port.name, port.number, port.target, {}, protocol});
  }
  for (const auto& host : entry.hosts) {
    known.host = known.name = lower_case(host.value);
    services_.push_back(known);
  }
}

// One service per host: a Kubernetes Service beats a ServiceEntry, the own namespace beats others, the older beats the younger.
void Registry::settle(const Proxy& self) {
  const auto rank = [&](const KnownService& s) { return std::tuple(!s.kubernetes, s.name_space != self.name_space, s.created); };
  sort_keeping_order(services_, rank);
  std::unordered_map<std::string_view, bool> taken;
  std::vector<KnownService> kept;
  kept.reserve(services_.size());
  for (auto& service : services_)
    if (taken.emplace(service.host, true).second) kept.push_back(service);
  services_ = std::move(kept);
  sort_keeping_order(services_, [](const KnownService& s) { return std::tie(s.created, s.name, s.name_space); });
  for (const auto& service : services_) by_host_.emplace(service.host, &service);
  for (const auto& alias : aliases_) alias_by_host_.emplace(alias.host, &alias);
}

const KnownService* Registry::find(std::string_view host) const noexcept {
  const auto found = by_host_.find(host);
  return found == by_host_.end() ? nullptr : found->second;
}
const Alias* Registry::alias(std::string_view host) const noexcept {
  const auto found = alias_by_host_.find(host);
  return found == alias_by_host_.end() ? nullptr : found->second;
}
const KnownService* Registry::target_of(const Alias& first) const noexcept {
  const Alias* step = &first;
  for (int hops = 0; step && hops < 8; ++hops) {   // longer chains are circles: a person does not write eight aliases in a row
    if (const auto* service = find(step->target)) return service;
    step = alias(step->target);
  }
  return nullptr;
}

}  // namespace routing
