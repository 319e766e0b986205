#include "proxy/interception.h"

#include <unistd.h>

#include <cstring>
#include <string>
#include <string_view>
#include <utility>

#include <fmt/format.h>

namespace proxy {
namespace {
// Istio's injector: the proxy's user with REDIRECT. With TPROXY it makes the proxy root in group 1337.
constexpr uid_t kRedirectUser = 1337;
}  // namespace

bool wants_transparent(const api::Mesh& mesh, const Options& options) {
  if (options.gateway) return false;
  if (!options.interception_mode.empty()) return options.interception_mode == "TPROXY";
  const api::Pod* const pod = mesh.pod(options.pod_namespace, options.pod_name);
  if (!pod) return false;
  const auto mode = pod->meta.annotations.find("sidecar.istio.io/interceptionMode");
  return mode != pod->meta.annotations.end() && mode->second == "TPROXY";
}

bool lists_inbound(const api::Mesh& mesh, const Options& options, uint16_t port) {
  const api::Pod* const pod = mesh.pod(options.pod_namespace, options.pod_name);
  const auto annotation = [pod](const char* name, std::string otherwise) {
    if (!pod) return otherwise;
    const auto found = pod->meta.annotations.find(name);
    std::string list = found == pod->meta.annotations.end() ? std::move(otherwise) : found->second;
    std::erase(list, ' ');
    return list;
  };
  const auto has = [port](const std::string& ports) { return (',' + ports + ',').find(fmt::format(",{},", port)) != std::string::npos; };
  const std::string included = annotation("traffic.sidecar.istio.io/includeInboundPorts", "*");
  return included == "*" ? !has(annotation("traffic.sidecar.istio.io/excludeInboundPorts", "")) : has(included);
}

std::optional<std::string> transparent_problem(net::Listener& inbound) {
  // The nat rules of both modes are the same, and they take a connection of this user to its own pod for a call of the app to
  // itself (init.md §2.1 rule 9): every delivery to the app would come back to us, for ever.
  if (::geteuid() == kRedirectUser)
    return "interceptionMode TPROXY cannot work as user 1337, whose connections to its own pod the rules send back here: "
           "run the proxy as user 0 and group 1337 with NET_ADMIN, as the injector does";
  if (const auto done = inbound.make_transparent(); !done)
    return fmt::format("interceptionMode TPROXY needs a transparent socket on {}: {}; grant NET_ADMIN (or NET_RAW) in the securityContext",
                       inbound.address().text(), std::strerror(done.error().sys));
  return std::nullopt;
}

void aim(upstream::PickContext& pick, const Connection& connection, const base::ClusterSettings& settings) noexcept {
  if (settings.original_dst) pick.original_dst = connection.dst.address;
  // A peer on loopback is no address that anybody could miss, and its answers would not pass the rules.
  if (settings.from_inbound_address && connection.keeps_source && !connection.peer.ip.is_loopback()) pick.source = connection.peer.ip;
}

}  // namespace proxy
