#include "iptables/nft.h"

#include <algorithm>
#include <map>
#include <utility>
#include <vector>

#include <fmt/format.h>

namespace iptables {
namespace {

// One rule in the vocabulary of rules.cc, option by option; what that file does not write is not understood here.
class Translation {
 public:
  Translation(std::string_view spec, bool ipv4) : rest_(spec), ip_(ipv4 ? "ip" : "ip6") {}

  std::string text() && {
    while (true) {
      const auto option = next();
      if (option.empty()) break;
      if (option == "!")
        negated_ = true;
      else if (option == "-j")
        target(next());
      else if (option == "-m")
        module_ = next();
      else
        match(option, next());
    }
    // A protocol that no port names is a match of its own; REDIRECT and TPROXY need it in any case.
    if (!protocol_.empty() && !port_seen_) out_.insert(0, fmt::format("meta l4proto {} ", protocol_));
    return fmt::format("{}counter {}", out_, verdict_);
  }

 private:
  std::string_view next() {
    const auto from = rest_.find_first_not_of(' ');
    if (from == std::string_view::npos) return rest_ = {};
    rest_.remove_prefix(from);
    const auto word = rest_.substr(0, rest_.find(' '));
    rest_.remove_prefix(word.size());
    return word;
  }
  void add(std::string_view key, std::string_view value) {
    out_ += fmt::format("{} {}{} ", key, std::exchange(negated_, false) ? "!= " : "", value);
  }
  static std::string dashed(std::string_view range) {
    std::string out(range);
    std::ranges::replace(out, ':', '-');
    return out;
  }
  static std::string interface_pattern(std::string_view name) {
    return name.ends_with('+') ? fmt::format("\"{}*\"", name.substr(0, name.size() - 1)) : fmt::format("\"{}\"", name);
  }
  static std::string lower(std::string_view text) {
    std::string out(text);
    for (char& c : out) c = static_cast<char>(c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c);
    return out;
  }

  void match(std::string_view option, std::string_view value) {
    if (option == "-p")
      protocol_ = value;
    else if (option == "-i")
      add("iifname", interface_pattern(value));
    else if (option == "-o")
      add("oifname", interface_pattern(value));
    else if (option == "-s")
      add(fmt::format("{} saddr", ip_), value);
    else if (option == "-d")
      add(fmt::format("{} daddr", ip_), value);
    else if (option == "--uid-owner")
      add("meta skuid", value);
    else if (option == "--gid-owner")
      add("meta skgid", value);
    else if (option == "--mark")
      add(module_ == "connmark" ? "ct mark" : "meta mark", value);
    else if (option == "--ctstate")
      add("ct state", lower(value));
    else if (option == "--dports")
      ports(value);
    else
      port(option.substr(2), value);
  }
  void port(std::string_view direction, std::string_view value) {
    port_seen_ = true;
    add(fmt::format("{} {}", protocol_, direction), dashed(value));
  }
  // Negated everywhere in rules.cc, so a list is one match after the other. Old nft programs on a node stumble over sets.
  void ports(std::string_view list) {
    while (!list.empty()) {
      const auto one = list.substr(0, list.find(','));
      list.remove_prefix(std::min(list.size(), one.size() + 1));
      negated_ = true;
      port("dport", one);
    }
    negated_ = false;
  }

  void target(std::string_view name) {
    const auto option = next(), value = next();
    if (is_own_chain(name))
      verdict_ = fmt::format("jump {}", chain_name(name));
    else if (name == "RETURN" || name == "ACCEPT" || name == "DROP")
      verdict_ = lower(name);
    else if (name == "REDIRECT")
      verdict_ = fmt::format("redirect to :{}", value);
    else if (name == "MARK")
      verdict_ = fmt::format("meta mark set {}", value);
    else if (name == "CT")
      verdict_ = fmt::format("ct zone set {}", value);
    else if (name == "CONNMARK")
      verdict_ = option == "--save-mark" ? "ct mark set meta mark" : "meta mark set ct mark";
    else if (name == "TPROXY")
      verdict_ = fmt::format("tproxy to :{} meta mark set {} accept", tproxy_port(), value.substr(0, value.find('/')));
  }
  std::string_view tproxy_port() {
    next();  // --on-port
    return next();
  }

 public:
  // ISTIO_IN_REDIRECT → istio-in-redirect, PREROUTING → prerouting
  static std::string chain_name(std::string_view chain) {
    auto out = lower(chain);
    std::ranges::replace(out, '_', '-');
    return out;
  }

 private:
  std::string_view rest_, ip_, module_, protocol_;
  bool negated_ = false, port_seen_ = false;
  std::string out_, verdict_;
};

std::string_view hook(Table table, std::string_view chain) {
  switch (table) {
    case Table::kRaw:
      return "type filter";
    case Table::kMangle:
      return chain == "OUTPUT" ? "type route" : "type filter";  // a new mark must find its route
    case Table::kNat:
      return "type nat";
  }
  return "";
}
int priority(Table table) { return table == Table::kRaw ? -300 : table == Table::kMangle ? -150 : -100; }

std::string table_text(Table table, bool ipv4, const std::vector<Rule>& rules) {
  const auto name = fmt::format("{} istio-proxy-{}", ipv4 ? "ip" : "ip6", name_of(table));
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
                                                            Translation::chain_name(chain), priority(table))
                                              : "";
    out += fmt::format("add chain {} {}{}\n", name, Translation::chain_name(chain), base);
  }
  for (const auto& [chain, texts] : chains)
    for (const auto& text : texts) out += fmt::format("add rule {} {} {}\n", name, Translation::chain_name(chain), text);
  return out;
}

}  // namespace

bool is_own_nft_table(std::string_view name) noexcept {
  return name == "istio-proxy-nat" || name == "istio-proxy-mangle" || name == "istio-proxy-raw";
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
