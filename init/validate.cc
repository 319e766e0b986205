#include "init/validate.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <chrono>
#include <cstring>
#include <utility>

#include <fmt/format.h>

namespace init {
namespace {

using Clock = std::chrono::steady_clock;
constexpr int kOriginalDst = 80;  // SO_ORIGINAL_DST and IP6T_SO_ORIGINAL_DST have the same number

struct Address {
  sockaddr_storage storage{};
  socklen_t size = 0;
  const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&storage); }
};

Address address(const base::Ip& ip, uint16_t port) {
  Address out;
  if (ip.v4) {
    sockaddr_in four{};
    four.sin_family = AF_INET;
    four.sin_port = htons(port);
    std::memcpy(&four.sin_addr, ip.bytes.data(), 4);
    std::memcpy(&out.storage, &four, out.size = sizeof four);
  } else {
    sockaddr_in6 six{};
    six.sin6_family = AF_INET6;
    six.sin6_port = htons(port);
    std::memcpy(&six.sin6_addr, ip.bytes.data(), 16);
    std::memcpy(&out.storage, &six, out.size = sizeof six);
  }
  return out;
}

base::SocketAddress read(const sockaddr_storage& from) {
  base::SocketAddress out;
  if (from.ss_family == AF_INET) {
    sockaddr_in four;
    std::memcpy(&four, &from, sizeof four);
    std::memcpy(out.ip.bytes.data(), &four.sin_addr, 4);
    out.port = ntohs(four.sin_port);
  } else {
    sockaddr_in6 six;
    std::memcpy(&six, &from, sizeof six);
    out.ip.v4 = false;
    std::memcpy(out.ip.bytes.data(), &six.sin6_addr, 16);
    out.port = ntohs(six.sin6_port);
  }
  return out;
}

class Socket {
 public:
  explicit Socket(int fd) : fd_(fd) {}
  Socket(Socket&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Socket& operator=(Socket&&) = delete;
  ~Socket() {
    if (fd_ >= 0) ::close(fd_);
  }
  int get() const noexcept { return fd_; }

 private:
  int fd_;
};

std::expected<Socket, std::string> listen_on(bool ipv4, uint16_t port) {
  const auto ip = base::Ip::loopback(ipv4);
  Socket socket(::socket(ipv4 ? AF_INET : AF_INET6, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  const int yes = 1;
  const auto at = address(ip, port);
  if (socket.get() >= 0) ::setsockopt(socket.get(), SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
  if (socket.get() >= 0 && ::bind(socket.get(), at.get(), at.size) == 0 && ::listen(socket.get(), 8) == 0) return socket;
  return std::unexpected(fmt::format("--run-validation cannot listen on {}: {}; it runs before the proxy",
                                     base::SocketAddress{ip, port}.text(), std::strerror(errno)));
}

// In the child: becomes the proxy's user, connects, and tells the parent how it went (errno, 0 for connected).
[[noreturn]] void dial(const base::SocketAddress& to, unsigned uid, int report) {
  int result = 0;
  if (::geteuid() == 0 && (::setresgid(uid, uid, uid) != 0 || ::setresuid(uid, uid, uid) != 0)) result = errno;
  const int fd = result ? -1 : ::socket(to.ip.v4 ? AF_INET : AF_INET6, SOCK_STREAM, 0);
  // From ::6 itself the rules would let it pass: that source means "has been through the proxy".
  const auto from = address(base::Ip::loopback(to.ip.v4), 0), target = address(to.ip, to.port);
  if (!result && (fd < 0 || ::bind(fd, from.get(), from.size) != 0 || ::connect(fd, target.get(), target.size) != 0)) result = errno;
  const auto byte = static_cast<unsigned char>(result);
  [[maybe_unused]] const auto written = ::write(report, &byte, 1);
  ::pause();  // keeps the connection until the parent has looked at it and ends us
  ::_exit(0);
}

std::expected<void, std::string> accepted(int listener, const base::SocketAddress& wanted, uint16_t port) {
  Socket socket(::accept4(listener, nullptr, nullptr, SOCK_CLOEXEC));
  if (socket.get() < 0) return std::unexpected(fmt::format("accept: {}", std::strerror(errno)));
  sockaddr_storage original{};
  socklen_t size = sizeof original;
  if (::getsockopt(socket.get(), wanted.ip.v4 ? SOL_IP : SOL_IPV6, kOriginalDst, &original, &size) != 0)
    return std::unexpected(fmt::format("port {} was reached, but not through a redirection ({})", port, std::strerror(errno)));
  if (const auto got = read(original); got != wanted)
    return std::unexpected(fmt::format("the connection to {} arrived as one to {}", wanted.text(), got.text()));
  return {};
}

// Waits for the connection at the inbound port; anything else is the verdict "not captured".
std::expected<void, std::string> watch(const Socket& inbound, const Socket& outbound, int report, const base::SocketAddress& wanted,
                                       const iptables::Options& options) {
  const auto end = Clock::now() + options.probe_timeout;
  pollfd waits[] = {{inbound.get(), POLLIN, 0}, {outbound.get(), POLLIN, 0}, {report, POLLIN, 0}};
  while (true) {
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(end - Clock::now()).count();
    if (left <= 0)
      return std::unexpected(fmt::format("the connection to {} did not arrive within {} ms", wanted.text(), options.probe_timeout.count()));
    if (::poll(waits, 3, static_cast<int>(std::min<decltype(left)>(left, 60'000))) < 0 && errno != EINTR)
      return std::unexpected(fmt::format("poll: {}", std::strerror(errno)));
    if (waits[0].revents) return accepted(inbound.get(), wanted, options.inbound_port);
    if (waits[1].revents)
      return std::unexpected(fmt::format("the connection to {} arrived at the outbound port {}", wanted.text(), options.proxy_port));
    if (!waits[2].revents) continue;
    unsigned char result = 0;
    if (::read(report, &result, 1) != 1) return std::unexpected("the probe ended without a result");
    if (result) return std::unexpected(fmt::format("the connection to {} was not captured: {}", wanted.text(), std::strerror(result)));
    waits[2].fd = -1;  // connected: it must be in one of the queues
  }
}

std::expected<void, std::string> probe(bool ipv4, const iptables::Options& options, unsigned uid) {
  const base::SocketAddress wanted{*base::Ip::parse(ipv4 ? "127.0.0.6" : "::6"), options.probe_port};
  const auto inbound = listen_on(ipv4, options.inbound_port), outbound = listen_on(ipv4, options.proxy_port);
  if (!inbound || !outbound) return std::unexpected(inbound ? outbound.error() : inbound.error());
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return std::unexpected(fmt::format("pipe: {}", std::strerror(errno)));
  const Socket read_end(ends[0]);
  const pid_t child = ::fork();
  if (child == 0) dial(wanted, uid, ends[1]);
  ::close(ends[1]);
  if (child < 0) return std::unexpected(fmt::format("fork: {}", std::strerror(errno)));
  auto verdict = watch(*inbound, *outbound, read_end.get(), wanted, options);
  ::kill(child, SIGKILL);
  while (::waitpid(child, nullptr, 0) < 0 && errno == EINTR) {
  }
  return verdict;
}

}  // namespace

std::expected<void, std::string> validate(const iptables::Options& options, const iptables::Facts& facts) {
  const auto& id = options.proxy_uids.empty() ? facts.proxy_id : options.proxy_uids.front();
  unsigned uid = 0;
  std::from_chars(id.data(), id.data() + id.size(), uid);  // of a range the first
  for (const bool ipv4 : {true, false}) {
    if (!ipv4 && !facts.ipv6) continue;
    if (auto done = probe(ipv4, options, uid); !done)
      return std::unexpected(
          fmt::format("{}; the rules of this pod are missing or wrong, restart it so that they are made again", done.error()));
  }
  return {};
}

}  // namespace init
