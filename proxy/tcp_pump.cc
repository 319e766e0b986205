#include <chrono>
#include <optional>

#include "proxy/ended_side.h"
#include "proxy/interception.h"
#include "proxy/request_log.h"
#include "proxy/serve.h"
#include "proxy/stream_idle.h"

namespace proxy {
namespace {
using base::Detail;

constexpr Error kTooOld{.code = base::Code::kTimeout, .detail = Detail::kMaxConnectionDuration};
constexpr Error kOtherSide{.code = base::Code::kReset};
constexpr Error kClientGone{.code = base::Code::kReset, .origin = base::Origin::kDownstream, .detail = Detail::kDownstreamDisconnect};
// While the dial lasts, a client that half-closed still wants its answer: only its reset or the drain deadline ends the wait.
constexpr std::chrono::hours kHalfClosed{24};

// Both streams of a tunnel end together when one breaks; a clean end of one direction leaves the other open (half-close).
class Tunnel final : public net::Cancellable {
 public:
  Tunnel(net::Stream& down, net::Stream& up) noexcept : down_(down), up_(up) {}
  // `from` says no more, and `to` has been told; the direction back goes on, if it does.
  void half_closed(net::Stream& from, net::Stream& to) {
    if (ended_) ended_.reset();
    else ended_.emplace(from, to, *this, kOtherSide);
  }

 private:
  void on_cancel() noexcept override {
    down_.cancel(why());
    up_.cancel(why());
  }
  net::Stream& down_;
  net::Stream& up_;
  std::optional<EndedSide> ended_;
};

// Bulk: reads of this size, twice in a row, go on through a pipe inside the kernel, until one brings less than is worth it. An
// empty pipe may then wait with its connection; the worker lends few.
constexpr size_t kBulk = 64 * 1024, kTrickle = 16 * 1024;

net::Task<> copy(net::Stream& from, net::Stream& to, Tunnel& tunnel, StreamIdle& idle, uint64_t& bytes) {
  net::PipeLoan pipe;
  int large = 0;
  for (;;) {
    if (!pipe && large >= 2 && from.splices() && to.splices()) {
      pipe = from.worker().lend_pipe();
      large = 0;
    }
    auto piece = co_await (pipe ? from.read_into(*pipe, pipe->capacity()) : from.read());
    if (!piece) {
      if (!tunnel.cancelled()) to.reset();   // an RST travels on: a cut stream must not look complete
      tunnel.cancel(kOtherSide);
      co_return;
    }
    const size_t size = pipe ? pipe->held() : piece->size();
    if (size == 0) {
      to.shutdown_write();
      tunnel.half_closed(from, to);
      co_return;
    }
    bytes += size;
    large = size >= kBulk ? large + 1 : 0;
    idle.progress();
    const auto sent = co_await (pipe ? to.write_from(*pipe) : to.write(std::move(*piece)));
    if (pipe && size < kTrickle) pipe.end();
    if (!sent) {
      if (!tunnel.cancelled()) from.reset();
      tunnel.cancel(kOtherSide);
      co_return;
    }
  }
}
}  // namespace

net::Task<> serve_tcp(WorkerState& state, Connection& connection, std::shared_ptr<const base::ClusterSettings> to,
                      std::unique_ptr<upstream::TcpLease> leased) {
  connection.kind = "tcp";
  connection.state = "connect";
  connection.waits_for = "connect";
  state.counters.tcp_total.add();
  TcpRecord record(state, connection);
  // The tunnel keeps the settings it began with, not the snapshot: a connection of a week must not pin a mesh.
  record.settings = std::move(to);
  upstream::Cluster* cluster = record.settings ? state.clusters.find(record.settings->name) : nullptr;
  if (!cluster || state.shedding()) {
    record.fail(cluster ? Detail::kOverloadManager : Detail::kClusterNotFound);
    connection.stream->reset();
    co_return;
  }
  if (!leased) {
    upstream::PickContext pick;
    std::optional<base::SocketAddress> picked;
    pick.picked = &picked;
    aim(pick, connection, *record.settings);
    upstream::AcquireCancel wait;
    std::optional<net::CloseWatch> client(std::in_place, *connection.stream, wait, kClientGone, kHalfClosed);
    auto lease = co_await cluster->connect_tcp(pick, wait);
    client.reset();
    record.upstream_host = picked;
    if (!lease) {
      state.limits.not_dialled(lease.error(), connection.peer);
      record.fail(lease.error().detail);
      connection.stream->reset();
      co_return;
    }
    leased = std::make_unique<upstream::TcpLease>(std::move(*lease));
  }
  record.opened(*leased);
  connection.state = "tunnel";
  connection.waits_for = "bytes";
  Tunnel tunnel(*connection.stream, leased->stream());
  StreamIdle idle(state.worker, tunnel, record.settings->tcp_idle_timeout);
  net::Deadline at_most(state.worker, tunnel);
  if (const auto most = record.settings->max_connection_duration; most.count() > 0) at_most.arm(most, kTooOld);
  idle.watch(connection.stream, &leased->stream());
  idle.progress();
  co_await net::both(copy(*connection.stream, leased->stream(), tunnel, idle, record.received),
                     copy(leased->stream(), *connection.stream, tunnel, idle, record.sent));
  if (tunnel.cancelled() && tunnel.why().detail == Detail::kMaxConnectionDuration) record.fail(tunnel.why().detail);
}

}  // namespace proxy
