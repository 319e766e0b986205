#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>

#include "base/intrusive_list.h"
#include "base/ip.h"
#include "http/h1.h"
#include "net/stream.h"
#include "routing/engine.h"

namespace proxy {

// One live connection from downstream, on its worker's list from accept to close: what GET /connections shows and what
// draining walks.
struct Connection : base::ListLink {
  uint64_t id = 0;
  routing::Direction direction = routing::Direction::kOutbound;
  const char* kind = "new";                  // new, http, tcp
  const char* state = "accepted";            // accepted, detect, idle, request, tunnel
  const char* waits_for = "-";               // client, upstream, connect
  net::Stream* stream = nullptr;
  base::OriginalDst dst;                     // at a gateway: our own address
  base::SocketAddress peer;
  bool keeps_source = false;                 // TPROXY: the app is dialled from the peer's address
  std::unique_ptr<const std::string> peer_text;   // its address alone; at a gateway only, where each request needs it
  std::chrono::steady_clock::time_point since{};
  http::H1Server* server = nullptr;          // while it speaks HTTP/1
};

}  // namespace proxy
