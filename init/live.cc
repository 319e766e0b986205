#include "init/live.h"

#include <algorithm>

#include <fmt/format.h>

namespace init {
namespace {

std::string_view next_word(std::string_view& text) {
  text.remove_prefix(std::min(text.size(), text.find_first_not_of(" \t")));
  const auto word = text.substr(0, text.find_first_of(" \t"));
  text.remove_prefix(word.size());
  return word;
}

}  // namespace

std::set<std::string> tcp_connections(std::string_view proc_net_tcp, Ended ended) {
  std::set<std::string> out;
  while (!proc_net_tcp.empty()) {
    auto line = proc_net_tcp.substr(0, proc_net_tcp.find('\n'));
    proc_net_tcp.remove_prefix(std::min(proc_net_tcp.size(), line.size() + 1));
    next_word(line);  // the number of the line
    const auto own = next_word(line), other = next_word(line), state = next_word(line);
    // include/net/tcp_states.h: 06 TIME_WAIT, 07 CLOSE, 0A LISTEN; the first line has names instead of numbers.
    const bool over = state == "06" && ended == Ended::kLeftOut;
    if (state.size() != 2 || state == "st" || state == "07" || state == "0A" || over) continue;
    out.insert(fmt::format("{} {}", own, other));
  }
  return out;
}

std::set<std::string> with_own_port(const std::set<std::string>& connections, std::span<const uint16_t> ports) {
  auto out = connections;
  std::erase_if(out, [&](std::string_view connection) {
    const auto own = next_word(connection);
    return std::ranges::none_of(ports, [&](uint16_t port) { return own.ends_with(fmt::format(":{:04X}", port)); });
  });
  return out;
}

}  // namespace init
