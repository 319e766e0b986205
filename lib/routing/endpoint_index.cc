#include "routing/endpoint_index.h"

#include <algorithm>
#include <set>


namespace routing {
namespace {
bool serves(const api::Pod& pod, bool publish_not_ready) noexcept {
  return !pod.ips.empty() && !pod.terminating && pod.phase != "Failed" && pod.phase != "Succeeded" && (pod.ready || publish_not_ready);
}

// Both families of one pod are one endpoint. The service's first address says which family it prefers.
bool prefers_v4(const KnownService& service, const base::Ip& first) noexcept {
  return service.vips.empty() ? first.v4 : service.vips.front().v4;
}
const base::Ip& address_of(const api::Pod& pod, const KnownService& service) noexcept {
  const bool v4 = prefers_v4(service, pod.ips.front());
  const auto same = std::ranges::find(pod.ips, v4, &base::Ip::v4);
  return same == pod.ips.end() ? pod.ips.front() : *same;
}
}  // namespace

EndpointIndex::EndpointIndex(const api::Mesh& mesh) {
  for (const auto* slice : mesh.slices) slices_[{slice->meta.name_space, slice->service}].push_back(slice);
  for (const auto* pod : mesh.pods) {
    pods_.emplace(Key{pod->meta.name_space, pod->meta.name}, pod);
    for (const auto& [name, value] : pod->meta.labels) pods_by_label_[{pod->meta.name_space, name, value}].push_back(pod);
    if (pod->host_network) continue;     // shares the node's address with others, so the address tells nothing
    for (const auto& ip : pod->ips) pods_by_ip_.emplace(ip, pod);
  }
}

std::shared_ptr<const base::WorkloadInfo> EndpointIndex::workload(const api::Pod* pod) {
  if (!pod) return nullptr;
  auto& known = workloads_[pod];
  if (!known) known = std::make_shared<const base::WorkloadInfo>(workload_of(*pod));
  return known;
}

std::vector<EndpointIndex::Found> EndpointIndex::from_slices(const KnownService& service, const KnownService::Port& port,
                                                             const std::vector<const api::EndpointSlice*>& slices) {
  std::vector<Found> out;
  std::unordered_map<const api::Pod*, size_t> place;   // in `out`, of each pod
  std::set<base::SocketAddress> seen;          // Endpoints and EndpointSlices of one service say the same twice
  for (const auto* slice : slices) {
    const auto number = std::ranges::find(slice->ports, port.name, &api::EndpointPort::name);
    if (number == slice->ports.end()) continue;
    for (const auto& address : slice->addresses) {
      if (address.terminating || !seen.insert({address.ip, number->port}).second) continue;
      const auto by_name = pods_.find(Key{service.name_space, address.pod});
      const auto by_ip = pods_by_ip_.find(address.ip);
      const api::Pod* pod = by_name != pods_.end() ? by_name->second : by_ip != pods_by_ip_.end() ? by_ip->second : nullptr;
      Found found{{{address.ip, number->port}, 1, address.ready || service.publish_not_ready, workload(pod)}, pod ? &pod->meta.labels : nullptr};
      const auto twin = pod ? place.find(pod) : place.end();
      if (twin == place.end() || out[twin->second].endpoint.address.ip.v4 == address.ip.v4) {
        if (pod) place.emplace(pod, out.size());
        out.push_back(std::move(found));
      } else if (address.ip.v4 == prefers_v4(service, out[twin->second].endpoint.address.ip)) {
        out[twin->second] = std::move(found);  // the other family of the same pod
      }
    }
  }
  return out;
}

std::vector<EndpointIndex::Found> EndpointIndex::from_pods(const KnownService& service, const KnownService::Port& port) {
  std::vector<Found> out;
  if (service.selector.empty()) return out;    // selects nothing, as in Kubernetes
  const auto& [name, value] = *service.selector.begin();
  const auto pods = pods_by_label_.find({service.name_space, name, value});
  if (pods == pods_by_label_.end()) return out;
  for (const auto* pod : pods->second) {
    if (!serves(*pod, service.publish_not_ready) || !api::selects(service.selector, pod->meta.labels)) continue;
    if (const uint16_t number = port_on_pod(port, *pod))
      out.push_back({{{address_of(*pod, service), number}, 1, true, workload(pod)}, &pod->meta.labels});
  }
  return out;
}

// Istio: ServiceEntry.endpoints; the port is the endpoint's own by name, else targetPort, else the port's number.
std::vector<EndpointIndex::Found> EndpointIndex::from_entry(const KnownService& service, const KnownService::Port& port) {
  std::vector<Found> out;
  for (const auto& endpoint : service.endpoints) {
    const auto ip = base::Ip::parse(endpoint.address);
    if (!ip) continue;                   // a Unix socket; the reader has named it
    uint16_t number = port.target_number != 0 ? port.target_number : port.number;
    for (const auto& [name, own] : endpoint.ports)
      if (name == port.name) number = own;
    const auto pod = pods_by_ip_.find(*ip);
    out.push_back({{{*ip, number}, endpoint.weight, true, pod == pods_by_ip_.end() ? nullptr : workload(pod->second)}, &endpoint.labels});
  }
  return out;
}

const std::vector<EndpointIndex::Found>& EndpointIndex::all_of(const KnownService& service, const KnownService::Port& port) {
  const auto [known, fresh] = known_.try_emplace({service.host, port.number});
  if (!fresh) return known->second;
  if (!service.kubernetes && service.resolution != KnownService::Resolution::kEndpoints) return known->second;
  const auto slices = slices_.find(Key{service.name_space, service.name});
  if (service.kubernetes && slices != slices_.end()) known->second = from_slices(service, port, slices->second);
  else if (service.has_selector) known->second = from_pods(service, port);
  else if (!service.kubernetes) known->second = from_entry(service, port);
  return known->second;
}

std::shared_ptr<const base::EndpointSet> EndpointIndex::endpoints_of(const EndpointSource& source) {
  auto out = std::make_shared<base::EndpointSet>();
  const auto* port = source.service ? source.service->port(source.port) : nullptr;
  if (!port) return out;
  for (const auto& found : all_of(*source.service, *port))
    if (source.subset.empty() || (found.labels && api::selects(source.subset, *found.labels))) out->list.push_back(found.endpoint);
  return out;
}

std::vector<base::SocketAddress> EndpointIndex::addresses_of(const KnownService& service, uint16_t number) {
  std::vector<base::SocketAddress> out;
  if (const auto* port = service.port(number))
    for (const auto& found : all_of(service, *port)) out.push_back(found.endpoint.address);
  return out;
}

Endpoints endpoints_of(const api::Mesh& mesh, const ClusterTable& clusters) {
  EndpointIndex index(mesh);
  Endpoints out;
  out.reserve(clusters.settings.size());
  for (size_t i = 0; i < clusters.settings.size(); ++i) out.emplace_back(clusters.settings[i]->name, index.endpoints_of(clusters.sources[i]));
  return out;
}

}  // namespace routing
