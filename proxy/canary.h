#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>

#include "net/worker.h"
#include "proxy/admin.h"
#include "stats/registry.h"

namespace proxy {

// Whether an inbound connection is the canary's: from this machine, and turned to us on its way to 127.0.0.6:15002.
bool is_canary(const net::Stream& stream) noexcept;

// Proves that the rules of this network namespace work: a connection of ours to 127.0.0.6:15002, Istio's probe address, must
// come back to our own inbound port with that original destination. Nobody else can say so for the outbound rules, which let us
// pass; but they are of the same table, and a table is committed as one. With REDIRECT only: TPROXY captures no ports but those
// that the user listed.
//
// At start and each minute. Two failures in a row: one line, sluice_interception_ok is 0, and the pod is not ready, if
// interception is `required` (the injector said so) or had worked before.
class Canary {
 public:
  Canary(AdminContext& admin, stats::Shard& shard, bool required) : admin_(admin), shard_(shard), required_(required) {
    admin_.intercepted = !required;
  }

  // On main, once the listeners accept; ends when the proxy drains.
  net::Task<> watch();
  // On the worker of an inbound connection: whether it is the canary, which nobody serves.
  bool took(const net::Stream& stream) noexcept;

 private:
  net::Task<std::string> look();   // why it does not work; empty: it does
  void worked();
  void failed(const std::string& why);

  AdminContext& admin_;
  stats::Shard& shard_;
  stats::Cell* ok_ = nullptr;          // a series only where somebody looks
  bool required_, told_ = false;
  int failures_ = 0;
  std::atomic<uint64_t> arrived_{0};   // sequentially consistent: it is read a minute's worth of times
};

}  // namespace proxy
