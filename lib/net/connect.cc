#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <memory>
#include <optional>
#include <utility>

#include "net/reactor.h"
#include "net/socket_address.h"
#include "net/socket_stream.h"
#include "net/worker.h"

// Older C libraries lack the name; the kernel has it since 4.2.
#ifndef IP_BIND_ADDRESS_NO_PORT
#define IP_BIND_ADDRESS_NO_PORT 24
#endif

namespace net {
namespace {

Error connect_error(int sys) {
  return {.code = base::Code::kConnect, .origin = base::Origin::kUpstream, .retry = base::Retry::kAlways,
          .detail = base::Detail::kUpstreamConnectFailure, .sys = static_cast<uint16_t>(sys)};
}

Error timeout_error() {
  return {.code = base::Code::kTimeout, .origin = base::Origin::kUpstream, .retry = base::Retry::kAlways,
          .detail = base::Detail::kUpstreamConnectTimeout, .sys = ETIMEDOUT};
}

// The address whose connections the outbound rules leave alone: 127.0.0.6 or ::6 (init.md §2.1 rule 8).
base::Ip inbound_address(bool v4) {
  base::Ip ip = base::Ip::any(v4);
  ip.bytes[v4 ? 3 : 15] = 6;
  if (v4) ip.bytes[0] = 127;
  return ip;
}

bool bind_address(int fd, const base::Ip& ip) {
  // The port is chosen at connect(), by the whole four-tuple: binding would take one of ~28,000 for all destinations together.
  const int one = 1;
  ::setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof one);
  const KernelAddress from({.ip = ip});
  return ::bind(fd, from.get(), from.length) == 0;
}

// Istio: the mark of its original_src filter; the TPROXY rules keep it on the connection and bring the answers back to lo.
constexpr int kKeptSourceMark = 1337;

bool bind_kept_source(int fd, const base::Ip& ip) {
  const int one = 1;
  const bool free = ::setsockopt(fd, ip.v4 ? IPPROTO_IP : IPPROTO_IPV6, ip.v4 ? IP_TRANSPARENT : IPV6_TRANSPARENT, &one, sizeof one) == 0;
  return free && ::setsockopt(fd, SOL_SOCKET, SO_MARK, &kKeptSourceMark, sizeof kKeptSourceMark) == 0 && bind_address(fd, ip);
}

}  // namespace

struct Connector::State final : private DescriptorOwner, private Timer, private Op {
  State(Worker& w, const ConnectTo& target, Connector& owner)
      : Timer(w), Op([](Op& op) noexcept { static_cast<State&>(op).tell(); }), connector(owner), to(target) {}

  bool start();
  void end(Error why) {
    disarm();
    descriptor.reset();
    result = std::unexpected(why);
  }
  void cancelled(Error why) {
    if (result || !descriptor) return;
    end(why);
    worker().ready(*this);
  }
  Result<std::unique_ptr<Stream>> result_or_defect() {
    if (result) return std::move(*result);
    return std::unexpected(connect_error(EINVAL));       // take() before the end
  }

  Connector& connector;
  const ConnectTo to;
  std::optional<Descriptor> descriptor;                  // while it connects
  std::optional<Result<std::unique_ptr<Stream>>> result;

 private:
  bool advance();                                        // true: result is there
  void on_wait_over(Wait) noexcept override {
    if (!result && advance()) tell();
  }
  void fire() noexcept override {
    end(timeout_error());
    tell();
  }
  void tell() noexcept { connector.waiter.wake(); }      // last: the connector may be gone afterwards
};

bool Connector::State::start() {
  const int fd = ::socket(to.to.ip.v4 ? AF_INET : AF_INET6, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) {
    end(connect_error(errno));
    return true;
  }
  descriptor.emplace(worker(), fd, static_cast<DescriptorOwner&>(*this));
  if (!descriptor->usable()) {
    end(connect_error(ENOMEM));
    return true;
  }
  set_tcp_options(fd);
  if (to.source ? !bind_kept_source(fd, *to.source) : to.from_inbound_address && !bind_address(fd, inbound_address(to.to.ip.v4))) {
    end(connect_error(errno));
    return true;
  }
  if (advance()) return true;
  arm(to.within);
  return false;
}

// Starts to connect, or asks how far it is: on Linux the same call.
bool Connector::State::advance() {
  const KernelAddress address(to.to);
  const int fd = descriptor->fd();
  if (::connect(fd, address.get(), address.length) != 0 && errno != EISCONN) {
    if (errno == EINPROGRESS || errno == EALREADY || errno == EINTR) {
      descriptor->wait(Wait::kWrite);
      return false;
    }
    end(connect_error(errno));
    return true;
  }
  // A port of the ephemeral range on which nobody listens can be given to ourselves, and a TCP that connects to itself works.
  if (to.to.ip.is_loopback() && local_address(fd) == to.to) {
    end(connect_error(ECONNREFUSED));
    return true;
  }
  disarm();
  result = make_socket(worker(), std::move(*descriptor), {.peer = to.to, .try_reading = false, .counter = nullptr});
  descriptor.reset();
  return true;
}

Connector::Connector(Worker& worker, const ConnectTo& to) : state_(std::make_unique<State>(worker, to, *this)) {}
Connector::~Connector() = default;

bool Connector::start() {
  if (cancelled()) {
    state_->end(why());
    return true;
  }
  return state_->start();
}

void Connector::on_cancel() noexcept { state_->cancelled(why()); }
Result<std::unique_ptr<Stream>> Connector::take() { return state_->result_or_defect(); }

}  // namespace net
