#pragma once

#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "api/mesh.h"
#include "routing/engine.h"
#include "routing/protocol.h"

namespace routing {

// A destination that the mesh knows: a Kubernetes Service, or one host of a ServiceEntry. Holds copies, so it outlives the mesh
// it was made from: endpoints are computed again from it whenever pods change.
struct KnownService {
  enum class Resolution : uint8_t { kEndpoints, kOriginalDst, kNothing };   // kNothing: no endpoints until DNS is built in
  struct Port {
    std::string name;
    uint16_t number = 0, target_number = 0;
    std::string target_name;             // of a container port
    Protocol protocol = Protocol::kAuto;
  };
  std::string host;                      // lower-case; *.wild.io for some ServiceEntries
  std::string name, name_space;          // of the object; for a ServiceEntry the name is its host (metrics)
  std::string object;                    // Kind/namespace/name, for problems
  doc::Mark at;
  int64_t created = 0;
  bool kubernetes = false, headless = false;
  Resolution resolution = Resolution::kEndpoints;
  std::vector<base::Ip> vips;
  std::vector<base::Cidr> ranges;        // of a ServiceEntry: addresses with a prefix
  std::vector<Port> ports;               // UDP left out: it is not captured
  // Where endpoints come from.
  bool publish_not_ready = false, has_selector = false;
  api::Labels selector;
  std::vector<api::WorkloadEndpoint> endpoints;

  const Port* port(uint16_t number) const noexcept;
  bool has_vip() const noexcept { return !vips.empty() || !ranges.empty(); }
};

// A Service of type ExternalName: another name for `target`.
struct Alias {
  std::string host, name, name_space, target;
  doc::Mark at;
  std::vector<uint16_t> ports;
};

// Every service that one proxy sees, oldest first, then by name: the order in which they win conflicts.
class Registry {
 public:
  // What cannot be served as written is left out and named in `problems`.
  Registry(const api::Mesh& mesh, const Proxy& self, doc::Problems& problems);
  Registry(const Registry&) = delete;      // the indexes point into the lists
  Registry& operator=(const Registry&) = delete;

  std::span<const KnownService> services() const noexcept { return services_; }
  const KnownService* find(std::string_view host) const noexcept;
  std::span<const Alias> aliases() const noexcept { return aliases_; }
  const Alias* alias(std::string_view host) const noexcept;
  // Follows aliases to the service that is meant; null when the chain leads out of the mesh or in a circle.
  const KnownService* target_of(const Alias& alias) const noexcept;

 private:
  void add_service(const api::Service& service, const Proxy& self);
  void add_alias(const api::Service& service, std::string host);
  void name_lost_aliases(doc::Problems& problems) const;
  void add_entry(const api::ServiceEntry& entry, doc::Problems& problems);
  void settle(const Proxy& self);
  std::vector<KnownService> services_;
  std::vector<Alias> aliases_;
  std::unordered_map<std::string_view, const KnownService*> by_host_;
  std::unordered_map<std::string_view, const Alias*> alias_by_host_;
};

// The number a service port has on this pod: targetPort, or the container port it names; 0: the pod has no such port.
uint16_t port_on_pod(const KnownService::Port& port, const api::Pod& pod) noexcept;

}  // namespace routing
