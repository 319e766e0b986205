#pragma once

#include <map>
#include <memory>
#include <vector>

#include "net/worker.h"
#include "routing/engine.h"

namespace proxy {

// The listening sockets of a gateway: exactly the ports of the snapshot that is live. Belongs to worker 0, which opens new
// ports before it reports the snapshot as applied: who waits for the digest finds the port open.
class GatewayListeners {
 public:
  GatewayListeners(std::vector<net::Worker*> workers, net::Listener::Options options) : workers_(std::move(workers)), options_(options) {}
  // Worker 0. A port that cannot be opened is said once in the log and tried again with the next snapshot.
  void follow(const routing::Snapshot& snapshot);
  void close();   // for good: no later snapshot opens them again

 private:
  std::vector<net::Worker*> workers_;
  const net::Listener::Options options_;
  std::map<base::SocketAddress, std::unique_ptr<net::Listener>> open_;
  std::map<base::SocketAddress, int> failed_;
  bool closed_ = false;
};

}  // namespace proxy
