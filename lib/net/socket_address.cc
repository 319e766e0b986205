#include "net/socket_address.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#include <algorithm>
#include <cstring>

namespace net {

KernelAddress::KernelAddress(const base::SocketAddress& address) noexcept {
  if (address.ip.v4) {
    sockaddr_in in{};
    in.sin_family = AF_INET;
    in.sin_port = htons(address.port);
    std::memcpy(&in.sin_addr, address.ip.bytes.data(), 4);
    std::memcpy(&storage, &in, length = sizeof in);
  } else {
    sockaddr_in6 in{};
    in.sin6_family = AF_INET6;
    in.sin6_port = htons(address.port);
    std::memcpy(&in.sin6_addr, address.ip.bytes.data(), 16);
    std::memcpy(&storage, &in, length = sizeof in);
  }
}

base::SocketAddress KernelAddress::read() const noexcept {
  base::SocketAddress address;
  if (storage.ss_family == AF_INET) {
    sockaddr_in in;
    std::memcpy(&in, &storage, sizeof in);
    address.port = ntohs(in.sin_port);
    std::memcpy(address.ip.bytes.data(), &in.sin_addr, 4);
  } else if (storage.ss_family == AF_INET6) {
    sockaddr_in6 in;
    std::memcpy(&in, &storage, sizeof in);
    address.port = ntohs(in.sin6_port);
    address.ip.v4 = IN6_IS_ADDR_V4MAPPED(&in.sin6_addr);
    const auto* bytes = in.sin6_addr.s6_addr;
    if (address.ip.v4) {
      std::copy_n(bytes + 12, 4, address.ip.bytes.begin());
    } else {
      std::copy_n(bytes, 16, address.ip.bytes.begin());
    }
  }
  return address;
}

base::SocketAddress local_address(int fd) noexcept {
  KernelAddress name;
  if (::getsockname(fd, name.get(), &name.length) != 0) return {};
  return name.read();
}

base::SocketAddress peer_address(int fd) noexcept {
  KernelAddress name;
  if (::getpeername(fd, name.get(), &name.length) != 0) return {};
  return name.read();
}

}  // namespace net
