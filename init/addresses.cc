#include "init/addresses.h"

#include <linux/if_addr.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <charconv>
#include <functional>
#include <optional>

#include "init/environment.h"
#include "init/probe.h"
#include "init/wire.h"

namespace init {
namespace {

struct Entry {
  base::Ip ip;
  unsigned flags = 0;
  bool duplicate() const noexcept { return (flags & IFA_F_DADFAILED) != 0; }
  // An optimistic one may be used while the kernel asks (RFC 4429).
  bool usable() const noexcept { return !duplicate() && ((flags & IFA_F_TENTATIVE) == 0 || (flags & IFA_F_OPTIMISTIC) != 0); }
};

std::optional<unsigned> hex(std::string_view text) {
  unsigned value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, 16);
  return error == std::errc{} && end == text.data() + text.size() && !text.empty() ? std::optional(value) : std::nullopt;
}

// "fd000008000000000000000000000002 02 40 00 c0     eth0": address, number of the interface, length, scope, flags, name.
std::optional<Entry> entry_of(std::string_view line) {
  Entry out;
  out.ip.v4 = false;
  if (line.size() < 2 * out.ip.bytes.size()) return std::nullopt;
  for (size_t i = 0; i < out.ip.bytes.size(); ++i) {
    const auto byte = hex(line.substr(2 * i, 2));
    if (!byte) return std::nullopt;
    out.ip.bytes[i] = static_cast<unsigned char>(*byte);
  }
  line.remove_prefix(2 * out.ip.bytes.size());
  std::optional<unsigned> last;
  for (int field = 0; field < 4; ++field) {
    line.remove_prefix(std::min(line.size(), line.find_first_not_of(' ')));
    const auto word = line.substr(0, line.find(' '));
    line.remove_prefix(word.size());
    last = hex(word);
  }
  if (!last) return std::nullopt;
  out.flags = *last;
  return out;
}

// Tells that addresses or routes of IPv6 have come or changed since it was made: the local route that makes an address
// one to dial comes right behind the word that it is no longer tentative.
class Changes {
 public:
  Changes() : wire_(NETLINK_ROUTE) {
    for (const int group : {RTNLGRP_IPV6_IFADDR, RTNLGRP_IPV6_ROUTE})
      told_ = told_ && ::setsockopt(wire_.fd(), SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, &group, sizeof group) == 0;
  }
  // For `patience` at most; where the kernel does not tell, it returns early, so look again.
  void wait(std::chrono::milliseconds patience) {
    constexpr std::chrono::milliseconds kNeverTold(20);
    pollfd news{told_ ? wire_.fd() : -1, POLLIN, 0};
    ::poll(&news, 1, static_cast<int>((told_ ? patience : std::min(patience, kNeverTold)).count()));
    char unread[16384];
    while (told_ && ::recv(wire_.fd(), unread, sizeof unread, MSG_DONTWAIT) > 0) {
    }
  }

 private:
  Wire wire_;
  bool told_ = true;
};

}  // namespace

Addresses sorted(const std::vector<base::Ip>& own, bool ipv4, std::string_view if_inet6) {
  std::vector<Entry> entries;
  for (auto rest = if_inet6; !rest.empty();) {
    const auto line = rest.substr(0, rest.find('\n'));
    rest.remove_prefix(std::min(rest.size(), line.size() + 1));
    if (const auto entry = entry_of(line)) entries.push_back(*entry);
  }
  Addresses out;
  for (const auto& ip : own) {
    if (ip.v4 != ipv4 || ip.is_link_local()) continue;
    // Two interfaces may have it; one where it can be used is enough.
    const auto with = [&](auto is) {
      return std::ranges::any_of(entries, [&](const Entry& one) { return one.ip == ip && std::invoke(is, one); });
    };
    const bool usable = with(&Entry::usable) || !with([](const Entry&) { return true; });
    const bool tentative = with([](const Entry& one) { return !one.usable() && !one.duplicate(); });
    (usable ? out.usable : tentative ? out.tentative : out.duplicate).push_back(ip);
  }
  return out;
}

Addresses await_addresses(bool ipv4, std::chrono::milliseconds patience) {
  std::optional<Changes> changes;
  const auto limit = std::chrono::steady_clock::now() + patience;
  while (true) {
    auto out = sorted(own_addresses(), ipv4, ipv4 ? std::string() : read_file("/proc/net/if_inet6"));
    std::erase_if(out.usable, [&](const base::Ip& ip) {
      const auto way = ipv4 ? std::nullopt : way_to(ip);
      const bool no_route_yet = !ipv4 && (!way || way->from != ip);
      if (no_route_yet) out.tentative.push_back(ip);
      return no_route_yet;
    });
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(limit - std::chrono::steady_clock::now());
    if (!out.usable.empty() || out.tentative.empty() || left.count() <= 0) return out;
    if (changes)
      changes->wait(left);
    else
      changes.emplace();  // from here on nothing is missed, so look once more
  }
}

}  // namespace init
