#include <algorithm>
#include <map>
#include <optional>

#include <fmt/format.h>

#include "routing/endpoint_index.h"
#include "routing/names.h"
#include "routing/order.h"
#include "routing/virtual_hosts.h"

// The listeners that a sidecar would have at 15001's back: traffic.md §3.3.
namespace routing {
namespace {
class OutboundListeners {
 public:
  explicit OutboundListeners(Build& build) : build_(build), hosts_(build), endpoints_(build.mesh) {
    if (build.config.outbound == api::OutboundPolicy::kAllowAny) elsewhere_ = build.tables.clusters.find(kPassthroughCluster);
  }

  void run() {
    for (const auto& service : build_.registry.services())
      for (const auto& port : service.ports) plan(service, port);
    for (const auto& [port, wanted] : everywhere_) add_everywhere(port, wanted);
    for (const auto& each : headless_) add_headless(each);
    sort_keeping_order(build_.tables.by_range, [](const auto& range) { return range.addresses.length; }, std::greater{});
    add_fall_through();
  }

 private:
  // What is asked of 0.0.0.0_PORT. Several services may ask for different things; traffic then decides by its first bytes.
  struct Everywhere {
    bool http = false, undeclared = false;
    std::optional<uint32_t> tcp;         // takes every destination on the port
    uint32_t table = kNoTable;
  };
  struct Headless {
    const KnownService* service;
    const KnownService::Port* port;
  };

  uint32_t cluster_of(const KnownService& service, uint16_t port) const {
    return build_.tables.clusters.find(outbound_cluster(port, {}, service.host));
  }

  void plan(const KnownService& service, const KnownService::Port& port) {
    if (is_http(port.protocol)) {
      everywhere_[port.number].http = true;
    } else if (service.has_vip()) {
      add_at_vips(service, port);
    } else if (service.kubernetes) {
      if (service.headless) headless_.push_back({&service, &port});
      if (port.protocol == Protocol::kAuto) everywhere_[port.number].undeclared = true;
    } else if (port.protocol == Protocol::kTls) {
      build_.problems.push_back({doc::Problem::Severity::kWarning, "NOT_IMPLEMENTED", service.object, "spec.ports",
                                 fmt::format("port {} is TLS and the entry has no addresses, so {} would be chosen by SNI, which is not implemented yet; connections go where the client dialled", port.number, service.host), service.at});
    } else {
      take_all(service, port);
    }
  }

  void take_all(const KnownService& service, const KnownService::Port& port) {
    Everywhere& wanted = everywhere_[port.number];
    if (port.protocol == Protocol::kAuto) wanted.undeclared = true;
    if (!wanted.tcp) wanted.tcp = cluster_of(service, port.number);   // the older service keeps the port
  }

  void add_at_vips(const KnownService& service, const KnownService::Port& port) {
    Listener listener;
    listener.kind = port.protocol == Protocol::kAuto ? Listener::Kind::kAuto : Listener::Kind::kTcp;
    listener.port = port.number;
    listener.tcp_cluster = cluster_of(service, port.number);
    if (listener.kind == Listener::Kind::kAuto) listener.routes = build_.add_table(hosts_.for_service(service, port.number));
    for (const auto& ip : service.vips) add_at(ip, listener);
    for (const auto& range : service.ranges) {
      listener.name = fmt::format("{}_{}", range.text(), port.number);
      build_.tables.by_range.push_back({range, port.number, build_.add_listener(listener)});
    }
  }

  void add_at(const base::Ip& ip, Listener listener) {
    const base::SocketAddress address{ip, listener.port};
    if (build_.tables.by_address.contains(address)) return;   // the older service keeps the address
    listener.name = fmt::format("{}_{}", ip.text(), listener.port);
    build_.tables.by_address.emplace(address, build_.add_listener(std::move(listener)));
  }

  void add_everywhere(uint16_t port, Everywhere wanted) {
    Listener listener;
    listener.name = fmt::format("0.0.0.0_{}", port);
    listener.port = port;
    listener.tcp_cluster = wanted.tcp.value_or(elsewhere_);
    const bool routed = wanted.http || wanted.undeclared;
    if (routed) listener.routes = everywhere_[port].table = build_.add_table(hosts_.for_port(port));
    listener.kind = !routed                                ? Listener::Kind::kTcp
                    : wanted.undeclared || wanted.tcp      ? Listener::Kind::kAuto
                                                           : Listener::Kind::kHttp;
    build_.tables.by_port.emplace(port, build_.add_listener(std::move(listener)));
  }

  // Bytes to a pod of a headless service are that service's; by Host the port's table knows it.
  void add_headless(const Headless& each) {
    Listener listener;
    listener.tcp_cluster = cluster_of(*each.service, each.port->number);
    listener.kind = each.port->protocol == Protocol::kAuto ? Listener::Kind::kAuto : Listener::Kind::kTcp;
    if (listener.kind == Listener::Kind::kAuto) listener.routes = everywhere_[each.port->number].table;
    for (const auto& address : endpoints_.addresses_of(*each.service, each.port->number)) {
      listener.port = each.port->number;  // a client that asked DNS for the service dials the service's port
      add_at(address.ip, listener);
    }
  }

  void add_fall_through() {
    Listener listener;
    listener.name = "virtualOutbound";
    listener.port = build_.self.outbound_port;
    listener.kind = elsewhere_ == RoutePlan::kMissing ? Listener::Kind::kBlackHole : Listener::Kind::kPassthrough;
    listener.tcp_cluster = elsewhere_ == RoutePlan::kMissing ? build_.tables.clusters.find(kBlackHoleCluster) : elsewhere_;
    build_.tables.virtual_outbound = build_.add_listener(listener);
    listener.kind = Listener::Kind::kBlackHole;
    listener.tcp_cluster = build_.tables.clusters.find(kBlackHoleCluster);
    build_.tables.outbound_guard = std::move(listener);
  }

  Build& build_;
  VirtualHosts hosts_;
  EndpointIndex endpoints_;
  uint32_t elsewhere_ = RoutePlan::kMissing;   // where unknown bytes go: PassthroughCluster, or nowhere
  std::map<uint16_t, Everywhere> everywhere_;
  std::vector<Headless> headless_;
};
}  // namespace

void build_outbound(Build& build) { OutboundListeners(build).run(); }

}  // namespace routing
