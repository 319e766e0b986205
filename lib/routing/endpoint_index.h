#pragma once

#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <tuple>
#include <unordered_map>
#include <vector>

#include "routing/clusters.h"

namespace routing {

// Finds the endpoints of services at one moment of the mesh: EndpointSlices, else the selected pods (CONTRACT), or what a
// ServiceEntry lists. Borrows the mesh.
class EndpointIndex {
 public:
  explicit EndpointIndex(const api::Mesh& mesh);
  // Never null; empty when nothing fits. Stable order: that of slices or pods.
  std::shared_ptr<const base::EndpointSet> endpoints_of(const EndpointSource& source);
  // Addresses of one port, healthy or not: a headless service has a listener for each.
  std::vector<base::SocketAddress> addresses_of(const KnownService& service, uint16_t port);

 private:
  struct Found {
    base::Endpoint endpoint;
    const api::Labels* labels;           // null: unknown, fits only an empty subset
  };
  using Key = std::pair<std::string_view, std::string_view>;     // namespace, name
  const std::vector<Found>& all_of(const KnownService& service, const KnownService::Port& port);
  std::vector<Found> from_slices(const KnownService& service, const KnownService::Port& port, const std::vector<const api::EndpointSlice*>& slices);
  std::vector<Found> from_pods(const KnownService& service, const KnownService::Port& port);
  std::vector<Found> from_entry(const KnownService& service, const KnownService::Port& port);
  std::shared_ptr<const base::WorkloadInfo> workload(const api::Pod* pod);

  std::map<Key, std::vector<const api::EndpointSlice*>> slices_;
  std::map<Key, const api::Pod*> pods_;
  // By namespace and one label: a selector asks for its first label and checks the rest.
  std::map<std::tuple<std::string_view, std::string_view, std::string_view>, std::vector<const api::Pod*>> pods_by_label_;
  std::unordered_map<base::Ip, const api::Pod*> pods_by_ip_;
  std::unordered_map<const api::Pod*, std::shared_ptr<const base::WorkloadInfo>> workloads_;
  std::map<std::pair<std::string_view, uint16_t>, std::vector<Found>> known_;   // by host and port, for the subsets
};

Endpoints endpoints_of(const api::Mesh& mesh, const ClusterTable& clusters);

}  // namespace routing
