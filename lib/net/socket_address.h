#pragma once

#include <sys/socket.h>

#include "base/ip.h"

namespace net {

// The kernel's form of an address.
struct KernelAddress {
  sockaddr_storage storage{};
  socklen_t length = sizeof(sockaddr_storage);
  KernelAddress() = default;
  explicit KernelAddress(const base::SocketAddress& address) noexcept;
  sockaddr* get() noexcept { return reinterpret_cast<sockaddr*>(&storage); }
  const sockaddr* get() const noexcept { return reinterpret_cast<const sockaddr*>(&storage); }
  base::SocketAddress read() const noexcept;           // IPv4-mapped becomes IPv4; other families are 0.0.0.0:0
};

base::SocketAddress local_address(int fd) noexcept;
base::SocketAddress peer_address(int fd) noexcept;

}  // namespace net
