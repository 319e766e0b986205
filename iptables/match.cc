#include "iptables/match.h"

#include <algorithm>
#include <charconv>

namespace iptables {
namespace {

std::optional<uint32_t> number_of(std::string_view text) {
  const bool hex = text.starts_with("0x");
  if (hex) text.remove_prefix(2);
  uint32_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, hex ? 16 : 10);
  return error == std::errc{} && end == text.data() + text.size() ? std::optional(value) : std::nullopt;
}

// "80", "7000:7010", "1000-1005"
bool in_range(std::string_view range, char separator, std::optional<uint32_t> value) {
  const auto at = range.find(separator);
  const auto first = number_of(range.substr(0, at));
  const auto last = at == std::string_view::npos ? first : number_of(range.substr(at + 1));
  return first && last && value >= first && value <= last;
}

template <class Is>
bool any_of(std::string_view list, Is is) {
  while (!list.empty()) {
    const auto item = list.substr(0, list.find(','));
    list.remove_prefix(std::min(list.size(), item.size() + 1));
    if (is(item)) return true;
  }
  return false;
}

// An id may be the name of a group that nobody knows the number of, which only the same name equals.
bool is_id(std::string_view wanted, std::string_view id) { return wanted == id || in_range(wanted, '-', number_of(id)); }

bool is_interface(std::string_view pattern, std::string_view name) {
  return pattern.ends_with('+') ? name.starts_with(pattern.substr(0, pattern.size() - 1)) : pattern == name;
}

bool in_network(std::string_view text, const base::Ip& ip) {
  const auto range = base::Cidr::parse(text);
  return range && range->contains(ip);
}

// "1337", "0x539/0xffffffff"
bool is_mark(std::string_view text, uint32_t mark) {
  const auto slash = text.find('/');
  const auto value = number_of(text.substr(0, slash));
  const auto mask = slash == std::string_view::npos ? 0xffffffffu : number_of(text.substr(slash + 1)).value_or(0);
  return value && (mark & mask) == *value;
}

std::optional<bool> holds(const Clause& c, const Packet& packet) {
  if (c.option == "-p") return c.value == "all" || c.value == (packet.udp ? "udp" : "tcp");
  if (c.option == "-i") return !packet.sends && is_interface(c.value, packet.interface);
  if (c.option == "-o") return packet.sends && is_interface(c.value, packet.interface);
  if (c.option == "-s") return packet.from_anybody ? std::nullopt : std::optional(in_network(c.value, packet.from));
  if (c.option == "-d") return in_network(c.value, packet.to.ip);
  if (c.option == "--dport") return in_range(c.value, ':', packet.to.port);
  if (c.option == "--dports") return any_of(c.value, [&](std::string_view one) { return in_range(one, ':', packet.to.port); });
  if (c.option == "--uid-owner") return is_id(c.value, packet.uid);
  if (c.option == "--gid-owner") return is_id(c.value, packet.gid) || (!packet.group.empty() && c.value == packet.group);
  if (c.option == "--mark") return is_mark(c.value, c.module == "connmark" ? 0 : packet.mark);
  if (c.option == "--ctstate" || c.option == "--state")
    return any_of(c.value, [&](std::string_view one) { return one == "NEW" || (one == "DNAT" && packet.redirected); });
  if (c.option == "--syn") return !packet.udp;
  if (c.option == "--tcp-flags") return c.value == "FIN,SYN,RST,ACK SYN" ? std::optional(!packet.udp) : std::nullopt;
  if (c.option == "--nowildcard") return true;
  if (c.option == "--comment") return true;
  return std::nullopt;
}

}  // namespace

std::optional<bool> matches(const Clause& clause, const Packet& packet) {
  const auto yes = holds(clause, packet);
  return yes ? std::optional(*yes != clause.negated) : std::nullopt;
}

}  // namespace iptables
