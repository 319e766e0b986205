#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <utility>

#include "net/worker.h"
#include "proxy/admin.h"
#include "stats/registry.h"

namespace proxy {

// Whether an inbound connection looks like the canary's: turned to us on its way to port 15002 (Istio: iptables-probe-port), and
// either from loopback to 127.0.0.6 or from an IPv6 address of this pod to itself. Nobody outside has such a source.
bool is_canary(const net::Stream& stream) noexcept;

// Proves that the rules of this network namespace work, in each family of which the pod has an address: a connection of ours to
// 127.0.0.6:15002 (IPv4, Istio's probe address) or to the pod's own address (IPv6; ::6 would need a source bound to ::1, and leave
// the pod where it is missing) must come back to our own inbound port with that original destination. Nobody else can say so for
// the outbound rules, which let us pass. With REDIRECT they are of the same table, and a table is committed as one; with TPROXY
// the connection comes by table mangle, and nat is not seen.
//
// At start and each minute, each second while it fails. Two failures in a row: one line, sluice_interception_ok is 0, and the pod
// is not ready, if interception is `required` (the injector said so) or had worked before.
class Canary {
 public:
  static constexpr uint16_t kPort = 15002;   // Istio: iptables-probe-port
  // The listener that the connections should come to: one that takes none at the moment, as --max-connections are open or
  // descriptors have run out, says nothing about the rules.
  struct Inbound {
    std::function<bool()> full;
    std::function<uint64_t()> refused;   // how often it would not accept
  };
  Canary(AdminContext& admin, stats::Shard& shard, bool required, Inbound inbound)
      : admin_(admin), shard_(shard), inbound_(std::move(inbound)), required_(required) {
    admin_.intercepted = !required;
  }

  // On main, once the listeners accept; ends when the proxy drains. `why_not`: why the rules leave our connections alone though
  // they work; then nothing is dialled and readiness does not wait.
  net::Task<> watch(const char* why_not);
  // On the worker of an inbound connection: whether it is the canary, which nobody serves.
  bool took(const net::Stream& stream) noexcept;

 private:
  struct Family {
    const char* name;
    bool v4;
    stats::Cell* failures = nullptr;   // a series only where somebody looks
    bool looked = false, told = false;
    bool required = false;             // the pod had an address from the beginning, or it has worked since
  };
  struct Verdict {
    bool known = true;
    std::string why;                   // it does not work; empty: it does
  };
  net::Task<Verdict> look();           // at all families
  net::Task<Verdict> dial(Family& family, std::span<const base::Ip> own);
  net::Task<Verdict> dial(base::SocketAddress to);
  bool no_room() const;                // since `refused_` was taken
  void late(Family& family, const std::string& why);
  void worked();
  void failed(const std::string& why);

  AdminContext& admin_;
  stats::Shard& shard_;
  const Inbound inbound_;
  uint64_t refused_ = 0;
  stats::Cell* ok_ = nullptr;
  std::array<Family, 2> families_{{{"ipv4", true}, {"ipv6", false}}};
  bool required_;
  std::string told_;                   // the failure that stands in the log
  int failures_ = 0;
  // Sequentially consistent: they are used a minute's worth of times. Only while we dial a connection counts as ours: an app may
  // serve port 15002.
  std::atomic<bool> dialling_{false};
  std::atomic<uint64_t> arrived_{0};
};

}  // namespace proxy
