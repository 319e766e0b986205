#pragma once

#include <array>
#include <compare>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

namespace base {

// An IPv4 or IPv6 address, network byte order. IPv4-mapped IPv6 (::ffff:a.b.c.d) is kept as IPv4 by whoever reads sockets,
// so two addresses are equal exactly when they name the same host.
struct Ip {
  std::array<unsigned char, 16> bytes{};   // IPv4 uses the first four, the rest is zero
  bool v4 = true;

  // Text without brackets, zone or prefix; nullopt when it is no address. "1.2.3" and "01.2.3.4" are refused.
  static std::optional<Ip> parse(std::string_view text);
  static Ip any(bool v4) noexcept;
  static Ip loopback(bool v4) noexcept;
  std::string text() const;                // canonical (RFC 5952), no brackets
  bool is_loopback() const noexcept;       // 127.0.0.0/8 or ::1
  bool is_unspecified() const noexcept;
  bool is_link_local() const noexcept;     // 169.254.0.0/16 or fe80::/10
  friend auto operator<=>(const Ip&, const Ip&) = default;
};

struct SocketAddress {
  Ip ip;
  uint16_t port = 0;
  // "1.2.3.4:80" or "[::1]:80"; nullopt when it is not that.
  static std::optional<SocketAddress> parse(std::string_view text);
  std::string text() const;                // the same form
  friend auto operator<=>(const SocketAddress&, const SocketAddress&) = default;
};

// Where a connection was going before iptables turned it to us. Not redirected: the client dialled us directly.
struct OriginalDst {
  SocketAddress address;
  bool redirected = false;
};

struct Cidr {
  Ip base;            // host bits cleared
  uint8_t length = 0;
  // "10.0.0.0/8", "fd00::/8" or a bare address (full length). Host bits that are set are cleared, as iptables does.
  static std::optional<Cidr> parse(std::string_view text);
  bool contains(const Ip& ip) const noexcept;
  std::string text() const;
  friend auto operator<=>(const Cidr&, const Cidr&) = default;
};

}  // namespace base

template <> struct std::hash<base::Ip> {
  size_t operator()(const base::Ip& ip) const noexcept {
    return std::hash<std::string_view>{}({reinterpret_cast<const char*>(ip.bytes.data()), ip.v4 ? 4u : 16u});
  }
};
template <> struct std::hash<base::SocketAddress> {
  size_t operator()(const base::SocketAddress& a) const noexcept { return std::hash<base::Ip>{}(a.ip) * 31 + a.port; }
};
