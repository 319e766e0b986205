#include "iptables/nft.h"

#include <algorithm>
#include <map>
#include <vector>

#include <fmt/format.h>

#include "iptables/clauses.h"

namespace iptables {
namespace {

std::string lower(std::string_view text) {
  std::string out(text);
  for (char& c : out) c = static_cast<char>(c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c);
  return out;
}

// ISTIO_IN_REDIRECT → istio-in-redirect, PREROUTING → prerouting
std::string chain_name(std::string_view chain) {
  auto out = lower(chain);
  std::ranges::replace(out, '_', '-');
  return out;
}

// One rule in the vocabulary of rules.cc, option by option; what that file does not write is not understood here.
class Translation {
 public:
  Translation(std::string_view spec, bool ipv4) : clauses_(clauses_of(spec)), ip_(ipv4 ? "ip" : "ip6") {}

  std::string text() && {
    for (const auto& clause : clauses_.matches) match(clause);
    // A protocol that no port names is a match of its own; REDIRECT and TPROXY need it in any case.
    if (!protocol_.empty() && !port_seen_) out_.insert(0, fmt::format("meta l4proto {} ", protocol_));
    return fmt::format("{}counter {}", out_, verdict());
  }

 private:
  void add(std::string_view key, std::string_view value, bool negated) {
    out_ += fmt::format("{} {}{} ", key, negated ? "!= " : "", value);
  }
  static std::string dashed(std::string_view range) {
    std::string out(range);
    std::ranges::replace(out, ':', '-');
    return out;
  }
  static std::string interface_pattern(std::string_view name) {
    return name.ends_with('+') ? fmt::format("\"{}*\"", name.substr(0, name.size() - 1)) : fmt::format("\"{}\"", name);
  }

  void match(const Clause& c) {
    const auto plain = [&](std::string_view key, std::string_view value) { add(key, value, c.negated); };
    if (c.option == "-p")
      protocol_ = c.value;
    else if (c.option == "-i")
      plain("iifname", interface_pattern(c.value));
    else if (c.option == "-o")
      plain("oifname", interface_pattern(c.value));
    else if (c.option == "-s")
      plain(fmt::format("{} saddr", ip_), c.value);
    else if (c.option == "-d")
      plain(fmt::format("{} daddr", ip_), c.value);
    else if (c.option == "--uid-owner")
      plain("meta skuid", c.value);
    else if (c.option == "--gid-owner")
      plain("meta skgid", c.value);
    else if (c.option == "--mark")
      plain(c.module == "connmark" ? "ct mark" : "meta mark", c.value);
    else if (c.option == "--ctstate")
      plain(c.value == "DNAT" ? "ct status" : "ct state", lower(c.value));
    else if (c.option == "--syn")
      plain("tcp flags & (fin|syn|rst|ack)", "== syn");
    else if (c.option == "--nowildcard")
      plain("socket wildcard", "<= 1");  // 0 or 1 where there is a socket, no match where there is none
    else if (c.option == "--dports")
      ports(c.value);
    else
      port(c.option.substr(2), c.value, c.negated);
  }
  void port(std::string_view direction, std::string_view value, bool negated) {
    port_seen_ = true;
    add(fmt::format("{} {}", protocol_, direction), dashed(value), negated);
  }
  // Negated everywhere in rules.cc, so a list is one match after the other. Old nft programs on a node stumble over sets.
  void ports(std::string_view list) {
    while (!list.empty()) {
      const auto one = list.substr(0, list.find(','));
      list.remove_prefix(std::min(list.size(), one.size() + 1));
      port("dport", one, true);
    }
  }

  std::string verdict() const {
    const auto& c = clauses_;
    if (is_own_chain(c.target)) return fmt::format("jump {}", chain_name(c.target));
    if (c.target == "REDIRECT") return fmt::format("redirect to :{}", c.setting());
    if (c.target == "MARK") return fmt::format("meta mark set {}", c.setting());
    if (c.target == "CT") return fmt::format("ct zone set {}", c.setting());
    if (c.target == "CONNMARK")
      return c.settings.front().option == "--save-mark" ? "ct mark set meta mark" : "meta mark set ct mark";
    if (c.target == "TPROXY") {
      const auto mark = c.setting("--tproxy-mark");
      return fmt::format("tproxy to :{} meta mark set {} accept", c.setting("--on-port"), mark.substr(0, mark.find('/')));
    }
    return lower(c.target);  // RETURN, ACCEPT, DROP
  }

  const Clauses clauses_;
  const std::string_view ip_;
  std::string_view protocol_;
  bool port_seen_ = false;
  std::string out_;
};

std::string_view hook(Table table, std::string_view chain) {
  switch (table) {
    case Table::kRaw:
      return "type filter";
    case Table::kFilter:
      return "type filter";
    case Table::kMangle:
      return chain == "OUTPUT" ? "type route" : "type filter";  // a new mark must find its route
    case Table::kNat:
      return "type nat";
  }
  return "";
}
int priority(Table table) {
  switch (table) {
    case Table::kRaw:
      return -300;
    case Table::kMangle:
      return -150;
    case Table::kNat:
      return -100;
    case Table::kFilter:
      return 0;
  }
  return 0;
}
// Istio's names; filter, where Istio has no rules, is ours.
std::string table_name(Table table) { return table == Table::kFilter ? "sluice-filter" : fmt::format("istio-proxy-{}", name_of(table)); }

std::string table_text(Table table, bool ipv4, const std::vector<Rule>& rules) {
  const auto name = fmt::format("{} {}", ipv4 ? "ip" : "ip6", table_name(table));
  std::string out = fmt::format("add table {}\n", name);
  std::map<std::string, std::vector<std::string>> chains;
  for (const auto& chain : own_chains(rules)) chains[chain];
  for (const auto& rule : rules) {
    auto& chain = chains[rule.chain];
    const auto at = rule.position ? std::min<size_t>(static_cast<size_t>(rule.position) - 1, chain.size()) : chain.size();
    auto text = Translation(rule.spec, ipv4).text();
    // xt_TPROXY drops what no transparent socket takes; the nft statement lets it pass, uncaptured.
    const auto tproxy = text.find("counter tproxy");
    auto refused = tproxy == std::string::npos ? "" : text.substr(0, tproxy) + "counter drop";
    const auto spot = chain.insert(chain.begin() + static_cast<std::ptrdiff_t>(at), std::move(text));
    if (!refused.empty()) chain.insert(spot + 1, std::move(refused));
  }
  for (const auto& [chain, unused] : chains) {
    const auto base = is_builtin_chain(chain) ? fmt::format(" {{ {} hook {} priority {}; policy accept; }}", hook(table, chain),
                                                            chain_name(chain), priority(table))
                                              : "";
    out += fmt::format("add chain {} {}{}\n", name, chain_name(chain), base);
  }
  for (const auto& [chain, texts] : chains)
    for (const auto& text : texts) out += fmt::format("add rule {} {} {}\n", name, chain_name(chain), text);
  return out;
}

}  // namespace

bool is_own_nft_table(std::string_view name) noexcept {
  return std::ranges::any_of(kTables, [&](Table table) { return name == table_name(table); });
}

std::string nft_text(const RuleSet& rules, std::span<const std::string> stale) {
  std::string out;
  for (const auto& table : stale) out += fmt::format("delete table {}\n", table);
  for (const bool ipv4 : {true, false})
    for (const Table table : kTables)
      if (!rules.family(ipv4)[table].empty()) out += table_text(table, ipv4, rules.family(ipv4)[table]);
  return out;
}

}  // namespace iptables
