#include "init/conntrack.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <linux/netfilter/nf_conntrack_common.h>
#include <linux/netfilter/nf_conntrack_tcp.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_conntrack.h>
#include <linux/netlink.h>
#include <netinet/in.h>

#include <cerrno>
#include <charconv>
#include <cstring>
#include <optional>
#include <span>

#include "init/environment.h"

namespace init {
namespace {

constexpr uint16_t kind(uint16_t what) { return static_cast<uint16_t>(NFNL_SUBSYS_CTNETLINK << 8 | what); }

nfgenmsg header(bool ipv4) {
  return {.nfgen_family = static_cast<uint8_t>(ipv4 ? AF_INET : AF_INET6), .version = NFNETLINK_V0, .res_id = 0};
}

uint32_t number_in_file(const char* path, uint32_t otherwise) {
  const auto text = read_file(path);
  std::from_chars(text.data(), text.data() + text.size(), otherwise);
  return otherwise;
}

void add_tuple(Message& message, uint16_t type, const base::SocketAddress& from, const base::SocketAddress& to) {
  const bool ipv4 = from.ip.v4;
  message.nest(type, [&] {
    message.nest(CTA_TUPLE_IP, [&] {
      message.add(ipv4 ? CTA_IP_V4_SRC : CTA_IP_V6_SRC, from.ip.bytes.data(), ipv4 ? 4 : 16);
      message.add(ipv4 ? CTA_IP_V4_DST : CTA_IP_V6_DST, to.ip.bytes.data(), ipv4 ? 4 : 16);
    });
    message.nest(CTA_TUPLE_PROTO, [&] {
      constexpr uint8_t kTcp = IPPROTO_TCP;
      const uint16_t source = htons(from.port), destination = htons(to.port);
      message.add(CTA_PROTO_NUM, &kTcp, sizeof kTcp);
      message.add(CTA_PROTO_SRC_PORT, &source, sizeof source);
      message.add(CTA_PROTO_DST_PORT, &destination, sizeof destination);
    });
  });
}

void add_state(Message& message, uint8_t state) {
  message.nest(CTA_PROTOINFO, [&] {
    message.nest(CTA_PROTOINFO_TCP, [&] {
      message.add(CTA_PROTOINFO_TCP_STATE, &state, sizeof state);
      // Nobody has counted the bytes of these connections so far.
      constexpr nf_ct_tcp_flags kLiberal{.flags = IP_CT_TCP_FLAG_BE_LIBERAL, .mask = IP_CT_TCP_FLAG_BE_LIBERAL};
      message.add(CTA_PROTOINFO_TCP_FLAGS_ORIGINAL, &kLiberal, sizeof kLiberal);
      message.add(CTA_PROTOINFO_TCP_FLAGS_REPLY, &kLiberal, sizeof kLiberal);
    });
  });
}

// Nothing for what is not TCP.
std::optional<Conntrack::Tuple> tuple_in(std::span<const char> attributes, bool ipv4) {
  const auto ips = attribute(attributes, CTA_TUPLE_IP), protocol = attribute(attributes, CTA_TUPLE_PROTO);
  if (number_in<uint8_t>(protocol, CTA_PROTO_NUM) != IPPROTO_TCP) return std::nullopt;
  const auto end = [&](uint16_t ip, uint16_t port) {
    base::SocketAddress out;
    const auto bytes = attribute(ips, ip);
    out.ip.v4 = ipv4;
    std::memcpy(out.ip.bytes.data(), bytes.data(), std::min<size_t>(bytes.size(), ipv4 ? 4 : 16));
    out.port = ntohs(number_in<uint16_t>(protocol, port));
    return out;
  };
  return Conntrack::Tuple{end(ipv4 ? CTA_IP_V4_SRC : CTA_IP_V6_SRC, CTA_PROTO_SRC_PORT),
                          end(ipv4 ? CTA_IP_V4_DST : CTA_IP_V6_DST, CTA_PROTO_DST_PORT)};
}

std::string failure(int error) { return fmt::format("the kernel's list of connections is out of reach: {}", std::strerror(error)); }

}  // namespace

Conntrack::Conntrack()
    : wire_(NETLINK_NETFILTER),
      established_(number_in_file("/proc/sys/net/netfilter/nf_conntrack_tcp_timeout_established", 432'000)) {}  // the kernel's own

std::expected<bool, std::string> Conntrack::add(const Tuple& tuple, Stage stage) {
  const bool answered = stage != Stage::kSynSent, established = stage == Stage::kEstablished;
  constexpr uint32_t kClosing = 120;  // seconds; the kernel's longest time for a connection that begins or ends
  const uint32_t status = htonl(IPS_CONFIRMED | (answered ? IPS_SEEN_REPLY | IPS_ASSURED : 0));
  Message made(kind(IPCTNL_MSG_CT_NEW), NLM_F_CREATE | NLM_F_EXCL, header(tuple.from.ip.v4));
  add_tuple(made, CTA_TUPLE_ORIG, tuple.from, tuple.to);
  add_tuple(made, CTA_TUPLE_REPLY, tuple.to, tuple.from);
  made.add(CTA_STATUS, status);
  made.add(CTA_TIMEOUT, htonl(established ? established_ : kClosing));
  add_state(made, static_cast<uint8_t>(stage));
  const int error = wire_.request(made);
  if (!error) return true;
  if (error != EEXIST) return std::unexpected(failure(error));
  // It may be here by one packet in one direction, and count as new until the other side says something.
  Message known(kind(IPCTNL_MSG_CT_NEW), 0, header(tuple.from.ip.v4));
  add_tuple(known, CTA_TUPLE_ORIG, tuple.from, tuple.to);
  known.add(CTA_STATUS, status);
  if (answered) (void)wire_.request(known);  // gone meanwhile, or at its end: both are well
  return false;
}

std::expected<void, std::string> Conntrack::remove(const Tuple& tuple) {
  Message message(kind(IPCTNL_MSG_CT_DELETE), 0, header(tuple.from.ip.v4));
  add_tuple(message, CTA_TUPLE_ORIG, tuple.from, tuple.to);
  const int error = wire_.request(message);
  if (error && error != ENOENT) return std::unexpected(failure(error));
  return {};
}

std::expected<std::vector<Conntrack::Tuple>, std::string> Conntrack::untranslated(bool ipv4) {
  std::vector<Tuple> out;
  Message message(kind(IPCTNL_MSG_CT_GET), NLM_F_DUMP, header(ipv4));
  const int error = wire_.dump(message, [&](std::span<const char> body) {
    if (body.size() < NLMSG_ALIGN(sizeof(nfgenmsg))) return;
    const auto attributes = body.subspan(NLMSG_ALIGN(sizeof(nfgenmsg)));
    if (ntohl(number_in<uint32_t>(attributes, CTA_STATUS)) & IPS_NAT_MASK || !attribute(attributes, CTA_ZONE).empty()) return;
    const auto state = number_in<uint8_t>(attribute(attribute(attributes, CTA_PROTOINFO), CTA_PROTOINFO_TCP), CTA_PROTOINFO_TCP_STATE);
    if (state == TCP_CONNTRACK_SYN_SENT || state == TCP_CONNTRACK_SYN_RECV || state == TCP_CONNTRACK_SYN_SENT2) return;
    if (const auto tuple = tuple_in(attribute(attributes, CTA_TUPLE_ORIG), ipv4)) out.push_back(*tuple);
  });
  if (error) return std::unexpected(failure(error));
  return out;
}

bool Conntrack::any() { return number_in_file("/proc/sys/net/netfilter/nf_conntrack_count", 0) != 0; }

}  // namespace init
