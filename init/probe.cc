#include "init/probe.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <ifaddrs.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <memory>
#include <optional>
#include <utility>

namespace init {
namespace {

using Clock = std::chrono::steady_clock;
constexpr int kOriginalDst = 80;  // SO_ORIGINAL_DST and IP6T_SO_ORIGINAL_DST have the same number

struct Address {
  sockaddr_storage storage{};
  socklen_t size = 0;
  const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&storage); }
};

Address address(const base::SocketAddress& at) {
  Address out;
  if (at.ip.v4) {
    sockaddr_in four{};
    four.sin_family = AF_INET;
    four.sin_port = htons(at.port);
    std::memcpy(&four.sin_addr, at.ip.bytes.data(), 4);
    std::memcpy(&out.storage, &four, out.size = sizeof four);
  } else {
    sockaddr_in6 six{};
    six.sin6_family = AF_INET6;
    six.sin6_port = htons(at.port);
    std::memcpy(&six.sin6_addr, at.ip.bytes.data(), 16);
    std::memcpy(&out.storage, &six, out.size = sizeof six);
  }
  return out;
}

base::SocketAddress read_address(const sockaddr* from) {
  base::SocketAddress out;
  if (from->sa_family == AF_INET) {
    sockaddr_in four;
    std::memcpy(&four, from, sizeof four);
    out.ip.v4 = true;
    std::memcpy(out.ip.bytes.data(), &four.sin_addr, 4);
    out.port = ntohs(four.sin_port);
  } else {
    sockaddr_in6 six;
    std::memcpy(&six, from, sizeof six);
    out.ip.v4 = false;
    std::memcpy(out.ip.bytes.data(), &six.sin6_addr, 16);
    out.port = ntohs(six.sin6_port);
  }
  return out;
}

// A descriptor that is closed.
class Fd {
 public:
  explicit Fd(int fd) : fd_(fd) {}
  Fd(const Fd&) = delete;
  Fd& operator=(const Fd&) = delete;
  ~Fd() {
    if (fd_ >= 0) ::close(fd_);
  }
  int get() const noexcept { return fd_; }

 private:
  int fd_;
};

std::string problem(std::string_view what) { return fmt::format("{}: {}", what, std::strerror(errno)); }

// In the child: dials and tells the parent how it went (errno, 0 for connected). The owner of a socket is who makes it.
// It ends by itself, for who has become somebody else cannot be killed by a parent without CAP_KILL: when the parent closes its
// end of the pipe, or when that should never happen.
[[noreturn]] void run_child(const Dial& dial, int report, std::chrono::milliseconds patience) {
  int result = 0;
  ::alarm(static_cast<unsigned>(patience.count() / 1000) + 2);
  if (dial.become && (::setresgid(dial.gid, dial.gid, dial.gid) != 0 || ::setresuid(dial.uid, dial.uid, dial.uid) != 0)) result = errno;
  const int fd = result ? -1 : ::socket(dial.to.ip.v4 ? AF_INET : AF_INET6, SOCK_STREAM, 0);
  const auto target = address(dial.to);
  if (!result && dial.from) {
    const auto from = address({*dial.from, 0});
    if (::bind(fd, from.get(), from.size) != 0) result = errno;
  }
  if (!result && (fd < 0 || ::connect(fd, target.get(), target.size) != 0)) result = errno;
  const auto byte = static_cast<unsigned char>(result);
  [[maybe_unused]] const auto written = ::write(report, &byte, 1);
  pollfd parent{report, 0, 0};
  ::poll(&parent, 1, -1);  // keeps the connection until the parent has looked at it
  ::_exit(0);
}

// Whether what arrived is what was dialled.
std::expected<void, std::string> accepted(const Ear& ear, const base::SocketAddress& dialled) {
  const Fd socket(::accept4(ear.fd(), nullptr, nullptr, SOCK_CLOEXEC));
  if (socket.get() < 0) return std::unexpected(problem("accept"));
  sockaddr_storage original{};
  socklen_t size = sizeof original;
  if (::getsockopt(socket.get(), dialled.ip.v4 ? SOL_IP : SOL_IPV6, kOriginalDst, &original, &size) != 0)
    return std::unexpected(fmt::format("port {} was reached, but not through a redirection ({})", ear.port(), std::strerror(errno)));
  if (const auto got = read_address(reinterpret_cast<const sockaddr*>(&original)); got != dialled)
    return std::unexpected(fmt::format("the connection to {} arrived as one to {}", dialled.text(), got.text()));
  return {};
}

// Waits for the connection. Others may come too, from whoever dials into the pod or out of it at this moment; they are let go,
// and remembered in case that one of them was ours.
class Watch {
 public:
  Watch(const Dial& dial, const Ear& wanted, const Ear& other, int report, std::chrono::milliseconds patience)
      : dial_(dial), wanted_(wanted), other_(other), report_(report), patience_(patience), end_(Clock::now() + patience) {}

  std::expected<void, std::string> run() {
    pollfd waits[] = {{wanted_.fd(), POLLIN, 0}, {other_.fd(), POLLIN, 0}, {report_, POLLIN, 0}};
    while (true) {
      const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(end_ - Clock::now()).count();
      if (left <= 0) return std::unexpected(too_late());
      if (::poll(waits, 3, static_cast<int>(std::min<decltype(left)>(left, 60'000))) < 0) {
        if (errno == EINTR) continue;
        return std::unexpected(problem("poll"));
      }
      if (waits[0].revents) {
        auto done = accepted(wanted_, dial_.to);
        if (done) return done;
        stray_ = std::move(done.error());
      }
      if (waits[1].revents && accepted(other_, dial_.to))
        return std::unexpected(
            fmt::format("the connection to {} arrived at port {} instead of {}", dial_.to.text(), other_.port(), wanted_.port()));
      if (!waits[2].revents) continue;
      if (auto done = hear(); !done) return done;
      waits[2].fd = -1;
    }
  }

 private:
  // The child has something to say.
  std::expected<void, std::string> hear() {
    unsigned char result = 0;
    if (::read(report_, &result, 1) != 1) return std::unexpected("the probe ended without a result");
    if (result) return std::unexpected(fmt::format("the connection to {} was not captured: {}", dial_.to.text(), std::strerror(result)));
    // Connected: it is in one of the queues, after the last packet of the handshake at the latest, or somebody else has taken it.
    constexpr auto kHandshake = std::chrono::milliseconds(500);
    end_ = std::min(end_, Clock::now() + kHandshake);
    connected_ = true;
    return {};
  }

  std::string too_late() const {
    if (!stray_.empty()) return stray_;
    if (connected_) return fmt::format("the connection to {} was not captured: somebody else accepted it", dial_.to.text());
    return fmt::format("the connection to {} did not arrive within {} ms", dial_.to.text(), patience_.count());
  }

  const Dial& dial_;
  const Ear& wanted_;
  const Ear& other_;
  const int report_;
  const std::chrono::milliseconds patience_;
  Clock::time_point end_;
  bool connected_ = false;
  std::string stray_;
};

}  // namespace

Ear::Ear(Ear&& other) noexcept : fd_(std::exchange(other.fd_, -1)), port_(other.port_) {}
Ear::~Ear() {
  if (fd_ >= 0) ::close(fd_);
}

std::expected<Ear, std::string> Ear::open(bool ipv4, uint16_t port) {
  const base::SocketAddress at{base::Ip::loopback(ipv4), port};
  const int fd = ::socket(ipv4 ? AF_INET : AF_INET6, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  Ear ear(fd, port);
  const int yes = 1;
  const auto bound = address(at);
  if (fd >= 0) ::setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
  if (fd >= 0 && ::bind(fd, bound.get(), bound.size) == 0 && ::listen(fd, 8) == 0) return ear;
  return std::unexpected(
      fmt::format("--run-validation cannot listen on {}: {}; it runs before the proxy", at.text(), std::strerror(errno)));
}

std::expected<void, std::string> probe(const Dial& dial, const Ear& wanted, const Ear& other, std::chrono::milliseconds patience) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return std::unexpected(problem("pipe"));
  const pid_t child = ::fork();
  if (child == 0) {
    ::close(ends[0]);
    run_child(dial, ends[1], patience);
  }
  ::close(ends[1]);
  std::optional<Fd> read_end(std::in_place, ends[0]);
  if (child < 0) return std::unexpected(problem("fork"));
  auto verdict = Watch(dial, wanted, other, read_end->get(), patience).run();
  read_end.reset();
  ::kill(child, SIGKILL);
  while (::waitpid(child, nullptr, 0) < 0 && errno == EINTR) {
  }
  return verdict;
}

std::optional<Way> way_to(const base::Ip& ip) {
  // A datagram socket chooses its way when it is connected and sends nothing.
  const Fd fd(::socket(ip.v4 ? AF_INET : AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  const auto to = address({ip, 9});
  sockaddr_storage storage{};
  socklen_t size = sizeof storage;
  auto* const own = reinterpret_cast<sockaddr*>(&storage);
  if (fd.get() < 0 || ::connect(fd.get(), to.get(), to.size) != 0 || ::getsockname(fd.get(), own, &size) != 0) return std::nullopt;
  Way way{.from = read_address(own).ip, .interface = {}};
  ifaddrs* list = nullptr;
  if (::getifaddrs(&list) != 0) return std::nullopt;
  const std::unique_ptr<ifaddrs, decltype(&::freeifaddrs)> owner(list, ::freeifaddrs);
  for (const ifaddrs* entry = list; entry; entry = entry->ifa_next) {
    const bool same_family = entry->ifa_addr && entry->ifa_addr->sa_family == (ip.v4 ? AF_INET : AF_INET6);
    if (!same_family || read_address(entry->ifa_addr).ip != way.from) continue;
    way.interface = ip == way.from || ip.is_loopback() ? "lo" : entry->ifa_name;
    return way;
  }
  return std::nullopt;
}

}  // namespace init
