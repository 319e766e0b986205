#include "init/nft_dump.h"

#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netlink.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <string_view>

namespace init {
namespace {

template <class T>
T read_as(const char* from) {
  T value;
  std::memcpy(&value, from, sizeof value);
  return value;
}

std::string_view family_name(uint8_t family) {
  switch (family) {
    case NFPROTO_INET:
      return "inet";
    case NFPROTO_IPV4:
      return "ip";
    case NFPROTO_IPV6:
      return "ip6";
    case NFPROTO_ARP:
      return "arp";
    case NFPROTO_BRIDGE:
      return "bridge";
    case NFPROTO_NETDEV:
      return "netdev";
  }
  return "";
}

// One attribute of a message; empty when it is not there.
std::string_view value_of(std::string_view attributes, uint16_t wanted) {
  while (attributes.size() >= sizeof(nlattr)) {
    const auto head = read_as<nlattr>(attributes.data());
    if (head.nla_len < sizeof head || head.nla_len > attributes.size()) return {};
    if ((head.nla_type & NLA_TYPE_MASK) == wanted) return attributes.substr(NLA_HDRLEN, head.nla_len - NLA_HDRLEN);
    attributes.remove_prefix(std::min<size_t>(NLA_ALIGN(head.nla_len), attributes.size()));
  }
  return {};
}

std::string text_of(std::string_view attributes, uint16_t wanted) {
  const auto value = value_of(attributes, wanted);
  return std::string(value.substr(0, value.find('\0')));
}

// nft keeps a comment among what the kernel stores for it unread: type, length, text.
std::string comment_of(std::string_view attributes) {
  constexpr unsigned char kComment = 0;
  for (auto data = value_of(attributes, NFTA_RULE_USERDATA); data.size() > 2;) {
    const auto type = static_cast<unsigned char>(data[0]), size = static_cast<unsigned char>(data[1]);
    const auto value = data.substr(2, size);
    if (type == kComment) return std::string(value.substr(0, value.find('\0')));
    data.remove_prefix(std::min<size_t>(data.size(), size_t{2} + size));
  }
  return {};
}

// One dump: `each` gets the family and the attributes of every object. False: no trustworthy answer.
template <class Each>
bool dump(int fd, uint16_t what, uint8_t family, Each each) {
  struct {
    nlmsghdr head;
    nfgenmsg general;
  } request{};
  request.head = {.nlmsg_len = sizeof request,
                  .nlmsg_type = static_cast<uint16_t>((NFNL_SUBSYS_NFTABLES << 8) | what),
                  .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP,
                  .nlmsg_seq = 1,
                  .nlmsg_pid = 0};
  request.general = {.nfgen_family = family, .version = NFNETLINK_V0, .res_id = 0};
  if (::send(fd, &request, sizeof request, 0) != sizeof request) return false;
  char buffer[65536];
  while (true) {
    const auto got = ::recv(fd, buffer, sizeof buffer, MSG_TRUNC);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0 || static_cast<size_t>(got) > sizeof buffer) return false;
    for (std::string_view rest(buffer, static_cast<size_t>(got)); rest.size() >= sizeof(nlmsghdr);) {
      const auto head = read_as<nlmsghdr>(rest.data());
      if (head.nlmsg_len < sizeof head || head.nlmsg_len > rest.size() || (head.nlmsg_flags & NLM_F_DUMP_INTR) != 0) return false;
      if (head.nlmsg_type == NLMSG_DONE) return true;
      if (head.nlmsg_type == NLMSG_ERROR) return false;
      const auto body = rest.substr(NLMSG_HDRLEN, head.nlmsg_len - NLMSG_HDRLEN);
      if (body.size() < sizeof(nfgenmsg)) return false;
      each(read_as<nfgenmsg>(body.data()).nfgen_family, body.substr(NLMSG_ALIGN(sizeof(nfgenmsg))));
      rest.remove_prefix(std::min<size_t>(NLMSG_ALIGN(head.nlmsg_len), rest.size()));
    }
  }
}

template <class Each>
bool ask(uint16_t what, uint8_t family, Each each) {
  const int fd = ::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_NETFILTER);
  if (fd < 0) return false;
  // The kernel answers at once; a bound keeps a sandbox with half a netlink from hanging the pod's start.
  const timeval limit{10, 0};
  ::setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  const bool good = dump(fd, what, family, each);
  ::close(fd);
  return good;
}

}  // namespace

std::optional<std::vector<NftTable>> nft_tables() {
  std::vector<NftTable> out;
  const auto note = [&](uint8_t family, std::string_view attributes) {
    out.push_back({std::string(family_name(family)), text_of(attributes, NFTA_TABLE_NAME)});
  };
  return ask(NFT_MSG_GETTABLE, NFPROTO_UNSPEC, note) ? std::optional(std::move(out)) : std::nullopt;
}

std::optional<NftRules> nft_rules(bool ipv4) {
  NftRules out;
  const auto note = [&](uint8_t, std::string_view attributes) {
    auto table = text_of(attributes, NFTA_RULE_TABLE);
    ++out.counts[{table, text_of(attributes, NFTA_RULE_CHAIN)}];
    if (auto comment = comment_of(attributes); !comment.empty()) ++out.comments[{std::move(table), std::move(comment)}];
  };
  return ask(NFT_MSG_GETRULE, ipv4 ? NFPROTO_IPV4 : NFPROTO_IPV6, note) ? std::optional(std::move(out)) : std::nullopt;
}

std::optional<RuleCounts> nft_rule_counts(bool ipv4) {
  auto rules = nft_rules(ipv4);
  return rules ? std::optional(std::move(rules->counts)) : std::nullopt;
}

}  // namespace init
