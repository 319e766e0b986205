#include "proxy/limits.h"

#include <cerrno>
#include <iterator>

#include "log/log.h"

namespace proxy {
namespace {
using base::Detail;
using Which = LimitCounters::Which;

struct Row {
  const char* name;
  const char* what;
};
constexpr Row kRows[] = {
    {"header_bytes", "a request head is too long, 431 or 414"},
    {"header_fields", "a request has too many header fields, 431"},
    {"header_time", "a request head, or what may become one, takes too long"},
    {"body_time", "a request body makes no progress, 408"},
    {"stream_idle", "a request and its answer are idle"},
    {"worker_connections", "too many connections on a worker, closed"},
    {"pending_requests", "too many requests wait for a connection, 503"},
    {"memory", "memory is nearly used up, 503"},
    {"descriptors", "none is left for a connection to upstream"},   // those of accepting are the Monitor's
};
static_assert(std::size(kRows) == static_cast<size_t>(Which::kCount));
}  // namespace

LimitCounters::LimitCounters(stats::Shard& shard) {
  for (size_t i = 0; i < cells_.size(); ++i) cells_[i] = &shard.counter("sluice_limit_reached_total", {{"limit", kRows[i].name}});
}

void LimitCounters::hit(Which which, const base::SocketAddress& peer) noexcept {
  // One line a second for the process, not for each worker.
  static std::array<logs::OncePerSecond, static_cast<size_t>(Which::kCount)> once;
  const auto i = static_cast<size_t>(which);
  cells_[i]->add();
  if (once[i].pass()) logs::warn(logs::Component::kNet, "limit {}: {} (from {})", kRows[i].name, kRows[i].what, peer.text());
}

void LimitCounters::hit(Detail why, const base::SocketAddress& peer) noexcept {
  switch (why) {
    case Detail::kRequestHeadTooLarge:
    case Detail::kUriTooLong: return hit(Which::kHeaderBytes, peer);
    case Detail::kTooManyFields: return hit(Which::kHeaderFields, peer);
    case Detail::kRequestHeadTimeout: return hit(Which::kHeaderTime, peer);
    case Detail::kRequestBodyTimeout: return hit(Which::kBodyTime, peer);
    case Detail::kStreamIdleTimeout: return hit(Which::kStreamIdle, peer);
    case Detail::kOverloadManager: return hit(Which::kMemory, peer);
    default: return;
  }
}

void LimitCounters::not_dialled(const Error& why, const base::SocketAddress& peer) noexcept {
  if (why.sys == EMFILE || why.sys == ENFILE) hit(Which::kDescriptors, peer);
}

}  // namespace proxy
