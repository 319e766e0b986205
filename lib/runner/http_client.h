#pragma once

#include <chrono>
#include <string>
#include <utility>
#include <vector>

#include "base/ip.h"
#include "base/result.h"
#include "runner/netns.h"

namespace runner {

struct HttpAnswer {
  int status = 0;
  std::vector<std::pair<std::string, std::string>> headers;  // names lower-case
  std::string body;
  std::string_view header(std::string_view lower) const;
};
struct HttpAsk {
  base::SocketAddress to;
  std::string method = "GET", path = "/", host;  // host empty: the address
  std::vector<std::pair<std::string, std::string>> headers;
  std::chrono::milliseconds within{2'000};
};

// One request on a connection of its own, made inside `where` (invalid: here). Blocks the calling thread; for probes, the admin
// port and the tour's clients, never for the data path. Errors: kConnect, kTimeout, kReset, kProtocol, kTooLarge (16 MiB).
Result<HttpAnswer> ask(const Netns& where, const HttpAsk& what);
// Only whether somebody accepts there.
bool accepts(const Netns& where, const base::SocketAddress& at, std::chrono::milliseconds within);

}  // namespace runner
