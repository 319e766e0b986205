#include "init/sockets.h"

#include <fmt/format.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <span>
#include <utility>

#include "init/environment.h"
#include "init/wire.h"

namespace init {
namespace {

base::SocketAddress address(uint8_t family, const void* ip, uint16_t port) {
  constexpr unsigned char kMapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};  // RFC 4291 §2.5.5.2
  base::SocketAddress out;
  out.port = ntohs(port);
  std::memcpy(out.ip.bytes.data(), ip, family == AF_INET ? 4 : 16);
  out.ip.v4 = family == AF_INET;
  if (out.ip.v4 || std::memcmp(out.ip.bytes.data(), kMapped, sizeof kMapped) != 0) return out;
  const auto mapped = std::exchange(out.ip, base::Ip{});
  std::copy_n(mapped.bytes.begin() + sizeof kMapped, 4, out.ip.bytes.begin());
  return out;
}

bool is_transparent(std::span<const char> attributes) {
  const auto options = attribute(attributes, INET_DIAG_SOCKOPT);
  if (options.size() < sizeof(inet_diag_sockopt)) return false;
  return read_as<inet_diag_sockopt>(options.data()).transparent;
}

void note(std::span<const char> body, TcpSockets& out) {
  inet_diag_msg socket;
  if (body.size() < sizeof socket) return;
  std::memcpy(&socket, body.data(), sizeof socket);
  const auto own = address(socket.idiag_family, socket.id.idiag_src, socket.id.idiag_sport);
  if (socket.idiag_state == TCP_LISTEN) out.listening.insert(own.port);
  if (socket.idiag_state == TCP_LISTEN || socket.idiag_state == TCP_TIME_WAIT) return;
  constexpr uint8_t kHalfOpen = 12;  // TCP_NEW_SYN_RECV, which <netinet/tcp.h> does not have
  const auto state = socket.idiag_state == kHalfOpen ? uint8_t{TCP_SYN_RECV} : socket.idiag_state;
  out.connections.insert({own, address(socket.idiag_family, socket.id.idiag_dst, socket.id.idiag_dport), state,
                          is_transparent(body.subspan(NLMSG_ALIGN(sizeof socket)))});
}

}  // namespace

std::expected<TcpSockets, std::string> tcp_sockets() {
  Wire wire(NETLINK_SOCK_DIAG);
  TcpSockets out;
  for (const uint8_t family : {AF_INET, AF_INET6}) {
    inet_diag_req_v2 question{};
    question.sdiag_family = family;
    question.sdiag_protocol = IPPROTO_TCP;
    question.idiag_states = ~(1u << TCP_TIME_WAIT | 1u << TCP_CLOSE);
    Message message(SOCK_DIAG_BY_FAMILY, NLM_F_DUMP, question);
    const int error = wire.dump(message, [&](std::span<const char> body) { note(body, out); });
    // A kernel without IPv6 has none of its sockets.
    if (error && !(family == AF_INET6 && error == ENOENT))
      return std::unexpected(fmt::format("the kernel does not say which connections are open: {}", std::strerror(error)));
  }
  return out;
}

SocketEnds::SocketEnds() : wire_(NETLINK_SOCK_DIAG) {
  for (const int group : {SKNLGRP_INET_TCP_DESTROY, SKNLGRP_INET6_TCP_DESTROY})
    told_ = told_ && ::setsockopt(wire_.fd(), SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, &group, sizeof group) == 0;
}

void SocketEnds::wait(std::chrono::milliseconds patience) {
  // A connection that is only waiting for the other side's last word is no socket any more, and its end is not told.
  constexpr std::chrono::milliseconds kUntold(100), kNeverTold(5);
  pollfd end{told_ ? wire_.fd() : -1, POLLIN, 0};
  ::poll(&end, 1, static_cast<int>(std::min(patience, told_ ? kUntold : kNeverTold).count()));
  char unread[16384];
  // Too many to be kept (ENOBUFS) is news as well, and the next call finds what is left.
  while (told_ && ::recv(wire_.fd(), unread, sizeof unread, MSG_DONTWAIT) > 0) {
  }
}

// "TCP: inuse 5 orphan 0 tw 2 alloc 9 mem 1", "TCP6: inuse 2"
bool counts_tcp(std::string_view sockstat, std::string_view sockstat6) {
  const auto counts = [](std::string_view text, std::string_view line, std::string_view word) {
    text.remove_prefix(std::min(text.size(), text.find(line)));
    text = text.substr(0, text.find('\n'));
    const auto at = text.find(word);
    return at != std::string_view::npos && !text.substr(at + word.size()).starts_with('0');
  };
  return counts(sockstat, "TCP: ", " inuse ") || counts(sockstat, "TCP: ", " tw ") || counts(sockstat6, "TCP6: ", " inuse ");
}

bool somebody_uses_tcp() { return counts_tcp(read_file("/proc/net/sockstat"), read_file("/proc/net/sockstat6")); }

}  // namespace init
