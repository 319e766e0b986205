#include "iptables/plan.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <set>

#include "iptables/clauses.h"

namespace iptables {
namespace {

bool contains(const std::vector<std::string>& list, std::string_view item) { return std::ranges::find(list, item) != list.end(); }

// Rules per chain in the order in which packets meet them.
std::map<std::string, std::vector<std::string>> ordered(const std::vector<Rule>& rules) {
  std::map<std::string, std::vector<std::string>> out;
  for (const auto& rule : rules) {
    auto& chain = out[rule.chain];
    const auto at = rule.position ? std::min<size_t>(static_cast<size_t>(rule.position) - 1, chain.size()) : chain.size();
    chain.insert(chain.begin() + static_cast<std::ptrdiff_t>(at), canonical(rule.spec));
  }
  return out;
}

std::set<std::string> own_chains_of(const Saved::Contents& saved) {
  std::set<std::string> out;
  for (const auto& chain : saved.chains)
    if (is_own_chain(chain)) out.insert(chain);
  return out;
}

// Rules that are inserted stand before those of others: the hold would be void behind a rule that accepts.
bool stand_first(const Saved::Contents& saved, const std::vector<Rule>& wanted) {
  const auto own = ordered(wanted);
  std::map<std::string, size_t> first;
  for (const auto& rule : wanted) first[rule.chain] += rule.position > 0;
  return std::ranges::all_of(saved.rules, [&](const Rule& rule) {
    const auto left = first.find(rule.chain);
    if (left == first.end() || left->second == 0) return true;
    --left->second;
    return contains(own.at(rule.chain), canonical(rule.spec));
  });
}

bool equal(const Saved::Contents& saved, const std::vector<Rule>& own, const std::vector<Rule>& wanted) {
  const auto declared = own_chains(wanted);
  return own_chains_of(saved) == std::set<std::string>(declared.begin(), declared.end()) && ordered(own) == ordered(wanted) &&
         stand_first(saved, wanted);
}

std::string line(const Rule& rule) {
  return rule.position ? fmt::format("-I {} {} {}\n", rule.chain, rule.position, rule.spec)
                       : fmt::format("-A {} {}\n", rule.chain, rule.spec);
}

// One commit from anything of ours to the wanted rules. `:CHAIN` creates or empties, so nothing depends on what is there.
std::string swap_text(Table table, const Saved::Contents& saved, const std::vector<Rule>& own, const std::vector<Rule>& wanted) {
  const auto declared = own_chains(wanted);
  const auto present = own_chains_of(saved);
  std::string out = fmt::format("*{}\n", name_of(table));
  for (const auto& chain : declared) out += fmt::format(":{} - [0:0]\n", chain);
  for (const auto& chain : present)
    if (!contains(declared, chain)) out += fmt::format(":{} - [0:0]\n", chain);
  for (const auto& rule : own)
    if (is_builtin_chain(rule.chain)) out += fmt::format("-D {} {}\n", rule.chain, rule.spec);
  for (const auto& rule : saved.rules) {
    const std::string target(clauses_of(rule.spec).target);
    const bool foreign = !is_builtin_chain(rule.chain) && !is_own_chain(rule.chain);
    if (foreign && present.contains(target) && !contains(declared, target)) out += fmt::format("-D {} {}\n", rule.chain, rule.spec);
  }
  for (const auto& chain : present)
    if (!contains(declared, chain)) out += fmt::format("-X {}\n", chain);
  for (const auto& rule : wanted) out += line(rule);
  return out + "COMMIT\n";
}

// `rules` of OUTPUT and PREROUTING: whether they leave some interface alone in both directions.
bool has_pair(const std::vector<Rule>& rules) {
  std::set<std::string_view> in, out;
  for (const auto& rule : rules) {
    const auto parts = clauses_of(rule.spec);
    if (parts.target != "RETURN" || parts.matches.size() != 1 || parts.matches[0].negated) continue;
    if (rule.chain == "PREROUTING" && parts.matches[0].option == "-i") in.insert(parts.matches[0].value);
    if (rule.chain == "OUTPUT" && parts.matches[0].option == "-o") out.insert(parts.matches[0].value);
  }
  return std::ranges::any_of(out, [&](auto nic) { return in.contains(nic); });
}

// With the dividing jump where a table needs it.
FamilyRules divided(FamilyRules wanted, const Saved& saved, const FamilyRules& own) {
  const auto foreign = foreign_rules(saved, own);
  for (const Table table : {Table::kMangle, Table::kNat}) {
    auto& rules = wanted[table];
    const bool is = std::ranges::any_of(rules, [](const Rule& rule) { return clauses_of(rule.spec).target == kOthersChain; });
    if (!rules.empty() && !is && has_pair(foreign[table])) rules.insert(rules.begin(), {"OUTPUT", 0, fmt::format("-j {}", kOthersChain)});
  }
  return wanted;
}

}  // namespace

Plan make_plan(const Saved& saved, const FamilyRules& own, const FamilyRules& asked, bool force) {
  const auto wanted = divided(asked, saved, own);
  Plan plan;
  FamilyRules fresh;  // tables where nothing of ours stands
  bool found = false;
  for (const Table table : kTables) found = found || !own[table].empty() || !own_chains_of(saved[table]).empty();
  const auto settle = [&](Table table) {
    const bool clean = own[table].empty() && own_chains_of(saved[table]).empty();
    if (clean && wanted[table].empty()) return;
    if (!force && equal(saved[table], own[table], wanted[table])) return;
    if (!clean) {
      plan.text += swap_text(table, saved[table], own[table], wanted[table]);
      return;
    }
    FamilyRules one;
    one[table] = wanted[table];
    plan.text += restore_text(one);
  };
  for (const Table table : kTables)
    if (!wanted[table].empty()) settle(table);
  for (const Table table : {Table::kNat, Table::kFilter, Table::kMangle, Table::kRaw})
    if (wanted[table].empty()) settle(table);
  if (!plan.text.empty()) plan.change = wanted.empty() ? Change::kRemove : found ? Change::kReplace : Change::kCreate;
  return plan;
}

std::vector<Rule> without_new_ones(const std::vector<Rule>& own) {
  auto out = own;
  std::erase_if(out, [](const Rule& rule) { return rule.chain == "ISTIO_TPROXY" || clauses_of(rule.spec).target == "ISTIO_TPROXY"; });
  return out;
}

std::string missing(const Saved& saved, const FamilyRules& own, const FamilyRules& asked) {
  const auto wanted = divided(asked, saved, own);
  for (const Table table : kTables) {
    const auto declared = own_chains(wanted[table]);
    if (own_chains_of(saved[table]) != std::set<std::string>(declared.begin(), declared.end()))
      return fmt::format("the chains of table {} are not the wanted ones", name_of(table));
    const auto is = ordered(own[table]), want = ordered(wanted[table]);
    for (const auto& [chain, rules] : want) {
      const auto found = is.find(chain);
      const size_t count = found == is.end() ? 0 : found->second.size();
      if (count != rules.size()) return fmt::format("chain {} of table {} has {} of {} rules", chain, name_of(table), count, rules.size());
    }
  }
  return {};
}

}  // namespace iptables
