#pragma once

#include <cstdint>
#include <set>

namespace init {

// Waits until the proxy has no connection any more by rules that turn to these ports: at one of them, or by TPROXY in the name
// of others. Not for ever, for some stay open for days: 3 seconds, and all of them, with a warning, where the kernel does not say
// what is open.
void await_end_of_captured(const std::set<uint16_t>& ports);

}  // namespace init
