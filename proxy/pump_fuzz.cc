// Any program of pump_script.h: two sides that send, stall, half-close and reset, and an operator who drains and swaps.

#include <cstdio>
#include <cstdlib>

#include "log/log.h"
#include "proxy/pump_script.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size > 512) return 0;
  const std::string violated = proxy::in_memory::Script::run({reinterpret_cast<const char*>(data), size});
  if (violated.empty()) return 0;
  std::fprintf(stderr, "violated: %s\n", violated.c_str());
  std::abort();
}
