#include "proxy/canary.h"

#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <span>

#include <fmt/format.h>

#include "log/log.h"

namespace proxy {
namespace {
using namespace std::chrono_literals;

constexpr auto kPatience = 2s;        // loopback answers within a millisecond; more means that packets are dropped
constexpr auto kAgain = 1s;           // a single failure may be a moment without memory or descriptors
constexpr auto kMended = 5s;          // how soon it is noticed that somebody made the rules after all
constexpr auto kInterval = 60s;
const base::SocketAddress kTarget{*base::Ip::parse("127.0.0.6"), 15002};   // Istio: iptables-probe-port
constexpr Error kNobodyCloses{.code = base::Code::kTimeout};

class Ended final : public net::Cancellable {
 public:
  explicit Ended(net::Stream& stream) noexcept : stream_(stream) {}

 private:
  void on_cancel() noexcept override { stream_.cancel(why()); }
  net::Stream& stream_;
};
}  // namespace

bool is_canary(const net::Stream& stream) noexcept {
  if (!stream.peer().ip.is_loopback()) return false;
  const auto dst = stream.original_dst();
  return dst && dst->redirected && dst->address == kTarget;
}

bool Canary::took(const net::Stream& stream) noexcept {
  if (!is_canary(stream)) return false;
  arrived_.fetch_add(1);
  return true;
}

net::Task<std::string> Canary::look() {
  const uint64_t before = arrived_.load();
  const net::ConnectTo to{.to = kTarget, .within = kPatience};
  net::Connector connector(admin_.main, to);
  auto stream = co_await connector;
  if (!stream) co_return std::string(std::strerror(stream.error().sys));
  Ended ended(**stream);
  net::Deadline limit(admin_.main, ended);
  limit.arm(kPatience, kNobodyCloses);
  const auto end = co_await (*stream)->read();   // whoever took it closes at once
  co_return arrived_.load() != before ? std::string() : std::string(end ? "somebody else answers there" : "somebody else listens there");
}

void Canary::worked() {
  if (told_) logs::info(logs::Component::kMain, "interception works again");
  told_ = false;
  failures_ = 0;
  required_ = true;   // it can work here: from now on a failure means that something was taken away
  ok_->set(1);
  admin_.intercepted = true;
}

void Canary::failed(const std::string& why) {
  if (++failures_ < 2 || told_) return;
  told_ = true;
  ok_->set(0);
  admin_.intercepted = !required_;
  const std::string cause = fmt::format("a connection of user {} to {}, which the rules bring to port {}, failed: {}", ::geteuid(), kTarget.text(),
                                        admin_.options.inbound_port, why);
  if (required_)
    logs::error(logs::Component::kMain, "not ready, traffic is not intercepted: {}; the rules of sluice-init are missing or made for another "
                                        "user, restart the pod so that they are made again", cause);
  else
    logs::info(logs::Component::kMain, "traffic is not intercepted here: {}; with --interception-mode REDIRECT the proxy would not be ready", cause);
}

net::Task<> Canary::watch() {
  ok_ = &shard_.gauge("sluice_interception_ok");
  while (!admin_.draining) {
    const std::string why = co_await look();
    if (admin_.draining) co_return;
    if (why.empty()) worked();
    else failed(why);
    const std::chrono::milliseconds pause = why.empty() ? kInterval : told_ ? kMended : kAgain;
    co_await net::sleep(admin_.main, pause);
  }
}

}  // namespace proxy
