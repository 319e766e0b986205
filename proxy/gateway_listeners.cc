#include "proxy/gateway_listeners.h"

#include <cstring>
#include <set>

#include "log/log.h"
#include "proxy/serve.h"

namespace proxy {

void GatewayListeners::follow(const routing::Snapshot& snapshot) {
  if (closed_) return;
  std::set<base::SocketAddress> wanted;
  for (const auto& port : snapshot.gateway_ports()) {
    const auto bind = base::Ip::parse(port.bind);
    wanted.insert({bind.value_or(base::Ip::any(false)), port.port});
  }
  for (auto it = open_.begin(); it != open_.end();) {
    if (wanted.contains(it->first)) {
      ++it;
      continue;
    }
    it->second->close();
    it = open_.erase(it);
  }
  for (const auto& address : wanted) {
    if (open_.contains(address)) continue;
    auto listener = net::Listener::open(workers_, address, &serve_gateway, nullptr, options_);
    if (listener) {
      (*listener)->start();
      open_.emplace(address, std::move(*listener));
      failed_.erase(address);
    } else if (auto& before = failed_[address]; before != listener.error().sys) {
      before = listener.error().sys;
      logs::error(logs::Component::kNet, "gateway port {}: {}", address.port, std::strerror(listener.error().sys));
    }
  }
}

void GatewayListeners::close() {
  closed_ = true;
  for (auto& [address, listener] : open_) listener->close();
  open_.clear();
}

}  // namespace proxy
