#include <algorithm>
#include <set>

#include <fmt/format.h>

#include "routing/names.h"
#include "routing/rules.h"

// What arrives at the pod (15006): per port of the services that this pod backs, the app at the dialled address.
namespace routing {
namespace {
// Ours, never the app's, whatever a stranger dials: admin and debug, besides the two capture ports.
constexpr uint16_t kOwnPorts[] = {15000, 15004};

class InboundListeners {
 public:
  explicit InboundListeners(Build& build) : build_(build), pod_(build.mesh.pod(build.self.name_space, build.self.name)) {
    for (const auto* slice : build.mesh.slices)
      if (slice->meta.name_space == build.self.name_space && holds_us(*slice)) slices_.push_back(slice);
  }

  void run() {
    for (const auto& service : build_.registry.services())
      if (service.name_space == build_.self.name_space) add_service(service);
    add_fall_through();
    block();
  }

 private:
  // The number of this service port on this pod; 0: the pod is none of its endpoints.
  uint16_t port_here(const KnownService& service, const KnownService::Port& port) const {
    if (service.kubernetes) {
      for (const auto* slice : slices_) {
        if (slice->service != service.name) continue;
        const auto number = std::ranges::find(slice->ports, port.name, &api::EndpointPort::name);
        if (number != slice->ports.end()) return number->port;
      }
    }
    if (!service.has_selector || !api::selects(service.selector, build_.self.labels)) return 0;
    if (pod_) return port_on_pod(port, *pod_);
    return port.target_number != 0 ? port.target_number : port.target_name.empty() ? port.number : 0;
  }
  bool holds_us(const api::EndpointSlice& slice) const {
    return std::ranges::any_of(slice.addresses, [&](const api::EndpointAddress& address) {
      return std::ranges::find(build_.self.addresses, address.ip) != build_.self.addresses.end();
    });
  }

  void add_service(const KnownService& service) {
    for (const auto& port : service.ports) {
      const uint16_t here = port_here(service, port);
      if (here == 0 || build_.tables.inbound_by_port.contains(here)) continue;   // the older service names the port
      base::ClusterSettings settings = inbound_settings(inbound_cluster(here));
      settings.protocol = upstream_protocol(port.protocol);
      settings.service_host = service.host;
      settings.service_name = service.name;
      settings.service_namespace = service.name_space;
      // traffic.md §2.2.3: of the service's own rule only the pool holds on this side.
      if (const auto pool = build_.rules.rule_for(service).blocks(nullptr, port.number).pool) apply(*pool, settings);
      const auto kind = is_opaque(port.protocol) ? Listener::Kind::kTcp : is_http(port.protocol) ? Listener::Kind::kHttp : Listener::Kind::kAuto;
      const uint32_t listener = add_listener(kind, here, std::move(settings), port.number);
      build_.tables.inbound_by_port.emplace(here, listener);
    }
  }

  base::ClusterSettings inbound_settings(std::string name) const {
    base::ClusterSettings settings;
    settings.name = std::move(name);
    settings.load_balancer = base::LoadBalancer::kPassthrough;
    settings.original_dst = settings.from_inbound_address = true;
    settings.connect_timeout = build_.config.connect_timeout;
    settings.preserve_header_case = build_.config.defaults.preserve_header_case.value_or(false);
    return settings;
  }

  uint32_t add_listener(Listener::Kind kind, uint16_t port, base::ClusterSettings settings, uint16_t service_port) {
    const std::string cluster = settings.name;
    Listener listener;
    listener.kind = kind;
    listener.name = "virtualInbound";
    listener.port = port;
    listener.inbound = true;
    listener.tcp_cluster = build_.tables.clusters.add(std::move(settings));
    if (kind != Listener::Kind::kTcp) {
      RouteTable table;
      table.name = cluster;
      // No retries: the connect fails because the app is not there, and a second try a moment later only hides that.
      table.add({fmt::format("inbound|http|{}", service_port), {"*"}, {{nullptr, plan_to("default", listener.tcp_cluster, cluster, 0)}}, {}});
      listener.routes = build_.add_table(std::move(table));
    }
    return build_.add_listener(std::move(listener));
  }

  // Ports in no Service: whatever the first bytes say, to where the client dialled.
  void add_fall_through() {
    auto settings = inbound_settings(std::string(kInboundPassthroughCluster));
    settings.service_name = kInboundPassthroughCluster;
    build_.tables.virtual_inbound = add_listener(Listener::Kind::kAuto, build_.self.inbound_port, std::move(settings), 0);
  }

  void block() {
    auto& tables = build_.tables;
    tables.inbound_guard.kind = Listener::Kind::kBlackHole;
    tables.inbound_guard.name = "virtualInbound";
    tables.inbound_guard.inbound = true;
    tables.inbound_guard.port = build_.self.inbound_port;
    std::set<uint16_t> ports(std::begin(kOwnPorts), std::end(kOwnPorts));
    ports.insert({build_.self.outbound_port, build_.self.inbound_port});
    for (const uint16_t port : ports) tables.inbound_by_port.insert_or_assign(port, kGuard);
  }

  Build& build_;
  const api::Pod* pod_;
  std::vector<const api::EndpointSlice*> slices_;   // those with an address of ours
};
}  // namespace

void build_inbound(Build& build) { InboundListeners(build).run(); }

}  // namespace routing
