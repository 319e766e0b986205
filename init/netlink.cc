#include "init/netlink.h"

#include <fmt/format.h>
#include <linux/fib_rules.h>
#include <linux/if_addr.h>
#include <linux/if_link.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

namespace init {
namespace {

std::string failure(std::string_view what, int error) { return fmt::format("{}: {}", what, std::strerror(error)); }

// `ip rule add` would take the first free number below main's 32766; a fixed one makes a second run find the first one's rule.
constexpr uint32_t kPriority = 32765;

// Written into our `ip rule`s, so that they are found when a run was killed after the tables that named their marks were gone.
// Any number that no routing daemon uses will do; this one is Istio's table.
constexpr uint8_t kProtocol = 133;

// The attributes of a message that are one byte or 32 bits, by type; others are skipped.
std::vector<uint32_t> numbers(const void* first, size_t size) {
  std::vector<uint32_t> out(64, 0);
  const auto* at = static_cast<const char*>(first);
  while (size >= sizeof(rtattr)) {
    const auto head = read_as<rtattr>(at);
    if (head.rta_len < sizeof head || head.rta_len > size) break;
    if (head.rta_len == RTA_LENGTH(4) && head.rta_type < out.size()) out[head.rta_type] = read_as<uint32_t>(at + RTA_LENGTH(0));
    if (head.rta_len == RTA_LENGTH(1) && head.rta_type < out.size()) out[head.rta_type] = read_as<uint8_t>(at + RTA_LENGTH(0));
    const size_t step = RTA_ALIGN(head.rta_len);
    if (step >= size) break;
    at += step;
    size -= step;
  }
  return out;
}

}  // namespace

std::expected<Netlink, std::string> Netlink::open() {
  Wire wire(NETLINK_ROUTE);
  if (wire.error()) return std::unexpected(failure("rtnetlink cannot be opened", wire.error()));
  return Netlink(std::move(wire));
}

int Netlink::ways(bool ipv4, std::set<Way>& out) {
  fib_rule_hdr header{};
  header.family = ipv4 ? AF_INET : AF_INET6;
  Message message(RTM_GETRULE, NLM_F_DUMP, header);
  return wire_.dump(message, [&](std::span<const char> body) {
    if (body.size() < sizeof header) return;
    const auto rule = read_as<fib_rule_hdr>(body.data());
    const auto is = numbers(body.data() + NLMSG_ALIGN(sizeof rule), body.size() - NLMSG_ALIGN(sizeof rule));
    if (rule.action != FR_ACT_TO_TBL) return;
    const auto more = body.subspan(NLMSG_ALIGN(sizeof rule));
    const bool marks_only = is[FRA_FWMASK] == 0xffffffff && !rule.src_len && !rule.dst_len && !(rule.flags & FIB_RULE_INVERT) &&
                            attribute(more, FRA_IIFNAME).empty() && attribute(more, FRA_OIFNAME).empty();
    const bool own = marks_only && is[FRA_PROTOCOL] == kProtocol && is[FRA_PRIORITY] == kPriority;
    out.insert({is[FRA_FWMARK], is[FRA_TABLE] ? is[FRA_TABLE] : rule.table, is[FRA_PRIORITY], own, marks_only});
  });
}

int Netlink::defaults(bool ipv4, AllDefaults& out) {
  rtmsg header{};
  header.rtm_family = ipv4 ? AF_INET : AF_INET6;
  Message message(RTM_GETROUTE, NLM_F_DUMP, header);
  return wire_.dump(message, [&](std::span<const char> body) {
    if (body.size() < sizeof header) return;
    const auto route = read_as<rtmsg>(body.data());
    const auto is = numbers(body.data() + NLMSG_ALIGN(sizeof route), body.size() - NLMSG_ALIGN(sizeof route));
    if (route.rtm_dst_len != 0) return;
    auto& of = out[is[RTA_TABLE] ? is[RTA_TABLE] : route.rtm_table];
    const bool to_lo = route.rtm_type == RTN_LOCAL && is[RTA_OIF] == ::if_nametoindex("lo");
    (to_lo ? of.to_lo : of.elsewhere) = true;
  });
}

namespace {

rtmsg route_header(bool ipv4) {
  rtmsg header{};
  header.rtm_family = ipv4 ? AF_INET : AF_INET6;
  header.rtm_table = RT_TABLE_UNSPEC;  // the number stands in RTA_TABLE, which has room for more than 255
  header.rtm_protocol = RTPROT_BOOT;
  header.rtm_scope = ipv4 ? RT_SCOPE_HOST : RT_SCOPE_UNIVERSE;
  header.rtm_type = RTN_LOCAL;
  return header;
}

fib_rule_hdr rule_header(bool ipv4) {
  fib_rule_hdr header{};
  header.family = ipv4 ? AF_INET : AF_INET6;
  header.action = FR_ACT_TO_TBL;
  return header;
}

void add_rule(Message& message, uint32_t mark, uint32_t table, uint32_t priority) {
  message.add(FRA_FWMARK, mark);
  message.add(FRA_FWMASK, 0xffffffff);
  message.add(FRA_TABLE, table);
  message.add(FRA_PRIORITY, priority);
}

ifaddrmsg marker_header() {
  ifaddrmsg header{};
  header.ifa_family = AF_INET6;
  header.ifa_prefixlen = 128;
  header.ifa_index = ::if_nametoindex("lo");
  return header;
}

constexpr unsigned char kMarker[16] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 6};

}  // namespace

std::expected<bool, std::string> Netlink::add_local_route(bool ipv4, uint32_t mark, uint32_t table) {
  const auto ip = fmt::format("ip{}", ipv4 ? "" : " -6");
  const auto route = [&](uint16_t type, uint16_t flags) {
    Message message(type, flags, route_header(ipv4));
    message.add(RTA_TABLE, table);
    message.add(RTA_OIF, ::if_nametoindex("lo"));
    return wire_.request(message);
  };
  AllDefaults tables;
  std::set<Way> present;
  if (const int error = defaults(ipv4, tables); error) return std::unexpected(failure(fmt::format("{} route", ip), error));
  if (const int error = ways(ipv4, present); error) return std::unexpected(failure(fmt::format("{} rule", ip), error));
  if (tables[table].elsewhere)
    return std::unexpected(
        fmt::format("{} route table {} has a default route of somebody else; choose another one with "
                    "--istio-inbound-tproxy-route-table",
                    ip, table));
  // The rule comes first: until the table leads somewhere it catches nothing, and it is what a later run knows us by.
  const Way own{mark, table, kPriority, true, true};
  const bool led = std::ranges::any_of(present, [&](const Way& way) { return way.marks_only && way.mark == mark && way.table == table; });
  const bool found = present.contains(own) || (led && tables[table].to_lo);
  int error = 0;
  if (!found) {
    Message rule(RTM_NEWRULE, NLM_F_CREATE | NLM_F_EXCL, rule_header(ipv4));
    add_rule(rule, mark, table, kPriority);
    rule.add(FRA_PROTOCOL, &kProtocol, sizeof kProtocol);
    error = wire_.request(rule);
  }
  // Istio's program makes the very same, but for who made it.
  const bool istios = error == EEXIST;
  if (error && !istios) return std::unexpected(failure(fmt::format("{} rule add fwmark {} lookup {}", ip, mark, table), error));

  const int made = tables[table].to_lo ? EEXIST : route(RTM_NEWROUTE, NLM_F_CREATE | NLM_F_EXCL);
  if (!made || made == EEXIST) return (!found && !istios) || !made;
  if (!found && !istios) (void)remove_rule(ipv4, own);
  return std::unexpected(failure(fmt::format("{} route add local default dev lo table {}", ip, table), made));
}

std::string Netlink::local_route_gap(bool ipv4, uint32_t mark, uint32_t table) {
  const auto ip = fmt::format("ip{}", ipv4 ? "" : " -6");
  std::set<Way> present;
  AllDefaults tables;
  if (const int error = ways(ipv4, present); error) return failure(fmt::format("{} rule", ip), error);
  if (const int error = defaults(ipv4, tables); error) return failure(fmt::format("{} route", ip), error);
  std::erase_if(present, [&](const Way& way) { return way.mark != mark || !way.marks_only; });
  if (present.empty()) return fmt::format("TPROXY needs the rule that \"{} rule add fwmark {} lookup {}\" makes", ip, mark, table);
  if (std::ranges::any_of(present, [&](const Way& way) { return tables[way.table].to_lo; })) return {};
  const bool wanted = std::ranges::find(present, table, &Way::table) != present.end();
  return fmt::format("TPROXY needs the route that \"{} route add local default dev lo table {}\" makes", ip,
                     wanted ? table : present.begin()->table);
}

int Netlink::remove_rule(bool ipv4, const Way& way) {
  Message rule(RTM_DELRULE, 0, rule_header(ipv4));
  add_rule(rule, way.mark, way.table, way.priority);
  if (way.own) rule.add(FRA_PROTOCOL, &kProtocol, sizeof kProtocol);
  const int error = wire_.request(rule);
  return error == ENOENT ? 0 : error;
}

std::expected<void, std::string> Netlink::remove_local_routes(bool ipv4, const Stale& stale) {
  const auto ip = fmt::format("ip{}", ipv4 ? "" : " -6");
  std::set<Way> present;
  AllDefaults leads;
  if (const int error = ways(ipv4, present); error == EAFNOSUPPORT || error == EOPNOTSUPP)
    return {};  // no IPv6, or no policy routing
  else if (error)
    return std::unexpected(failure(fmt::format("{} rule", ip), error));
  if (const int error = defaults(ipv4, leads); error) return std::unexpected(failure(fmt::format("{} route", ip), error));
  // `ip rule add` without a number takes the one before the first that is there: mostly kPriority, and any where somebody has
  // rules of his own, so a table that is known says more.
  constexpr uint32_t kLowestOfIstio = kPriority - 1000, kTableOfIstio = 133;
  const auto goes = [&](const Way& way) {
    if (stale.keep == std::pair(way.mark, way.table)) return false;
    if (way.own) return true;
    if (!way.marks_only || !stale.marks.contains(way.mark) || leads[way.table].elsewhere) return false;
    if (way.table == stale.also_table || way.table == kTableOfIstio) return true;
    return leads[way.table].to_lo && way.priority >= kLowestOfIstio && way.priority <= kPriority;
  };
  std::set<uint32_t> tables;
  if (stale.also_table) tables.insert(stale.also_table);
  for (const auto& way : present)
    if (goes(way)) tables.insert(way.table);
  for (const auto& way : present)
    if (!goes(way)) tables.erase(way.table);
  if (stale.keep) tables.erase(stale.keep->second);
  const auto remove_rules = [&](bool own) -> std::expected<void, std::string> {
    for (const auto& way : present)
      if (goes(way))
        if (const int error = way.own == own ? remove_rule(ipv4, way) : 0; error)
          return std::unexpected(failure(fmt::format("{} rule del fwmark {} lookup {}", ip, way.mark, way.table), error));
    return {};
  };
  // A run that is killed here leaves what the next one knows the rest by: Istio's rules by their route, ours by themselves.
  if (auto done = remove_rules(false); !done) return done;
  for (const auto of : tables) {
    if (!leads[of].to_lo) continue;
    Message route(RTM_DELROUTE, 0, route_header(ipv4));
    route.add(RTA_TABLE, of);
    route.add(RTA_OIF, ::if_nametoindex("lo"));
    if (const int error = wire_.request(route); error && error != ESRCH)
      return std::unexpected(failure(fmt::format("{} route del local default dev lo table {}", ip, of), error));
  }
  return remove_rules(true);
}

std::expected<bool, std::string> Netlink::add_marker_address() {
  Message address(RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, marker_header());
  address.add(IFA_LOCAL, kMarker, sizeof kMarker);
  address.add(IFA_ADDRESS, kMarker, sizeof kMarker);
  const int error = wire_.request(address);
  if (error && error != EEXIST) return std::unexpected(failure("ip -6 addr add ::6/128 dev lo", error));
  return error == 0;
}

void Netlink::await_marker_address() const {
  constexpr int kTries = 1000;
  constexpr useconds_t kPause = 1000;
  sockaddr_in6 marker{};
  marker.sin6_family = AF_INET6;
  marker.sin6_port = htons(9);  // nothing is sent
  marker.sin6_addr.s6_addr[15] = 6;
  for (int i = 0; i < kTries; ++i) {
    // Only when the address is routed to ourselves does a socket without one of its own take ::6 as source.
    const int fd = ::socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    sockaddr_in6 source{};
    socklen_t size = sizeof source;
    const bool usable = fd >= 0 && ::connect(fd, reinterpret_cast<const sockaddr*>(&marker), sizeof marker) == 0 &&
                        ::getsockname(fd, reinterpret_cast<sockaddr*>(&source), &size) == 0 &&
                        std::memcmp(&source.sin6_addr, &marker.sin6_addr, sizeof marker.sin6_addr) == 0;
    if (fd >= 0) ::close(fd);
    if (usable || fd < 0) return;
    ::usleep(kPause);
  }
}

std::vector<std::string> Netlink::link_kinds() {
  ifinfomsg header{};
  header.ifi_family = AF_UNSPEC;
  Message message(RTM_GETLINK, NLM_F_DUMP, header);
  std::vector<std::string> out;
  wire_.dump(message, [&](std::span<const char> body) {
    if (body.size() < NLMSG_ALIGN(sizeof header)) return;
    const auto kind = attribute(attribute(body.subspan(NLMSG_ALIGN(sizeof header)), IFLA_LINKINFO), IFLA_INFO_KIND);
    const std::string_view text(kind.data(), kind.size());
    if (!text.empty()) out.emplace_back(text.substr(0, text.find('\0')));
  });
  return out;
}

std::expected<void, std::string> Netlink::remove_marker_address() {
  Message address(RTM_DELADDR, 0, marker_header());
  address.add(IFA_LOCAL, kMarker, sizeof kMarker);
  const int error = wire_.request(address);
  if (error && error != EADDRNOTAVAIL && error != EAFNOSUPPORT && error != EOPNOTSUPP)
    return std::unexpected(failure("ip -6 addr del ::6/128 dev lo", error));
  return {};
}

}  // namespace init
