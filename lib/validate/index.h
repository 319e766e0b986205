#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "api/mesh.h"

// Internal to validate: what names mean in this mesh. Borrows the mesh.
namespace validate {

struct GatewayName {
  std::string name_space, name;
  bool mesh = false;
};

// One thing that a destination's host can mean: a Kubernetes Service or a host of a ServiceEntry.
struct Target {
  std::string host;                             // fully qualified, lower-case
  const api::Service* service = nullptr;
  const api::ServiceEntry* entry = nullptr;
  bool has_port(uint16_t port) const;
  std::vector<uint16_t> ports() const;
};

class Index {
 public:
  explicit Index(const api::Mesh& mesh);

  const api::Mesh& mesh() const noexcept { return mesh_; }
  // Istio's rule: without a dot the object's own namespace completes the name.
  std::string full_host(std::string_view host, std::string_view name_space) const;
  const Target* target(std::string_view full_host) const;       // exact, else a wildcard ServiceEntry that covers it
  std::vector<const Target*> covered_by(std::string_view wildcard) const;
  std::vector<std::string_view> hosts() const;                  // of all targets
  // The nearest host that exists, in words ("; did you mean …?"), or empty.
  std::string near_host(std::string_view written, std::string_view full_host) const;
  // Nothing that could be a destination is known: these are traffic rules alone, the services live elsewhere.
  bool knows_services() const noexcept { return !targets_.empty(); }

  static GatewayName gateway_name(std::string_view written, std::string_view name_space);
  const api::Gateway* gateway(const GatewayName& name) const;

  // DestinationRules that can apply when something in `client_namespace` calls the host: the client's, the service's, the root's.
  std::vector<const api::DestinationRule*> rules_for(std::string_view full_host, std::string_view client_namespace) const;

  // Labels of every endpoint of the target. False: some endpoint's labels are not known, so nothing can be said.
  bool endpoint_labels(const Target& target, std::vector<const api::Labels*>& out) const;

 private:
  bool labels_from_slices(const api::Service& service, std::vector<const api::Labels*>& out) const;
  const api::Mesh& mesh_;
  std::map<std::string, Target, std::less<>> targets_;
  std::vector<std::pair<std::string, const api::DestinationRule*>> rules_;                  // by full host, in the mesh's order
  std::map<std::pair<std::string_view, std::string_view>, const api::Pod*> pods_;           // namespace, name
  std::map<std::pair<std::string_view, std::string_view>, std::vector<const api::EndpointSlice*>> slices_;   // namespace, service
};

// One host takes part of what the other takes ("*.a.com" and "x.a.com").
bool overlaps(std::string_view a, std::string_view b);
bool covers(std::string_view wildcard, std::string_view host);

}  // namespace validate
