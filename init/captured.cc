#include "init/captured.h"

#include <algorithm>
#include <chrono>
#include <expected>
#include <string>
#include <thread>

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
  while (true) {
    const auto captured = any_captured(ports);
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(limit - std::chrono::steady_clock::now());
    if ((captured && !*captured) || left.count() <= 0) return;
    if (captured) {
      ends.wait(left);
      continue;
    }
    say(Severity::kWarning, "connections that the proxy has get {} ms to end, and may be cut then: {}", left.count(), captured.error());
    std::this_thread::sleep_for(left);
    return;
  }
}

}  // namespace init
