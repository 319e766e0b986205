#pragma once

#include <chrono>
#include <cstdint>
#include <expected>
#include <optional>
#include <string>
#include <string_view>

#include "base/ip.h"

namespace init {

// A socket that listens at a port of the proxy on the loopback address of one family, as long as this lives.
class Ear {
 public:
  // The error is one line, for instance that the port is taken.
  static std::expected<Ear, std::string> open(bool ipv4, uint16_t port);
  Ear(Ear&& other) noexcept;
  Ear& operator=(Ear&&) = delete;
  ~Ear();
  int fd() const noexcept { return fd_; }
  uint16_t port() const noexcept { return port_; }

 private:
  Ear(int fd, uint16_t port) : fd_(fd), port_(port) {}
  int fd_;
  uint16_t port_;
};

// One connection that is to be captured.
struct Dial {
  base::SocketAddress to;
  std::optional<base::Ip> from;  // bound to, when set
  unsigned uid = 0, gid = 0;
  bool become = false;  // change to uid and gid first; needs SETUID and SETGID
};

// Dials in a child and waits until the connection arrives at `wanted` with its destination on record; at `other`, nowhere or
// refused is the error, one line. Connections of others that arrive meanwhile are accepted, closed and do not count. Leaves no process
// behind. Blocks for at most `patience`.
std::expected<void, std::string> probe(const Dial& dial, const Ear& wanted, const Ear& other, std::chrono::milliseconds patience);

// How this namespace would send to an address, without sending anything.
struct Way {
  base::Ip from;
  std::string interface;
};
std::optional<Way> way_to(const base::Ip& ip);  // nothing: there is no route

}  // namespace init
