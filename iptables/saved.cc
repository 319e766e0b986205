#include <algorithm>
#include <charconv>
#include <optional>
#include <set>

#include <fmt/format.h>

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

// The interfaces by which rules of built-in chains are known as ours.
struct Signs {
  std::set<std::string, std::less<>> outputs;   // excluded interfaces: bare RETURNs right before our jump in nat OUTPUT
  std::set<std::string, std::less<>> virtuals;  // interfaces whose traffic PREROUTING sends to ISTIO_REDIRECT
};

Signs signs_of(const Saved& saved) {
  Signs out;
  std::vector<std::string_view> pending;
  for (const auto& rule : saved[Table::kNat].rules) {
    const auto w = words(rule.spec);
    if (rule.chain == "PREROUTING" && w.size() >= 4 && w[0] == "-d" && w[2] == "-i" && jumps_to_own_chain(rule.spec))
      out.virtuals.emplace(w[3]);
    if (rule.chain == "PREROUTING" && w.size() >= 4 && w[0] == "-i" && jumps_to_own_chain(rule.spec)) out.virtuals.emplace(w[1]);
    if (rule.chain != "OUTPUT") continue;
    const auto nic = bare_interface(rule.spec, "-o");
    if (!nic.empty())
      pending.push_back(nic);
    else if (rule.spec == "-j ISTIO_OUTPUT")
      out.outputs.insert(pending.begin(), pending.end());
    else
      pending.clear();
  }
  return out;
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

FamilyRules own_rules(const Saved& saved, const FamilyRules& hint) {
  const Signs signs = signs_of(saved);
  const auto marks = marks_of(saved);
  FamilyRules out;
  for (const Table table : kTables) {
    std::multiset<std::string> hinted;
    for (const auto& rule : hint[table])
      if (is_builtin_chain(rule.chain)) hinted.insert(rule.chain + ' ' + canonical(rule.spec));
    const bool in_use = std::ranges::any_of(saved[table].chains, [](const auto& c) { return is_own_chain(c); });
    for (const auto& rule : saved[table].rules) {
      const auto in = bare_interface(rule.spec, "-i"), outgoing = bare_interface(rule.spec, "-o");
      bool own = is_own_chain(rule.chain) || (is_builtin_chain(rule.chain) && jumps_to_own_chain(rule.spec));
      if (in_use && is_builtin_chain(rule.chain) && !own) {
        // Only as many as these options make: a second, equal rule is somebody else's.
        const auto same = hinted.find(rule.chain + ' ' + canonical(rule.spec));
        own = same != hinted.end() || (table == Table::kMangle && is_tproxy_rule(rule, marks)) ||
              (rule.chain == "OUTPUT" && signs.outputs.contains(outgoing)) ||
              (rule.chain == "PREROUTING" && (signs.outputs.contains(in) || (table == Table::kNat && signs.virtuals.contains(in))));
        if (same != hinted.end()) hinted.erase(same);
      }
      if (own) out[table].push_back(rule);
    }
  }
  return out;
}

}  // namespace iptables
