#include <algorithm>

#include <fmt/format.h>

#include "iptables/rules.h"

namespace iptables {
namespace {

std::string_view target(std::string_view spec) {
  const auto at = spec.rfind("-j ");
  if (at == std::string_view::npos) return {};
  return spec.substr(at + 3, spec.find(' ', at + 3) - at - 3);
}

}  // namespace

std::vector<std::string> own_chains(const std::vector<Rule>& rules) {
  std::vector<std::string> out;
  const auto note = [&](std::string_view chain) {
    if (is_own_chain(chain) && std::ranges::find(out, chain) == out.end()) out.emplace_back(chain);
  };
  for (const auto& rule : rules) note(rule.chain);
  for (const auto& rule : rules) note(target(rule.spec));
  return out;
}

std::string restore_text(const FamilyRules& rules) {
  std::string out;
  for (const Table table : kTables) {
    if (rules[table].empty()) continue;
    out += fmt::format("* {}\n", name_of(table));
    for (const auto& chain : own_chains(rules[table])) out += fmt::format("-N {}\n", chain);
    for (const auto& rule : rules[table]) {
      if (rule.position)
        out += fmt::format("-I {} {} {}\n", rule.chain, rule.position, rule.spec);
      else
        out += fmt::format("-A {} {}\n", rule.chain, rule.spec);
    }
    out += "COMMIT\n";
  }
  return out;
}

}  // namespace iptables
