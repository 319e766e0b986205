#include "routing/host_table.h"

#include <algorithm>
#include <array>

#include "routing/names.h"

namespace routing {

bool HostTable::add(std::string_view written, uint32_t host) {
  const std::string domain = lower_case(written);
  if (domain == "*") {
    if (any_ != kNone) return false;
    any_ = host;
    return true;
  }
  if (domain.starts_with('*')) return add_wildcard(suffixes_, std::string_view(domain).substr(1), host);
  if (domain.ends_with('*')) return add_wildcard(prefixes_, std::string_view(domain).substr(0, domain.size() - 1), host);
  return exact_.emplace(domain, host).second;
}

bool HostTable::add_wildcard(std::vector<Wildcards>& list, std::string_view fixed, uint32_t host) {
  auto place = std::ranges::lower_bound(list, fixed.size(), std::greater{}, &Wildcards::length);
  if (place == list.end() || place->length != fixed.size()) place = list.insert(place, {fixed.size(), {}});
  return place->names.emplace(fixed, host).second;
}

uint32_t HostTable::find(std::string_view authority) const {
  const std::string_view host = without_port(authority);
  std::array<char, 256> buffer;          // DNS names have at most 253 bytes; longer ones can only meet a wildcard
  if (host.size() > buffer.size()) return find_lower(lower_case(host));
  std::ranges::transform(host, buffer.begin(), [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + ('a' - 'A')) : c; });
  return find_lower({buffer.data(), host.size()});
}

uint32_t HostTable::find_lower(std::string_view host) const noexcept {
  if (const auto found = exact_.find(host); found != exact_.end()) return found->second;
  for (const auto& group : suffixes_) {  // the wildcard stands for at least one character
    if (host.size() <= group.length) continue;
    if (const auto found = group.names.find(host.substr(host.size() - group.length)); found != group.names.end()) return found->second;
  }
  for (const auto& group : prefixes_) {
    if (host.size() <= group.length) continue;
    if (const auto found = group.names.find(host.substr(0, group.length)); found != group.names.end()) return found->second;
  }
  return any_;
}

}  // namespace routing
