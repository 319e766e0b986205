// Whatever iptables-save of another version or a damaged pipe prints: reading it must end, and planning must not touch what is
// not ours.
#include <cstddef>
#include <cstdint>
#include <cstdlib>

#include "iptables/plan.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto saved = iptables::parse_saved({reinterpret_cast<const char*>(data), size});
  const auto plan = iptables::make_plan(saved, iptables::own_rules(saved, {}), {}, false);
  if (!saved.has_own_chains() && !plan.text.empty() && plan.text.find("ISTIO_") == std::string::npos) std::abort();
  return 0;
}
