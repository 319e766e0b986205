#include "proxy/self.h"

#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <set>

namespace proxy {
namespace {
// The downward API writes one `key="value"` a line, with Go's quoting.
api::Labels downward_file(const std::string& path) {
  api::Labels labels;
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) {
    const auto equals = line.find('=');
    if (equals == std::string::npos) continue;
    std::string value;
    const std::string quoted = line.substr(equals + 1);
    for (size_t i = 1; i + 1 < quoted.size(); ++i) {
      if (quoted[i] == '\\' && i + 2 < quoted.size()) value += quoted[++i] == 'n' ? '\n' : quoted[i];
      else value += quoted[i];
    }
    labels[line.substr(0, equals)] = value;
  }
  return labels;
}

double quota(const char* path_v2, const char* quota_v1, const char* period_v1) {
  std::ifstream v2(path_v2);
  std::string limit;
  double period = 0;
  if (v2 >> limit >> period && limit != "max" && period > 0) return std::stod(limit) / period;
  std::ifstream q(quota_v1), p(period_v1);
  double used = 0;
  if (q >> used && p >> period && used > 0 && period > 0) return used / period;
  return 0;
}
}  // namespace

routing::Proxy self_of(const api::Mesh& mesh, const Options& options) {
  const auto role = options.gateway ? routing::Proxy::Role::kGateway : routing::Proxy::Role::kSidecar;
  routing::Proxy self;
  if (const api::Pod* pod = mesh.pod(options.pod_namespace, options.pod_name)) {
    self = routing::proxy_of(*pod, role, mesh.config);
  } else {
    self.role = role;
    self.name = options.pod_name;
    self.name_space = options.pod_namespace;
    self.service_account = "default";
    self.domain = mesh.config.domain;
  }
  if (!options.labels_file.empty()) self.labels = downward_file(options.labels_file);
  // INSTANCE_IP holds one family only (Istio's downward API field): it adds to the Pod's addresses, never hides one from the
  // loop guard.
  for (const auto& ip : options.addresses)
    if (std::ranges::find(self.addresses, ip) == self.addresses.end()) self.addresses.push_back(ip);
  if (self.addresses.empty()) self.addresses = interface_addresses();
  self.outbound_port = options.outbound_port;
  self.inbound_port = options.inbound_port;
  return self;
}

unsigned default_concurrency() {
  const double cpus = quota("/sys/fs/cgroup/cpu.max", "/sys/fs/cgroup/cpu/cpu.cfs_quota_us", "/sys/fs/cgroup/cpu/cpu.cfs_period_us");
  if (cpus <= 0) return 2;
  const auto whole = static_cast<unsigned>(cpus);
  return std::max(1u, whole + (cpus > whole ? 1u : 0u));
}

namespace {
// Addresses of IPv6 that nobody can be reached at: not known yet to be ours alone, or known not to be (RFC 4862 §5.4).
std::set<base::Ip> unusable_addresses() {
  constexpr unsigned kDadFailed = 0x08, kOptimistic = 0x04, kTentative = 0x40;   // linux/if_addr.h
  std::set<base::Ip> found;
  std::ifstream file("/proc/net/if_inet6");
  std::string address, index, length, scope, flags, name;
  while (file >> address >> index >> length >> scope >> flags >> name) {
    const unsigned bits = static_cast<unsigned>(std::strtoul(flags.c_str(), nullptr, 16));
    if (!(bits & kDadFailed) && (!(bits & kTentative) || (bits & kOptimistic))) continue;
    base::Ip ip;
    ip.v4 = false;
    for (size_t i = 0; i < 16 && address.size() == 32; ++i)
      ip.bytes[i] = static_cast<uint8_t>(std::strtoul(address.substr(2 * i, 2).c_str(), nullptr, 16));
    found.insert(ip);
  }
  return found;
}
}  // namespace

std::vector<base::Ip> interface_addresses() {
  const std::set<base::Ip> unusable = unusable_addresses();
  std::vector<base::Ip> found;
  ifaddrs* list = nullptr;
  if (getifaddrs(&list) != 0) return found;
  for (const ifaddrs* i = list; i; i = i->ifa_next) {
    if (!i->ifa_addr || !(i->ifa_flags & IFF_UP)) continue;
    base::Ip ip;
    if (i->ifa_addr->sa_family == AF_INET) {
      std::memcpy(ip.bytes.data(), &reinterpret_cast<const sockaddr_in*>(i->ifa_addr)->sin_addr, 4);
    } else if (i->ifa_addr->sa_family == AF_INET6) {
      ip.v4 = false;
      std::memcpy(ip.bytes.data(), &reinterpret_cast<const sockaddr_in6*>(i->ifa_addr)->sin6_addr, 16);
    } else {
      continue;
    }
    // ::6 stands on lo for our own inbound connections; it is nobody's pod address.
    if (!ip.is_loopback() && !ip.is_link_local() && std::strcmp(i->ifa_name, "lo") != 0 && !unusable.contains(ip)) found.push_back(ip);
  }
  freeifaddrs(list);
  return found;
}

}  // namespace proxy
