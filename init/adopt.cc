#include "init/adopt.h"

#include <netinet/tcp.h>

#include <algorithm>
#include <map>
#include <vector>

#include "init/conntrack.h"
#include "init/environment.h"
#include "init/sockets.h"

namespace init {
namespace {

Conntrack::Stage stage_of(uint8_t state) {
  using enum Conntrack::Stage;
  switch (state) {
    case TCP_SYN_SENT:
      return kSynSent;
    case TCP_SYN_RECV:
      return kSynReceived;
    case TCP_FIN_WAIT1:
      return kFinWait;
    case TCP_FIN_WAIT2:
    case TCP_CLOSE_WAIT:
      return kCloseWait;
    case TCP_LAST_ACK:
    case TCP_CLOSING:
      return kLastAck;
  }
  return kEstablished;
}

using Open = std::map<Conntrack::Tuple, Conntrack::Stage>;

// Each connection once. Whoever has the port on which somebody listens did not begin: the proxy asks for the original
// destination of what it accepts, which is that of the first packet.
Open open_connections(const TcpSockets& sockets, bool ipv4) {
  Open out;
  for (const auto& one : sockets.connections) {
    if (one.own.ip.v4 != ipv4) continue;
    const bool began = !sockets.listening.contains(one.own.port);
    const Conntrack::Tuple tuple{began ? one.own : one.other, began ? one.other : one.own};
    const auto stage = stage_of(one.state);
    const auto [at, fresh] = out.try_emplace(tuple, stage);
    if (!fresh) at->second = std::max(at->second, stage);  // the end that has come further knows more
  }
  return out;
}

bool is_there(const TcpSockets& sockets, const Conntrack::Tuple& tuple) {
  const auto has = [&](const base::SocketAddress& own, const base::SocketAddress& other) {
    const auto at = sockets.connections.lower_bound({own, other, 0, false});
    return at != sockets.connections.end() && at->own == own && at->other == other;
  };
  return has(tuple.from, tuple.to) || has(tuple.to, tuple.from);
}

}  // namespace

std::expected<void, std::string> adopt_open_connections(bool ipv4) {
  Conntrack conntrack;
  Open added;
  // What ends between the look and the entry would stand there for days, so there is a second look, and a third one should
  // somebody be about to end all the time.
  constexpr int kLooks = 3;
  for (int look = 0; look < kLooks; ++look) {
    const auto sockets = tcp_sockets();
    if (!sockets) return std::unexpected(sockets.error());
    const auto open = open_connections(*sockets, ipv4);
    bool changed = false;
    for (auto at = added.begin(); at != added.end();) {
      const auto now = open.find(at->first);
      const bool same = now != open.end() && now->second == at->second;
      if (!same)
        if (auto done = conntrack.remove(at->first); !done) return done;
      at = same ? std::next(at) : added.erase(at);
      changed = changed || !same;
    }
    for (const auto& [tuple, stage] : open) {
      if (added.contains(tuple)) continue;
      const auto done = conntrack.add(tuple, stage);
      if (!done) return std::unexpected(done.error());
      if (*done) added.emplace(tuple, stage);
      changed = changed || *done;
    }
    if (!changed) break;
  }
  return {};
}

std::expected<void, std::string> forget_ended_connections(bool ipv4) {
  if (!Conntrack::any()) return {};
  Conntrack conntrack;
  // In this order: what is in the list and has no socket afterwards is over.
  const auto known = conntrack.untranslated(ipv4);
  if (!known) return std::unexpected(known.error());
  const auto sockets = tcp_sockets();
  if (!sockets) return std::unexpected(sockets.error());
  const auto own = own_addresses();
  const auto is_own = [&](const base::Ip& ip) { return ip.is_loopback() || std::ranges::find(own, ip) != own.end(); };
  for (const auto& tuple : *known) {
    // What is forwarded has no socket here.
    if ((!is_own(tuple.from.ip) && !is_own(tuple.to.ip)) || is_there(*sockets, tuple)) continue;
    if (auto done = conntrack.remove(tuple); !done) return done;
  }
  return {};
}

}  // namespace init
