#include "init/environment.h"

#include <ifaddrs.h>
#include <netinet/in.h>

#include <algorithm>
#include <charconv>
#include <cstring>
#include <fstream>
#include <iterator>
#include <memory>
#include <string>

namespace init {
namespace {

std::string_view next_line(std::string_view& text) {
  const auto end = text.find('\n');
  const auto line = text.substr(0, end);
  text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
  return line;
}

std::string_view next_word(std::string_view& text) {
  const auto from = text.find_first_not_of(" \t\r");
  if (from == std::string_view::npos) return text = {};
  text.remove_prefix(from);
  const auto word = text.substr(0, text.find_first_of(" \t\r"));
  text.remove_prefix(word.size());
  return word;
}

}  // namespace

std::string read_file(const char* path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

std::vector<base::Ip> own_addresses() {
  std::vector<base::Ip> out;
  ifaddrs* list = nullptr;
  if (::getifaddrs(&list) != 0) return out;
  const std::unique_ptr<ifaddrs, decltype(&::freeifaddrs)> owner(list, ::freeifaddrs);
  const auto marker = base::Ip::parse("::6");
  for (const ifaddrs* entry = list; entry; entry = entry->ifa_next) {
    if (!entry->ifa_addr) continue;
    base::Ip ip;
    ip.v4 = entry->ifa_addr->sa_family == AF_INET;
    if (ip.v4) {
      sockaddr_in address;
      std::memcpy(&address, entry->ifa_addr, sizeof address);
      std::memcpy(ip.bytes.data(), &address.sin_addr, 4);
    } else if (entry->ifa_addr->sa_family == AF_INET6) {
      sockaddr_in6 address;
      std::memcpy(&address, entry->ifa_addr, sizeof address);
      std::memcpy(ip.bytes.data(), &address.sin6_addr, 16);
    } else {
      continue;
    }
    if (!ip.is_loopback() && ip != marker) out.push_back(ip);
  }
  return out;
}

bool has_global_ipv6() {
  return std::ranges::any_of(own_addresses(), [](const base::Ip& ip) { return !ip.v4 && !ip.is_link_local(); });
}

std::vector<base::Ip> nameservers(std::string_view resolv_conf) {
  std::vector<base::Ip> out;
  while (!resolv_conf.empty()) {
    auto line = next_line(resolv_conf);
    if (next_word(line) != "nameserver") continue;
    const auto address = next_word(line);
    if (const auto ip = base::Ip::parse(address.substr(0, address.find('%')))) out.push_back(*ip);
  }
  return out;
}

std::string uid_of(std::string_view passwd, std::string_view user) {
  while (!passwd.empty()) {
    auto line = next_line(passwd);
    if (user.empty() || !line.starts_with(user) || line.substr(user.size(), 1) != ":") continue;
    line.remove_prefix(user.size() + 1);
    line.remove_prefix(std::min(line.size(), line.find(':')));  // the password field
    if (line.empty()) continue;
    const auto uid = line.substr(1, line.find(':', 1) - 1);
    if (!uid.empty() && uid.find_first_not_of("0123456789") == std::string_view::npos) return std::string(uid);
  }
  return {};
}

std::vector<iptables::Group> groups_of(std::string_view group_file) {
  std::vector<iptables::Group> out;
  while (!group_file.empty()) {
    auto line = next_line(group_file);
    std::string_view fields[3];  // name, password, number
    for (auto& field : fields) {
      field = line.substr(0, line.find(':'));
      line.remove_prefix(std::min(line.size(), field.size() + 1));
    }
    uint32_t gid = 0;
    const auto [end, error] = std::from_chars(fields[2].data(), fields[2].data() + fields[2].size(), gid);
    const bool number = !fields[2].empty() && error == std::errc{} && end == fields[2].data() + fields[2].size();
    if (number && !fields[0].empty()) out.push_back({std::string(fields[0]), gid});
  }
  return out;
}

bool has_capability(std::string_view proc_status, unsigned bit) {
  constexpr std::string_view kKey = "CapEff:\t";
  const auto at = proc_status.find(kKey);
  if (at == std::string_view::npos) return false;
  uint64_t set = 0;
  std::from_chars(proc_status.data() + at + kKey.size(), proc_status.data() + proc_status.size(), set, 16);
  return set >> bit & 1;
}

iptables::Facts observe(const iptables::Options& options) {
  iptables::Facts facts;
  facts.ipv6 = options.ipv6 == iptables::Ipv6::kOn || (options.ipv6 == iptables::Ipv6::kAuto && has_global_ipv6());
  if (options.dns_servers)
    facts.dns_servers = *options.dns_servers;
  else if (options.redirect_dns && !options.capture_all_dns)
    facts.dns_servers = nameservers(read_file("/etc/resolv.conf"));
  if (options.proxy_uids.empty()) {
    const auto uid = uid_of(read_file("/etc/passwd"), options.envoy_user);
    if (!uid.empty()) facts.proxy_id = uid;
  }
  return facts;
}

}  // namespace init
