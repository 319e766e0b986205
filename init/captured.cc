#include "init/captured.h"

#include <algorithm>
#include <chrono>
#include <expected>
#include <string>
#include <utility>

#include "init/say.h"
#include "init/sockets.h"

namespace init {
namespace {

std::expected<bool, std::string> any_captured(const std::set<uint16_t>& ports) {
  const auto sockets = tcp_sockets();
  if (!sockets) return std::unexpected(sockets.error());
  return std::ranges::any_of(sockets->connections, [&](const Connection& one) { return one.transparent || ports.contains(one.own.port); });
}

}  // namespace

void await_end_of_captured(const std::set<uint16_t>& ports) {
  constexpr std::chrono::milliseconds kPatience(3000);
  const auto limit = std::chrono::steady_clock::now() + kPatience;
  SocketEnds ends;
  bool warned = false;
  while (true) {
    const auto captured = any_captured(ports);
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(limit - std::chrono::steady_clock::now());
    if ((captured && !*captured) || left.count() <= 0) return;
    if (!captured && !std::exchange(warned, true))
      say(Severity::kWarning, "connections that the proxy has get {} ms to end, and may be cut then: {}", left.count(), captured.error());
    ends.wait(left);
  }
}

}  // namespace init
