#include "base/ip.h"

#include <arpa/inet.h>

#include <charconv>
#include <cstring>

namespace base {
namespace {
std::optional<unsigned> number(std::string_view text, unsigned max) {
  unsigned value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size() || value > max) return std::nullopt;
  return value;
}
}  // namespace

std::optional<Ip> Ip::parse(std::string_view text) {
  char copy[INET6_ADDRSTRLEN + 1];
  if (text.empty() || text.size() >= sizeof copy) return std::nullopt;
  std::memcpy(copy, text.data(), text.size());
  copy[text.size()] = 0;
  Ip ip;
  ip.v4 = text.find(':') == std::string_view::npos;
  if (inet_pton(ip.v4 ? AF_INET : AF_INET6, copy, ip.bytes.data()) != 1) return std::nullopt;
  return ip;
}

Ip Ip::any(bool v4) noexcept {
  Ip ip;
  ip.v4 = v4;
  return ip;
}

Ip Ip::loopback(bool v4) noexcept {
  Ip ip;
  ip.v4 = v4;
  if (v4) {
    ip.bytes[0] = 127;
    ip.bytes[3] = 1;
  } else {
    ip.bytes[15] = 1;
  }
  return ip;
}

std::string Ip::text() const {
  char out[INET6_ADDRSTRLEN];
  return inet_ntop(v4 ? AF_INET : AF_INET6, bytes.data(), out, sizeof out) ? out : "?";
}

bool Ip::is_loopback() const noexcept { return v4 ? bytes[0] == 127 : *this == loopback(false); }
bool Ip::is_unspecified() const noexcept { return *this == any(v4); }
bool Ip::is_link_local() const noexcept {
  return v4 ? bytes[0] == 169 && bytes[1] == 254 : bytes[0] == 0xfe && (bytes[1] & 0xc0) == 0x80;
}

std::optional<SocketAddress> SocketAddress::parse(std::string_view text) {
  const auto colon = text.rfind(':');
  if (colon == std::string_view::npos) return std::nullopt;
  auto host = text.substr(0, colon);
  const bool bracketed = host.size() > 2 && host.front() == '[' && host.back() == ']';
  if (bracketed) host = host.substr(1, host.size() - 2);
  const auto ip = Ip::parse(host);
  const auto port = number(text.substr(colon + 1), 65535);
  if (!ip || !port || ip->v4 == bracketed) return std::nullopt;
  return SocketAddress{*ip, static_cast<uint16_t>(*port)};
}

std::string SocketAddress::text() const {
  return ip.v4 ? ip.text() + ':' + std::to_string(port) : '[' + ip.text() + "]:" + std::to_string(port);
}

std::optional<Cidr> Cidr::parse(std::string_view text) {
  const auto slash = text.find('/');
  const auto ip = Ip::parse(text.substr(0, slash));
  if (!ip) return std::nullopt;
  const unsigned full = ip->v4 ? 32 : 128;
  auto length = std::optional<unsigned>(full);
  if (slash != std::string_view::npos) length = number(text.substr(slash + 1), full);
  if (!length) return std::nullopt;
  Cidr cidr{*ip, static_cast<uint8_t>(*length)};
  for (unsigned bit = *length; bit < full; ++bit) cidr.base.bytes[bit / 8] &= static_cast<unsigned char>(~(0x80u >> (bit % 8)));
  return cidr;
}

bool Cidr::contains(const Ip& ip) const noexcept {
  if (ip.v4 != base.v4) return false;
  const unsigned whole = length / 8, rest = length % 8;
  if (std::memcmp(ip.bytes.data(), base.bytes.data(), whole) != 0) return false;
  return rest == 0 || ((ip.bytes[whole] ^ base.bytes[whole]) & (0xff00u >> rest) & 0xff) == 0;
}

std::string Cidr::text() const { return base.text() + '/' + std::to_string(length); }

}  // namespace base
