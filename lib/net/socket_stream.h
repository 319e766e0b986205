#pragma once

#include <memory>

#include "net/reactor.h"
#include "net/worker.h"

namespace net {

// Whoever counts open connections; told once, on the stream's worker, when the stream is gone.
class ConnectionCounter {
 public:
  virtual void connection_over(Worker& worker) noexcept = 0;

 protected:
  virtual ~ConnectionCounter() = default;
};

struct SocketFacts {
  base::SocketAddress peer;
  // A client has often sent its first bytes by the time its stream exists, a server never before it was asked.
  bool try_reading = true;
  // The port of the TPROXY listener that accepted it; 0: none. Such a connection keeps its original destination as its local
  // name, and going to another port is what tells that it was turned here.
  uint16_t transparent_port = 0;
  std::shared_ptr<ConnectionCounter> counter;
};

std::unique_ptr<Stream> make_socket(Worker& worker, int fd, SocketFacts facts);                  // takes fd
std::unique_ptr<Stream> make_socket(Worker& worker, Descriptor&& descriptor, SocketFacts facts);

// TCP_NODELAY: we batch ourselves and send what must not wait. Keepalive finds peers that are gone without a word within two
// minutes, which no timeout of an idle tunnel does. Accepted sockets inherit both from their listener.
void set_tcp_options(int fd) noexcept;

}  // namespace net
