#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <map>
#include <optional>
#include <set>

#include "iptables/clauses.h"
#include "iptables/plan.h"

namespace iptables {
namespace {

std::vector<std::string_view> words(std::string_view text) {
  std::vector<std::string_view> out;
  while (true) {
    const auto from = text.find_first_not_of(' ');
    if (from == std::string_view::npos) return out;
    text.remove_prefix(from);
    out.push_back(text.substr(0, text.find(' ')));
    text.remove_prefix(out.back().size());
  }
}

std::optional<uint32_t> number(std::string_view text) {
  const bool prefixed = text.starts_with("0x");
  uint32_t value = 0;
  if (prefixed) text.remove_prefix(2);
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, prefixed ? 16 : 10);
  return error == std::errc{} && end == text.data() + text.size() ? std::optional(value) : std::nullopt;
}

std::string hex(std::string_view text) {
  const auto value = number(text);
  return value ? fmt::format("{:#x}", *value) : std::string(text);
}

// "1337", "0x539/0xffffffff" → "0x539/0xffffffff"
std::string with_mask(std::string_view text) {
  const auto slash = text.find('/');
  return fmt::format("{}/{}", hex(text.substr(0, slash)), slash == std::string_view::npos ? "0xffffffff" : hex(text.substr(slash + 1)));
}

// One match or target with its value, in the save's spelling; nothing for what the save adds by itself.
std::optional<std::string> atom(bool negated, std::string_view module, std::string_view option, std::string value) {
  if (option == "--set-mark") option = "--set-xmark";
  if (option == "--to-port") option = "--to-ports";
  if (option == "--syn") {
    option = "--tcp-flags";
    value = "FIN,SYN,RST,ACK SYN";
  }
  if (option == "--set-xmark" || option == "--mark" || option == "--tproxy-mark") value = with_mask(value);
  if (option == "--on-ip" && (value == "0.0.0.0" || value == "::")) return {};
  if ((option == "--nfmask" || option == "--ctmask") && value == "0xffffffff") return {};
  if (option == "-s" || option == "-d") {
    if (const auto cidr = base::Cidr::parse(value)) {
      if (cidr->length == 0 && !negated) return {};
      value = cidr->text();
    }
  }
  const bool own_name = option.starts_with("--") && !module.empty();
  return fmt::format("{}{}{}{} {}", negated ? "! " : "", own_name ? module : "", own_name ? " " : "", option, value);
}

// What Istio puts into the built-in chains of mangle in TPROXY mode, given a mark that our chains use. 0x53a is fixed there.
bool is_tproxy_rule(const Rule& rule, const std::set<uint32_t>& marks) {
  const auto text = canonical(rule.spec);
  const auto is = [&](std::string_view form, uint32_t mark) { return text == canonical(fmt::format(fmt::runtime(form), mark)); };
  for (const auto mark : marks) {
    if (rule.chain == "PREROUTING" && is("-p tcp -m mark --mark {} -j CONNMARK --save-mark", mark)) return true;
    if (rule.chain == "OUTPUT" && is("-p tcp -o lo -m mark --mark {} -j RETURN", mark)) return true;
    if (rule.chain == "OUTPUT" && is("-p tcp -m connmark --mark {} -j CONNMARK --restore-mark", mark)) return true;
  }
  const auto has = [&](std::string_view part) { return text.find(part) != std::string::npos; };
  return rule.chain == "OUTPUT" && has("MARK --set-xmark 0x53a/0xffffffff") && has("-o lo") && has("owner --");
}

// "-i NIC -j RETURN" → NIC; empty for any other form.
std::string_view bare_interface(std::string_view spec, std::string_view flag) {
  const auto w = words(spec);
  return w.size() == 4 && w[0] == flag && w[2] == "-j" && w[3] == "RETURN" ? w[1] : std::string_view{};
}

bool jumps_to_own_chain(std::string_view spec) {
  const auto w = words(spec);
  for (size_t i = 0; i + 1 < w.size(); ++i)
    if (w[i] == "-j" || w[i] == "-g") return is_own_chain(w[i + 1]);
  return false;
}

// The rules of excluded interfaces as Istio makes them: NIC → the place of the bare RETURN that stands right before the first
// rule that `anchor` knows as ours, apart from other such RETURNs; the nearest one where there are two. Without any rule of ours
// in the chain there is no answer. What stands before a jump to kOthersChain is somebody else's.
using Exclusions = std::map<std::string_view, size_t>;
template <class Anchor>
std::optional<Exclusions> right_before(const std::vector<Rule>& rules, std::string_view chain, Anchor anchor) {
  Exclusions out;
  for (size_t i = 0; i < rules.size(); ++i) {
    if (rules[i].chain != chain) continue;
    const bool divides = clauses_of(rules[i].spec).target == kOthersChain;
    if (!divides && anchor(rules[i])) return out;
    const auto nic = bare_interface(rules[i].spec, chain == "OUTPUT" ? "-o" : "-i");
    if (nic.empty())
      out.clear();
    else
      out[nic] = i;
  }
  return std::nullopt;
}

void note_pairs(const Exclusions& in, const Exclusions& out, std::set<size_t>& places) {
  for (const auto& [nic, place] : out)
    if (const auto other = in.find(nic); other != in.end()) places.insert({place, other->second});
}

// Where in mangle and nat the rules of excluded interfaces stand. One alone, in or out, is somebody else's, and so is one behind
// our jump.
struct Excluded {
  std::set<size_t> mangle, nat;
};
Excluded excluded_in(const Saved& saved, const std::set<uint32_t>& marks) {
  Excluded out;
  const auto& mangle = saved[Table::kMangle].rules;
  const auto& nat = saved[Table::kNat].rules;
  const auto jump = [](const Rule& rule) { return jumps_to_own_chain(rule.spec); };
  const auto in_tproxy = [&](const Rule& rule) { return jump(rule) || is_tproxy_rule(rule, marks); };
  const auto mangle_in = right_before(mangle, "PREROUTING", in_tproxy), mangle_out = right_before(mangle, "OUTPUT", in_tproxy);
  if (mangle_in && mangle_out) note_pairs(*mangle_in, *mangle_out, out.mangle);
  const auto nat_out = right_before(nat, "OUTPUT", jump);
  if (!nat_out) return out;
  if (const auto nat_in =
          right_before(nat, "PREROUTING", [](const Rule& rule) { return clauses_of(rule.spec).target == "ISTIO_INBOUND"; })) {
    note_pairs(*nat_in, *nat_out, out.nat);
    return out;
  }
  // No jump there, as with TPROXY, whose pair in mangle must be whole then, or without inbound ports.
  Exclusions nat_in;
  for (size_t i = 0; i < nat.size(); ++i) {
    const auto nic = nat[i].chain == "PREROUTING" ? bare_interface(nat[i].spec, "-i") : std::string_view{};
    const bool whole = !mangle_in || !mangle_out || (mangle_in->contains(nic) && mangle_out->contains(nic));
    if (!nic.empty() && whole) nat_in.try_emplace(nic, i);
  }
  note_pairs(nat_in, *nat_out, out.nat);
  return out;
}

// Interfaces whose traffic nat sends to ISTIO_REDIRECT: the place of the first bare RETURN of each, which goes with it.
std::set<size_t> virtual_in(const std::vector<Rule>& nat) {
  std::set<std::string_view> sent;
  for (const auto& rule : nat) {
    const auto w = words(rule.spec);
    if (rule.chain != "PREROUTING" || !jumps_to_own_chain(rule.spec)) continue;
    if (w.size() >= 4 && w[0] == "-d" && w[2] == "-i") sent.insert(w[3]);
    if (w.size() >= 4 && w[0] == "-i") sent.insert(w[1]);
  }
  std::set<size_t> out;
  for (size_t i = 0; i < nat.size(); ++i)
    if (nat[i].chain == "PREROUTING" && sent.erase(bare_interface(nat[i].spec, "-i"))) out.insert(i);
  return out;
}

std::string key_of(const Rule& rule) { return fmt::format("{} {}", rule.chain, canonical(rule.spec)); }

std::multiset<std::string> keys_of(const std::vector<Rule>& rules) {
  std::multiset<std::string> out;
  for (const auto& rule : rules)
    if (is_builtin_chain(rule.chain)) out.insert(key_of(rule));
  return out;
}

bool take(std::multiset<std::string>& from, const std::string& key) {
  const auto at = from.find(key);
  if (at == from.end()) return false;
  from.erase(at);
  return true;
}

}  // namespace

bool Saved::has_rules() const noexcept {
  return others || std::ranges::any_of(tables, [](const auto& t) { return !t.rules.empty() || !t.chains.empty(); });
}

bool Saved::has_own_chains() const noexcept {
  return std::ranges::any_of(tables,
                             [](const auto& t) { return std::ranges::any_of(t.chains, [](const auto& c) { return is_own_chain(c); }); });
}

std::set<uint32_t> marks_of(const Saved& saved) {
  std::set<uint32_t> out;
  for (const auto& rule : saved[Table::kMangle].rules) {
    if (!is_own_chain(rule.chain)) continue;
    const auto w = words(rule.spec);
    for (size_t i = 1; i + 1 < w.size(); ++i) {
      if ((w[i] != "--mark" || w[i - 1] == "!") && w[i] != "--set-xmark") continue;
      if (const auto mark = number(w[i + 1].substr(0, w[i + 1].find('/')))) out.insert(*mark);
    }
  }
  return out;
}

Saved parse_saved(std::string_view text) {
  Saved out;
  Saved::Contents* into = nullptr;
  while (!text.empty()) {
    const auto end = text.find('\n');
    const auto line = text.substr(0, end);
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
    const auto space = line.find(' ');
    if (line.starts_with('*')) {
      into = nullptr;
      for (const Table table : kTables)
        if (line.substr(1) == name_of(table)) into = &out[table];
    } else if (line.starts_with(':') && space != std::string_view::npos) {
      const auto chain = line.substr(1, space - 1);
      if (is_builtin_chain(chain)) {
        if (into && line.substr(space + 1).starts_with("DROP")) into->dropping.emplace_back(chain);
        continue;
      }
      if (into)
        into->chains.emplace_back(chain);
      else if (line.substr(space + 1).starts_with('-'))
        out.others = true;
    } else if (line.starts_with("-A ")) {
      const auto chain = line.substr(3, line.find(' ', 3) - 3);
      if (into)
        into->rules.push_back({std::string(chain), 0, std::string(line.substr(std::min(line.size(), 3 + chain.size() + 1)))});
      else
        out.others = true;
    }
  }
  return out;
}

std::string canonical(std::string_view spec) {
  std::vector<std::string> atoms;
  std::string_view module;
  bool negated = false;
  const auto w = words(spec);
  for (size_t i = 0; i < w.size(); ++i) {
    if (w[i] == "!") {
      negated = true;
      continue;
    }
    const auto option = w[i];
    std::string value;
    while (i + 1 < w.size() && !w[i + 1].starts_with('-') && w[i + 1] != "!") value += (value.empty() ? "" : " ") + std::string(w[++i]);
    if (option == "-m")
      module = value == "tcp" || value == "udp" ? std::string_view{} : w[i];  // the protocol implies these two
    else if (auto one = atom(negated, module, option, std::move(value)))
      atoms.push_back(std::move(*one));
    if (option == "-j") module = w[i];
    negated = false;
  }
  std::ranges::sort(atoms);
  return fmt::format("{}", fmt::join(atoms, "; "));
}

FamilyRules own_rules(const Saved& saved, const FamilyRules& hint, const FamilyRules& foreign) {
  const auto marks = marks_of(saved);
  const auto excluded = excluded_in(saved, marks);
  FamilyRules out;
  for (const Table table : kTables) {
    const auto& rules = saved[table].rules;
    const bool in_use = std::ranges::any_of(saved[table].chains, [](const auto& c) { return is_own_chain(c); });
    std::vector<bool> own(rules.size());
    std::set<size_t> known = table == Table::kNat ? virtual_in(rules) : std::set<size_t>{};
    if (table == Table::kNat) known.insert(excluded.nat.begin(), excluded.nat.end());
    if (table == Table::kMangle) known = excluded.mangle;
    // Only as many as these options make: a second, equal rule is somebody else's.
    auto hinted = keys_of(hint[table]);
    const auto others = keys_of(foreign[table]);
    for (size_t i = 0; i < rules.size(); ++i) {
      const bool builtin = is_builtin_chain(rules[i].chain);
      own[i] = is_own_chain(rules[i].chain) || (builtin && jumps_to_own_chain(rules[i].spec));
      if (!own[i] && in_use && builtin) own[i] = known.contains(i) || (table == Table::kMangle && is_tproxy_rule(rules[i], marks));
      if (own[i] && builtin) take(hinted, key_of(rules[i]));
    }
    for (size_t i = 0; i < rules.size(); ++i)
      if (!own[i] && in_use && is_builtin_chain(rules[i].chain)) own[i] = take(hinted, key_of(rules[i]));
    // Which of two equal ones is ours does not matter, for iptables takes the text; how many are does.
    auto free = keys_of(rules);
    for (const auto& key : others) take(free, key);
    for (size_t i = 0; i < rules.size(); ++i)
      if (own[i] && is_builtin_chain(rules[i].chain)) own[i] = take(free, key_of(rules[i]));
    for (size_t i = 0; i < rules.size(); ++i)
      if (own[i]) out[table].push_back(rules[i]);
  }
  return out;
}

FamilyRules foreign_rules(const Saved& saved, const FamilyRules& own) {
  FamilyRules out;
  for (const Table table : kTables) {
    auto ours = keys_of(own[table]);
    for (const auto& rule : saved[table].rules)
      if (is_builtin_chain(rule.chain) && !take(ours, key_of(rule))) out[table].push_back(rule);
  }
  return out;
}

std::set<uint16_t> proxy_ports(const FamilyRules& own) {
  std::set<uint16_t> out;
  for (const Table table : {Table::kNat, Table::kMangle})
    for (const auto& rule : own[table]) {
      const auto w = words(rule.spec);
      for (size_t i = 0; i + 1 < w.size(); ++i) {
        if (w[i] != "--to-ports" && w[i] != "--on-port") continue;
        const auto port = number(w[i + 1]);
        if (port && *port <= 65535) out.insert(static_cast<uint16_t>(*port));
      }
    }
  return out;
}

}  // namespace iptables
