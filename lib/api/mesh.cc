#include "api/mesh.h"

#include <algorithm>
#include <functional>

namespace api {
namespace {

template <class T> void sort_by_age(std::vector<const T*>& list) {
  std::sort(list.begin(), list.end(), [](const T* a, const T* b) { return older(a->meta, b->meta); });
}

struct Sorter {
  Mesh& mesh;
  void operator()(std::monostate) const {}
  void operator()(const Namespace& v) const { mesh.namespaces.push_back(&v); }
  void operator()(const Service& v) const { mesh.services.push_back(&v); }
  void operator()(const EndpointSlice& v) const { mesh.slices.push_back(&v); }
  void operator()(const std::vector<EndpointSlice>& v) const {
    for (const EndpointSlice& slice : v) mesh.slices.push_back(&slice);
  }
  void operator()(const Pod& v) const { mesh.pods.push_back(&v); }
  void operator()(const ConfigMap&) const {}
  void operator()(const VirtualService& v) const { mesh.virtual_services.push_back(&v); }
  void operator()(const DestinationRule& v) const { mesh.destination_rules.push_back(&v); }
  void operator()(const Gateway& v) const { mesh.gateways.push_back(&v); }
  void operator()(const ServiceEntry& v) const { mesh.service_entries.push_back(&v); }
};

}  // namespace

const Pod* Mesh::pod(std::string_view name_space, std::string_view name) const {
  for (const Pod* pod : pods)
    if (pod->meta.name == name && pod->meta.name_space == name_space) return pod;
  return nullptr;
}

Mesh make_mesh(std::vector<std::shared_ptr<const Resource>> resources, const MeshConfig& config) {
  Mesh mesh;
  mesh.config = config;
  std::erase_if(resources, [](const auto& resource) { return !resource || !resource->valid; });
  mesh.all = std::move(resources);
  for (const auto& resource : mesh.all) std::visit(Sorter{mesh}, resource->typed);
  sort_by_age(mesh.namespaces);
  sort_by_age(mesh.services);
  // Subsets of one Endpoints share their name and stand in one vector, so their addresses keep the order of the file.
  std::sort(mesh.slices.begin(), mesh.slices.end(), [](const EndpointSlice* a, const EndpointSlice* b) {
    if (older(a->meta, b->meta)) return true;
    return !older(b->meta, a->meta) && std::less<>()(a, b);
  });
  sort_by_age(mesh.pods);
  sort_by_age(mesh.virtual_services);
  sort_by_age(mesh.destination_rules);
  sort_by_age(mesh.gateways);
  sort_by_age(mesh.service_entries);
  return mesh;
}

}  // namespace api
