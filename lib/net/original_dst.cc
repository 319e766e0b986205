#include <netinet/in.h>
#include <sys/socket.h>

#include <cerrno>

#include "net/socket_address.h"
#include "net/worker.h"

namespace net {
namespace {

// SO_ORIGINAL_DST and IP6T_SO_ORIGINAL_DST have the same number; their kernel headers clash with the C library's.
constexpr int kOriginalDst = 80;

}  // namespace

Result<base::OriginalDst> original_dst(int fd) noexcept {
  KernelAddress name;
  if (::getsockname(fd, name.get(), &name.length) != 0) {
    return std::unexpected(Error{.code = base::Code::kInternal, .sys = static_cast<uint16_t>(errno)});
  }
  const base::SocketAddress local = name.read();
  // An IPv4 connection to a socket of both families is asked for by the IPv4 option. ENOENT: conntrack does not know the
  // connection (TPROXY, or nobody redirects here); then the local name is where it was going.
  const int level = local.ip.v4 ? IPPROTO_IP : IPPROTO_IPV6;
  KernelAddress original;
  if (::getsockopt(fd, level, kOriginalDst, original.get(), &original.length) != 0) return base::OriginalDst{.address = local};
  const base::SocketAddress address = original.read();
  return base::OriginalDst{.address = address, .redirected = address != local};
}

}  // namespace net
