// Whatever iptables-save of another version or a damaged pipe prints: reading it must end, and a plan never deletes a chain or,
// where no chain of ours is, a rule that does not name one of ours.
#include <cstddef>
#include <cstdint>
#include <cstdlib>

#include "iptables/shadow.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto saved = iptables::parse_saved({reinterpret_cast<const char*>(data), size});
  const auto plan = iptables::make_plan(saved, iptables::own_rules(saved, {}), {}, false);
  for (std::string_view rest = plan.text; !rest.empty();) {
    const auto line = rest.substr(0, rest.find('\n'));
    rest.remove_prefix(line.size() + 1);
    const bool names_ours = line.find("ISTIO_") != std::string_view::npos || line.find(iptables::kHoldChain) != std::string_view::npos;
    if (line.starts_with("-X") && !names_ours) std::abort();
    if (line.starts_with("-D") && !names_ours && !saved.has_own_chains()) std::abort();
  }
  // A search ends too, whatever loops the chains make.
  const auto flow = iptables::parse_flow("out 192.0.2.1:80", {});
  (void)iptables::find_shadow(saved, {}, *flow, 15001);
  return 0;
}
