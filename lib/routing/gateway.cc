#include <algorithm>
#include <map>
#include <set>
#include <string>
#include <tuple>

#include <fmt/format.h>

#include "routing/names.h"
#include "routing/order.h"
#include "routing/rules.h"
#include "routing/visibility.h"

// A gateway's listeners: servers of all Gateways that select this pod, merged by address and port (traffic.md §2.1.1, §2.3).
namespace routing {
namespace {
bool plain_http(std::string_view protocol) noexcept {
  return protocol == "HTTP" || protocol == "HTTP2" || protocol == "GRPC" || protocol == "GRPC-WEB";
}

// One entry of servers[].hosts: "[namespace/]name".
struct ServerHost {
  std::string_view name_space, name;     // namespace "*": any
  static ServerHost parse(std::string_view written, std::string_view gateway_namespace) {
    const size_t slash = written.find('/');
    if (slash == written.npos) return {"*", written};
    const auto name_space = written.substr(0, slash);
    return {name_space == "." ? gateway_namespace : name_space, written.substr(slash + 1)};
  }
  bool lets(std::string_view vs_namespace) const noexcept { return name_space == "*" || name_space == vs_namespace; }
};

class GatewayListeners {
 public:
  explicit GatewayListeners(Build& build) : build_(build), rules_(build) {}

  void run() {
    for (const auto* gateway : build_.mesh.gateways)
      if (api::selects(gateway->selector, build_.self.labels))
        for (size_t i = 0; i < gateway->servers.size(); ++i) take(*gateway, i);
    for (auto& [key, port] : ports_) add_listener(port);
  }

 private:
  struct Member {
    const api::Gateway* gateway;
    const api::Server* server;
  };
  struct Port {
    GatewayPort where;
    std::vector<Member> members;
  };

  void take(const api::Gateway& gateway, size_t number) {
    const auto& server = gateway.servers[number];
    const std::string field = fmt::format("spec.servers[{}]", number);
    if (server.tls && !server.https_redirect) return;   // not listened on; the reader has named the mode
    if (!plain_http(server.protocol))
      return refuse(gateway, server, field + ".port.protocol", fmt::format("{} servers are not implemented yet; port {} is not listened on for this one", server.protocol, server.port));
    // To serve the hosts over plain HTTP where a redirect is asked for would weaken what the user wrote, so they get 404.
    if (server.https_redirect)
      refuse(gateway, server, field + ".tls.httpsRedirect", fmt::format("httpsRedirect is not implemented yet; requests for the hosts of this server on port {} are answered 404 instead of being redirected", server.port));
    for (const uint16_t listen : target_ports(server.port)) {
      Port& port = ports_[{listen, server.bind}];
      if (port.members.empty()) port.where = {listen, server.port, server.bind};
      port.members.push_back({&gateway, &server});
    }
  }

  void refuse(const api::Gateway& gateway, const api::Server& server, std::string field, std::string message) {
    build_.problems.push_back({doc::Problem::Severity::kWarning, "NOT_IMPLEMENTED", gateway.meta.id(), std::move(field), std::move(message), server.at});
  }

  // Where the gateway's own Services send this port; the port itself when none of them has it.
  std::set<uint16_t> target_ports(uint16_t server_port) const {
    const api::Pod* pod = build_.mesh.pod(build_.self.name_space, build_.self.name);
    std::set<uint16_t> out;
    for (const auto& service : build_.registry.services()) {
      if (!service.kubernetes || service.name_space != build_.self.name_space || !service.has_selector) continue;
      if (!api::selects(service.selector, build_.self.labels)) continue;
      const auto* port = service.port(server_port);
      if (!port) continue;
      const uint16_t target = pod ? port_on_pod(*port, *pod) : port->target_number != 0 ? port->target_number : port->number;
      if (target != 0) out.insert(target);
    }
    if (out.empty()) out.insert(server_port);
    return out;
  }

  void add_listener(const Port& port) {
    const auto& where = port.where;
    Listener listener;
    listener.kind = Listener::Kind::kHttp;
    listener.name = fmt::format("{}_{}", where.bind.empty() ? "0.0.0.0" : where.bind, where.port);
    listener.port = where.port;
    listener.routes = build_.add_table(table_for(port));
    build_.tables.gateway.push_back({where.port, where.bind.empty() ? std::nullopt : base::Ip::parse(where.bind), build_.add_listener(std::move(listener))});
    build_.tables.gateway_ports.push_back(where);
  }

  // Routes of one host, of all VirtualServices that bind to it, oldest first.
  struct Host {
    std::string written;
    std::vector<Route> routes;
  };
  using Hosts = std::vector<Host>;

  RouteTable table_for(const Port& port) {
    const auto& where = port.where;
    RouteTable table;
    table.name = fmt::format("http.{}{}{}", where.server_port, where.bind.empty() ? "" : ".", where.bind);
    Hosts hosts;
    for (const auto* vs : visible(build_.mesh.virtual_services, build_.self.name_space)) bind(*vs, port, hosts);
    for (auto& host : hosts) {
      // A catch-all of an older VirtualService must not hide the rules of a younger one.
      sort_keeping_order(host.routes, [](const Route& route) { return route.catch_all(); });
      table.add({fmt::format("{}:{}", lower_case(host.written), where.server_port), {host.written}, std::move(host.routes), {}});
    }
    if (table.hosts.empty()) table.add({fmt::format("blackhole:{}", where.server_port), {"*"}, {}, {}});
    return table;
  }

  void bind(const api::VirtualService& vs, const Port& port, Hosts& hosts) {
    std::set<std::pair<std::string, std::string>> done;          // host, gateway: two servers may name the same host
    for (const auto& member : port.members) {
      const std::string gateway = member.gateway->meta.name_space + '/' + member.gateway->meta.name;
      const auto names_it = [&](const api::Text& g) { return gateway_name(g.value, vs.meta.name_space) == gateway; };
      if (member.server->https_redirect || std::ranges::none_of(vs.gateways, names_it)) continue;
      std::vector<Route> routes;
      for (const auto& written : member.server->hosts) {
        const auto allowed = ServerHost::parse(written.value, member.gateway->meta.name_space);
        if (!allowed.lets(vs.meta.name_space)) continue;
        for (const auto& own : vs.hosts) {
          const std::string whole = complete_host(own.value, vs.meta.name_space, build_.self.domain);
          const std::string common(common_host(allowed.name, whole));
          if (common.empty() || redirected_elsewhere(common, port) || !done.emplace(common, gateway).second) continue;
          if (routes.empty()) routes = rules_.routes_of(vs, {gateway, port.where.server_port});
          append(hosts, common, routes);
        }
      }
    }
  }

  // The redirect of one server also covers another one of the same port that has the same host without it.
  static bool redirected_elsewhere(std::string_view host, const Port& port) {
    return std::ranges::any_of(port.members, [&](const Member& member) {
      return member.server->https_redirect && std::ranges::any_of(member.server->hosts, [&](const api::Text& written) {
               return ServerHost::parse(written.value, member.gateway->meta.name_space).name == host;
             });
    });
  }

  static void append(Hosts& hosts, const std::string& name, const std::vector<Route>& routes) {
    if (routes.empty()) return;
    auto place = std::ranges::find(hosts, name, &Host::written);
    if (place == hosts.end()) place = hosts.insert(place, {name, {}});
    place->routes.insert(place->routes.end(), routes.begin(), routes.end());
  }

  Build& build_;
  Rules rules_;
  std::map<std::pair<uint16_t, std::string>, Port> ports_;
};
}  // namespace

void build_gateway(Build& build) { GatewayListeners(build).run(); }

}  // namespace routing
