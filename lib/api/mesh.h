#pragma once

#include <memory>
#include <vector>

#include "api/resource.h"

namespace api {

// Everything valid at one moment: what validate and routing look at. Cheap to copy (shared, immutable objects). Lists are in
// the order of `older`.
struct Mesh {
  MeshConfig config;
  std::vector<std::shared_ptr<const Resource>> all;
  std::vector<const Namespace*> namespaces;
  std::vector<const Service*> services;
  std::vector<const EndpointSlice*> slices;
  std::vector<const Pod*> pods;
  std::vector<const VirtualService*> virtual_services;
  std::vector<const DestinationRule*> destination_rules;
  std::vector<const Gateway*> gateways;
  std::vector<const ServiceEntry*> service_entries;

  const Pod* pod(std::string_view name_space, std::string_view name) const;
};

// Sorts valid resources into lists; invalid ones are left out. `config` is what decode_mesh_config made of ConfigMap
// istio-system/istio, or the defaults. The mesh keeps the resources alive.
// The same kind, namespace and name twice: the caller (the store) has decided already.
Mesh make_mesh(std::vector<std::shared_ptr<const Resource>> resources, const MeshConfig& config);

}  // namespace api
