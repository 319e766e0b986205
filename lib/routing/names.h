#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

// The names that users see in logs, metrics and dumps, and the rules by which a short name becomes a whole one
// (traffic.md §3.1, §3.2). Pure text; nothing here knows resources.
namespace routing {

inline constexpr std::string_view kMesh = "mesh";
inline constexpr std::string_view kPassthroughCluster = "PassthroughCluster";
inline constexpr std::string_view kBlackHoleCluster = "BlackHoleCluster";
inline constexpr std::string_view kInboundPassthroughCluster = "InboundPassthroughCluster";

std::string lower_case(std::string_view text);

// reviews → reviews.NAMESPACE.svc.DOMAIN. What has a dot, a wildcard or is an address stays as written (traffic.md §2.1.1).
std::string complete_host(std::string_view host, std::string_view name_space, std::string_view domain);
std::string service_host(std::string_view name, std::string_view name_space, std::string_view domain);

// outbound|9080|v1|reviews.default.svc.cluster.local and inbound|8080||.
std::string outbound_cluster(uint16_t port, std::string_view subset, std::string_view host);
std::string inbound_cluster(uint16_t port);

// A gateway as VirtualServices name it: "mesh", or namespace/name. Short, `./name` and the old name.ns.svc.cluster.local are
// completed with the namespace of the VirtualService.
std::string gateway_name(std::string_view written, std::string_view name_space);

bool is_wildcard(std::string_view host) noexcept;
// Everything that `host` (a name or a wildcard) stands for is covered by `pattern`: "*.a.com" covers "x.a.com" and
// "*.x.a.com", not "a.com". Compares with case, as Istio does between Gateway and VirtualService.
bool covers(std::string_view pattern, std::string_view host) noexcept;
// What both stand for: the narrower one, or empty when they have nothing in common (gateway host intersection, §2.1.1).
std::string_view common_host(std::string_view a, std::string_view b) noexcept;

// The domains under which clients in `client_namespace` reach a Kubernetes Service, addresses left out (§3.2).
std::vector<std::string> service_domains(std::string_view name, std::string_view name_space, std::string_view domain,
                                         std::string_view client_namespace, bool headless);

// Host of an :authority without its port: "a:80" → "a", "[::1]:80" → "[::1]".
std::string_view without_port(std::string_view authority) noexcept;

}  // namespace routing
