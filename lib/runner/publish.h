#pragma once

#include <memory>
#include <string>

#include "base/ip.h"
#include "runner/netns.h"

namespace runner {

// A port of this machine that leads into the world: accepts here, connects there, copies bytes both ways. Runs on a thread of
// its own, because a thread has one network namespace.
class Publisher {
 public:
  // `node`: name of the namespace that reaches `to`. Null with the reason in `why` when the port cannot be opened.
  static std::unique_ptr<Publisher> open(const std::string& node, base::SocketAddress here, base::SocketAddress to, std::string& why);
  virtual ~Publisher() = default;  // closes the port and all its connections
};

}  // namespace runner
