#include "proxy/canary.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <span>

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
constexpr uint16_t kPort = 15002;     // Istio: iptables-probe-port
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
  if (!dst || !dst->redirected || dst->address.port != kPort) return false;
  const base::Ip peer = stream.peer().ip;
  return dst->address.ip.v4 ? dst->address.ip == kMarker && peer.is_loopback() : dst->address.ip == peer;
}

// Istio: traffic.sidecar.istio.io/includeInboundPorts, default *; excludeInboundPorts counts with * only.
bool captures_probe_port(const api::Mesh& mesh, const Options& options) {
  const api::Pod* const pod = mesh.pod(options.pod_namespace, options.pod_name);
  const auto annotation = [pod](const char* name) -> std::optional<std::string> {
    if (!pod) return std::nullopt;
    const auto found = pod->meta.annotations.find(name);
    return found == pod->meta.annotations.end() ? std::nullopt : std::optional(found->second);
  };
  const auto lists_it = [](const std::string& ports) { return (',' + ports + ',').find(fmt::format(",{},", kPort)) != std::string::npos; };
  auto included = options.inbound_ports;
  if (!included) included = annotation("traffic.sidecar.istio.io/includeInboundPorts");
  if (included && *included != "*") return lists_it(*included);
  return !lists_it(annotation("traffic.sidecar.istio.io/excludeInboundPorts").value_or(""));
}

bool Canary::took(const net::Stream& stream) noexcept {
  if (!dialling_.load() || !is_canary(stream)) return false;
  arrived_.fetch_add(1);
  return true;
}

net::Task<std::string> Canary::dial(base::SocketAddress address) {
  const uint64_t before = arrived_.load();
  const net::ConnectTo to{.to = address, .within = kPatience};
  net::Connector connector(admin_.main, to);
  auto stream = co_await connector;
  if (!stream) co_return std::string(std::strerror(stream.error().sys));
  Ended ended(**stream);
  net::Deadline limit(admin_.main, ended);
  limit.arm(kPatience, kNobodyCloses);
  const auto end = co_await (*stream)->read();   // whoever took it closes at once
  co_return arrived_.load() != before ? std::string() : std::string(end ? "somebody else answers there" : "somebody else listens there");
}

net::Task<std::string> Canary::look() {
  const std::vector<base::Ip> own = interface_addresses();   // as sluice-init sees which families need rules
  std::string problem;
  for (Family& family : families_) {
    const auto address = std::ranges::find(own, family.v4, &base::Ip::v4);
    if (address == own.end() && !(family.v4 && own.empty())) continue;
    const base::SocketAddress to{family.v4 ? kMarker : *address, kPort};
    dialling_ = true;
    const std::string why = co_await dial(to);
    dialling_ = false;
    if (why.empty()) continue;
    family.failures->add();
    problem += fmt::format("{}{}: a connection of user {} and group {} to {} failed: {}", problem.empty() ? "" : "; ",
                           family.v4 ? "IPv4" : "IPv6", ::geteuid(), ::getegid(), to.text(), why);
  }
  co_return problem;
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
    const std::string why = co_await look();
    if (admin_.draining) co_return;
    if (why.empty()) worked();
    else failed(why);
    const bool settled = why.empty() || (!told_.empty() && !required_);
    const std::chrono::milliseconds pause = settled ? kInterval : kAgain;
    co_await net::sleep(admin_.main, pause);
  }
}

}  // namespace proxy
