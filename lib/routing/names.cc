#include "routing/names.h"

#include <algorithm>

#include "base/ip.h"

namespace routing {
namespace {
char lower(char c) noexcept { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + ('a' - 'A')) : c; }
std::string join(std::initializer_list<std::string_view> parts) {
  std::string out;
  for (const auto part : parts) out += part;
  return out;
}
}  // namespace

std::string lower_case(std::string_view text) {
  std::string out(text);
  std::ranges::transform(out, out.begin(), lower);
  return out;
}

std::string service_host(std::string_view name, std::string_view name_space, std::string_view domain) {
  return join({name, ".", name_space, ".svc.", domain});
}

std::string complete_host(std::string_view host, std::string_view name_space, std::string_view domain) {
  const bool literal = host.empty() || is_wildcard(host) || host.find('.') != host.npos || base::Ip::parse(host).has_value();
  return literal ? std::string(host) : service_host(host, name_space, domain);
}

std::string outbound_cluster(uint16_t port, std::string_view subset, std::string_view host) {
  return join({"outbound|", std::to_string(port), "|", subset, "|", host});
}
std::string inbound_cluster(uint16_t port) { return join({"inbound|", std::to_string(port), "||"}); }

std::string gateway_name(std::string_view written, std::string_view name_space) {
  if (written == kMesh) return std::string(written);
  if (written.starts_with("./")) return join({name_space, written.substr(1)});
  if (written.find('/') != written.npos) return std::string(written);
  // Before namespace/name existed a gateway was named like a service; Istio still reads it.
  const size_t dot = written.find('.');
  if (dot == written.npos) return join({name_space, "/", written});
  const auto rest = written.substr(dot + 1);
  return join({rest.substr(0, rest.find('.')), "/", written.substr(0, dot)});
}

bool is_wildcard(std::string_view host) noexcept { return host.starts_with('*'); }

bool covers(std::string_view pattern, std::string_view host) noexcept {
  if (!is_wildcard(pattern)) return pattern == host;
  return (is_wildcard(host) ? host.substr(1) : host).ends_with(pattern.substr(1));
}

std::string_view common_host(std::string_view a, std::string_view b) noexcept {
  if (covers(a, b)) return b;
  if (covers(b, a)) return a;
  return {};
}

std::vector<std::string> service_domains(std::string_view name, std::string_view name_space, std::string_view domain,
                                         std::string_view client_namespace, bool headless) {
  const std::string whole = service_host(name, name_space, domain);
  std::vector<std::string> out{whole, whole + '.'};
  if (client_namespace == name_space) out.emplace_back(name);
  out.push_back(join({name, ".", name_space, ".svc"}));
  out.push_back(join({name, ".", name_space}));
  if (!headless) return out;
  // Pods of a headless service have names of their own below it: web-0.web.default.svc.cluster.local.
  for (size_t i = 0, n = out.size(); i < n; ++i) out.push_back("*." + out[i]);
  return out;
}

std::string_view without_port(std::string_view authority) noexcept {
  const size_t colon = authority.rfind(':');
  if (colon == authority.npos) return authority;
  const size_t bracket = authority.rfind(']');
  if (bracket != authority.npos && bracket > colon) return authority;   // the colon belongs to an IPv6 address
  return authority.substr(0, colon);
}

}  // namespace routing
