#include "proxy/canary.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <span>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "log/log.h"
#include "proxy/self.h"

namespace proxy {
namespace {
using namespace std::chrono_literals;

constexpr auto kPatience = 2s;        // loopback answers within a millisecond; more means that packets are dropped
// A single failure may be a moment without memory or descriptors; after that, how soon it is noticed that somebody made the rules
// after all.
constexpr auto kAgain = 1s;
constexpr auto kInterval = 60s;
const base::Ip kMarker = *base::Ip::parse("127.0.0.6");
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
  const auto dst = stream.original_dst();
  if (!dst || !dst->redirected || dst->address.port != Canary::kPort) return false;
  const base::Ip peer = stream.peer().ip;
  return dst->address.ip.v4 ? dst->address.ip == kMarker && peer.is_loopback() : dst->address.ip == peer;
}

bool Canary::took(const net::Stream& stream) noexcept {
  if (!dialling_.load() || !is_canary(stream)) return false;
  arrived_.fetch_add(1);
  return true;
}

bool Canary::no_room() const {
  return inbound_.full() || inbound_.refused() != refused_;
}

net::Task<Canary::Verdict> Canary::dial(base::SocketAddress address) {
  const uint64_t before = arrived_.load();
  refused_ = inbound_.refused();
  const net::ConnectTo to{.to = address, .within = kPatience};
  net::Connector connector(admin_.main, to);
  auto stream = co_await connector;
  if (!stream) {
    const int sys = stream.error().sys;
    const bool ours = sys == EMFILE || sys == ENFILE || sys == ENOBUFS || sys == ENOMEM;
    co_return Verdict{.known = !ours && !no_room(), .why = std::strerror(sys)};
  }
  Ended ended(**stream);
  net::Deadline limit(admin_.main, ended);
  limit.arm(kPatience, kNobodyCloses);
  const auto end = co_await (*stream)->read();   // whoever took it closes at once
  if (arrived_.load() != before) co_return Verdict{};
  co_return Verdict{.known = !no_room(), .why = end ? "somebody else answers there" : "somebody else listens there"};
}

net::Task<Canary::Verdict> Canary::dial(Family& family, std::span<const base::Ip> own) {
  // IPv6: the first that works is enough, for one of several may be unusable for reasons of its own.
  Verdict verdict;
  for (const base::Ip& ip : own) {
    const base::SocketAddress to{family.v4 ? kMarker : ip, kPort};
    dialling_ = true;
    verdict = co_await dial(to);
    dialling_ = false;
    if (verdict.why.empty()) break;
    verdict.why = fmt::format("{}: a connection of user {} and group {} to {} failed: {}", family.v4 ? "IPv4" : "IPv6", ::geteuid(), ::getegid(),
                              to.text(), verdict.why);
    if (family.v4) break;
  }
  co_return verdict;
}

net::Task<Canary::Verdict> Canary::look() {
  std::vector<base::Ip> own = interface_addresses();
  const auto four = std::ranges::stable_partition(own, [](const base::Ip& ip) { return ip.v4; });
  const size_t fours = own.size() - four.size();
  Verdict all;
  for (Family& family : families_) {
    auto addresses = family.v4 ? std::span(own).first(fours) : std::span(own).subspan(fours);
    const bool here = !addresses.empty() || (family.v4 && own.empty());
    if (!std::exchange(family.looked, true)) family.required = here;
    if (!here) continue;
    const base::Ip any = kMarker;
    const Verdict one = co_await dial(family, addresses.empty() ? std::span(&any, 1) : addresses);
    all.known = all.known && one.known;
    if (one.why.empty()) family.required = true;
    if (one.why.empty() || !one.known) continue;
    family.failures->add();
    if (family.required) all.why += (all.why.empty() ? "" : "; ") + one.why;
    else late(family, one.why);
  }
  co_return all;
}

// sluice-init saw no address of this family, or made no rules for it. A pod that works in the other one does not stop for it.
void Canary::late(Family& family, const std::string& why) {
  if (!std::exchange(family.told, true))
    logs::warn(logs::Component::kMain, "traffic over {} is not intercepted: the pod got its address after the rules were made, restart the pod so "
                                       "that sluice-init sees it; {}", family.v4 ? "IPv4" : "IPv6", why);
}

void Canary::worked() {
  if (!told_.empty()) logs::info(logs::Component::kMain, "interception works again");
  told_.clear();
  failures_ = 0;
  required_ = true;   // it can work here: from now on a failure means that something was taken away
  ok_->set(1);
  admin_.intercepted = true;
}

void Canary::failed(const std::string& why) {
  if (++failures_ < 2 || told_ == why) return;
  told_ = why;
  ok_->set(0);
  admin_.intercepted = !required_;
  const char* const mode = admin_.shared.transparent() ? "TPROXY" : "REDIRECT";
  const std::string cause = fmt::format("{}; the rules for {} should bring it to port {}", why, mode, admin_.options.inbound_port);
  if (required_)
    logs::error(logs::Component::kMain, "not ready, traffic is not intercepted: {}; they are missing or made for another user or mode, "
                                        "restart the pod so that sluice-init makes them again", cause);
  else
    logs::info(logs::Component::kMain, "traffic is not intercepted here: {}; with --interception-mode {} the proxy would not be ready", cause, mode);
}

net::Task<> Canary::watch(const char* why_not) {
  if (why_not) {
    admin_.intercepted = true;
    logs::info(logs::Component::kMain, "whether traffic is intercepted is not checked: {}", why_not);
    co_return;
  }
  ok_ = &shard_.gauge("sluice_interception_ok");
  for (Family& family : families_) family.failures = &shard_.counter("sluice_interception_failures_total", {{"family", family.name}});
  while (!admin_.draining) {
    const Verdict found = co_await look();
    if (admin_.draining) co_return;
    if (found.known && found.why.empty()) worked();
    else if (found.known) failed(found.why);
    const bool settled = found.known && (found.why.empty() || (!told_.empty() && !required_));
    const std::chrono::milliseconds pause = settled ? kInterval : kAgain;
    co_await net::sleep(admin_.main, pause);
  }
}

}  // namespace proxy
