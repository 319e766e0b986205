#include "init/native.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <optional>

#include "init/nft_dump.h"
#include "init/program.h"
#include "iptables/nft.h"

namespace init {
namespace {
const std::vector<std::string> kEnvironment{fmt::format("PATH={}", kPath), "LC_ALL=C"};
}  // namespace

std::vector<std::string> native_tables() {
  if (const auto tables = nft_tables()) {
    std::vector<std::string> own;
    for (const auto& table : *tables)
      if (iptables::is_own_nft_table(table.name)) own.push_back(fmt::format("{} {}", table.family, table.name));
    return own;
  }
  const auto path = find_program("nft");
  if (path.empty()) return {};
  const std::vector<std::string> arguments{"list", "tables"};
  const auto done = run_program(path, arguments, kEnvironment, {});
  std::vector<std::string> out;
  if (!done || done->status != 0) return out;
  for (std::string_view rest = done->out; !rest.empty();) {
    auto line = rest.substr(0, rest.find('\n'));
    rest.remove_prefix(std::min(rest.size(), line.size() + 1));
    constexpr std::string_view kPrefix = "table ";
    if (line.starts_with(kPrefix) && iptables::is_own_nft_table(line.substr(line.rfind(' ') + 1)))
      out.emplace_back(line.substr(kPrefix.size()));
  }
  return out;
}

std::set<uint32_t> marks_in(std::string_view listing) {
  constexpr std::string_view kSet = "meta mark set 0x";
  constexpr uint32_t kSelfCall = 1338;
  std::set<uint32_t> out;
  for (auto at = listing.find(kSet); at != std::string_view::npos; at = listing.find(kSet, at + 1)) {
    uint32_t mark = 0;
    std::from_chars(listing.data() + at + kSet.size(), listing.data() + listing.size(), mark, 16);
    if (mark && mark != kSelfCall) out.insert(mark);
  }
  return out;
}

std::set<uint32_t> native_marks(const std::string& table) {
  const auto space = table.find(' ');
  const std::vector<std::string> arguments{"list", "table", table.substr(0, space), table.substr(space + 1)};
  const auto path = find_program("nft");
  const auto done = path.empty() ? std::expected<Finished, std::string>(Finished{}) : run_program(path, arguments, kEnvironment, {});
  return done ? marks_in(done->out) : std::set<uint32_t>{};
}

std::vector<std::pair<std::string, std::string>> tproxy_rules_in(std::string_view listing) {
  constexpr std::string_view kJump = "jump istio-tproxy", kHandle = "# handle ";
  std::vector<std::pair<std::string, std::string>> out;
  std::string_view chain;
  while (!listing.empty()) {
    auto line = listing.substr(0, listing.find('\n'));
    listing.remove_prefix(std::min(listing.size(), line.size() + 1));
    line.remove_prefix(std::min(line.size(), line.find_first_not_of("\t ")));
    if (line.starts_with("chain ")) chain = line.substr(6, line.find(' ', 6) - 6);
    const auto handle = line.find(kHandle);
    if (line.find(kJump) != std::string_view::npos && handle != std::string_view::npos)
      out.emplace_back(chain, line.substr(handle + kHandle.size()));
  }
  return out;
}

std::string without_new_ones(const std::string& table) {
  const auto space = table.find(' ');
  const std::vector<std::string> arguments{"--handle", "list", "table", table.substr(0, space), table.substr(space + 1)};
  const auto path = find_program("nft");
  const auto done = path.empty() ? std::expected<Finished, std::string>(Finished{}) : run_program(path, arguments, kEnvironment, {});
  std::string out;
  if (!done) return out;
  for (const auto& [chain, handle] : tproxy_rules_in(done->out)) out += fmt::format("delete rule {} {} handle {}\n", table, chain, handle);
  return out;
}

namespace {

struct NftChain {
  std::string_view name, hook;  // "type filter hook input priority filter; policy drop;", empty where packets only come by a jump
  std::vector<std::string_view> rules;
};

std::vector<NftChain> chains_in(std::string_view listing) {
  std::vector<NftChain> out;
  bool inside = false;
  while (!listing.empty()) {
    auto line = listing.substr(0, listing.find('\n'));
    listing.remove_prefix(std::min(listing.size(), line.size() + 1));
    line.remove_prefix(std::min(line.size(), line.find_first_not_of("\t ")));
    if (line.starts_with("chain ")) {
      out.push_back({.name = line.substr(6, line.find(' ', 6) - 6), .hook = {}, .rules = {}});
      inside = true;
    } else if (line.starts_with('}')) {
      inside = false;
    } else if (inside && line.starts_with("type ")) {
      out.back().hook = line;
    } else if (inside && !line.empty()) {
      out.back().rules.push_back(line);
    }
  }
  return out;
}

// A rule as words: "{ 80, 443 }" is one, and so are a name in quotes and what a counter has counted.
std::vector<std::string_view> words_of(std::string_view rule) {
  std::vector<std::string_view> out;
  while (true) {
    rule.remove_prefix(std::min(rule.size(), rule.find_first_not_of(' ')));
    if (rule.empty()) return out;
    const bool list = rule.starts_with('{'), quoted = rule.starts_with('"');
    const auto end = list ? rule.find('}') : quoted ? rule.find('"', 1) : rule.find(' ');
    const auto word = rule.substr(0, list || quoted ? end == std::string_view::npos ? end : end + 1 : end);
    rule.remove_prefix(word.size());
    if (word == "counter" && rule.starts_with(" packets ")) {
      const auto bytes = rule.find(" bytes ");
      rule.remove_prefix(bytes == std::string_view::npos ? 0 : std::min(rule.size(), rule.find(' ', bytes + 7)));
      continue;
    }
    if (word != "counter") out.push_back(word);
  }
}

// "80", "80-90", "{ 80, 443-450 }". Nothing: a set, or whatever else is to be found elsewhere.
std::optional<bool> has_port(std::string_view ports, uint16_t port) {
  bool found = false;
  while (!ports.empty()) {
    const auto from = ports.find_first_not_of("{ ,}");
    if (from == std::string_view::npos) break;
    ports.remove_prefix(from);
    const auto item = ports.substr(0, ports.find_first_of(" ,}"));
    ports.remove_prefix(item.size());
    const auto dash = item.find('-');
    const auto number = [](std::string_view text) -> std::optional<unsigned> {
      unsigned value = 0;
      const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
      return error == std::errc{} && end == text.data() + text.size() ? std::optional(value) : std::nullopt;
    };
    const auto first = number(item.substr(0, dash)), last = dash == std::string_view::npos ? first : number(item.substr(dash + 1));
    if (!first || !last) return std::nullopt;
    found = found || (*first <= port && port <= *last);
  }
  return found;
}

// The way of one connection through one table of somebody else.
class NftWalk {
 public:
  NftWalk(std::string_view listing, const NftWay& way) : chains_(chains_in(listing)), way_(way) {}

  std::string run() {
    for (const auto& chain : chains_) {
      const bool arrives = chain.hook.find("hook input") != std::string_view::npos;
      if (!arrives && chain.hook.find(way_.outbound ? "hook output" : "hook prerouting") == std::string_view::npos) continue;
      // What was turned arrives with its new port; before, that depends on whether the chain comes before the one that turns.
      ports_.assign({way_.turned ? way_.turned : way_.port});
      if (!arrives && way_.turned) ports_.push_back(way_.port);
      by_lo_ = arrives && way_.outbound;
      const auto end = visit(chain, 0);
      if (end == End::kGoesOn && chain.hook.find("policy drop") != std::string_view::npos) note(chain, chain.hook);
      if (!found_.empty()) return found_;
    }
    return {};
  }

 private:
  enum class End : uint8_t { kGoesOn, kPassed, kFound };

  void note(const NftChain& chain, std::string_view rule) { found_ = fmt::format("chain {}, rule \"{}\"", chain.name, rule); }

  End visit(const NftChain& chain, int depth) {
    constexpr int kDeepest = 16;  // as the kernel
    for (const auto rule : chain.rules) {
      const auto words = words_of(rule);
      const auto applies = matches(words);
      if (applies == false) continue;
      const auto verdict = verdict_of(words);
      if (verdict == words.end()) continue;
      const bool jumps = *verdict == "jump" || *verdict == "goto";
      if (!jumps && *verdict != "accept" && *verdict != "return") return note(chain, rule), End::kFound;
      if (jumps && verdict + 1 != words.end() && depth < kDeepest) {
        const auto next = std::ranges::find(chains_, *(verdict + 1), &NftChain::name);
        const auto end = next == chains_.end() ? End::kGoesOn : visit(*next, depth + 1);
        if (end == End::kFound || (end == End::kPassed && applies)) return end;
      }
      if (applies && *verdict == "accept") return End::kPassed;
      if (applies && (*verdict == "return" || *verdict == "goto")) return End::kGoesOn;
    }
    return End::kGoesOn;
  }

  using Words = std::vector<std::string_view>;

  // "dnat" is a condition as well: "ct status dnat".
  static Words::const_iterator verdict_of(const Words& words) {
    static constexpr std::string_view kVerdicts[] = {"accept", "drop", "reject", "return", "jump", "goto", "redirect", "notrack"};
    for (auto at = words.begin(); at != words.end(); ++at) {
      const auto next = at + 1 == words.end() ? std::string_view() : *(at + 1);
      const bool turns = *at == "dnat" && (next == "to" || next == "ip" || next == "ip6");
      if (turns || std::ranges::find(kVerdicts, *at) != std::end(kVerdicts)) return at;
    }
    return words.end();
  }

  // Nothing: there is a condition that was not understood.
  std::optional<bool> matches(const Words& words) const {
    const auto end = verdict_of(words);
    bool sure = true;
    for (auto at = words.begin(); at != end; ++at) {
      const auto left = static_cast<size_t>(end - at);
      const auto is = [&](size_t ahead, std::string_view word) {
        return left > ahead && *(at + static_cast<std::ptrdiff_t>(ahead)) == word;
      };
      if (is(0, "udp") || is(0, "icmp") || is(0, "icmpv6") || is(0, "sctp")) return false;
      if ((is(0, "ip") && !way_.ipv4) || (is(0, "ip6") && way_.ipv4)) return false;
      if ((is(0, "tcp") || is(0, "th")) && is(1, "dport") && left > 2) {
        const bool negated = is(2, "!=");
        const auto yes = left > (negated ? 3u : 2u) ? any_port(*(at + (negated ? 3 : 2)), negated) : std::nullopt;
        if (yes == false) return false;
        sure = sure && yes;
        at += std::min<std::ptrdiff_t>(negated ? 3 : 2, end - at - 1);
      } else if ((is(0, "iif") || is(0, "iifname")) && (is(1, "\"lo\"") || is(1, "lo"))) {
        if (!by_lo_) return false;
        ++at;
      } else {
        sure = false;
      }
    }
    return sure ? std::optional(true) : std::nullopt;
  }

  // With two ports that it may have, only an answer that holds for both is one.
  std::optional<bool> any_port(std::string_view list, bool negated) const {
    std::optional<bool> out;
    for (const auto port : ports_) {
      const auto yes = has_port(list, port);
      if (!yes || (out && *out != (*yes != negated))) return std::nullopt;
      out = *yes != negated;
    }
    return out;
  }

  const std::vector<NftChain> chains_;
  const NftWay way_;
  std::vector<uint16_t> ports_;  // that it may have in the chain that is looked at
  bool by_lo_ = false;
  std::string found_;
};

}  // namespace

std::string deciding_rule_in(std::string_view listing, const NftWay& way) { return NftWalk(listing, way).run(); }

std::string foreign_nft_rule(const NftWay& way) {
  const auto path = find_program("nft");
  const auto tables = nft_tables();
  if (path.empty() || !tables) return {};
  for (const auto& table : *tables) {
    static constexpr std::string_view kXtables[] = {"raw", "mangle", "nat", "filter", "security"};  // iptables-nft has been asked
    const bool other_family = table.family != "inet" && table.family != (way.ipv4 ? "ip" : "ip6");
    const bool known = table.family != "inet" && std::ranges::find(kXtables, table.name) != std::end(kXtables);
    if (other_family || known || iptables::is_own_nft_table(table.name)) continue;
    const std::vector<std::string> arguments{"list", "table", table.family, table.name};
    const auto done = run_program(path, arguments, kEnvironment, {});
    const auto rule = done ? deciding_rule_in(done->out, way) : "";
    if (!rule.empty())
      return fmt::format("a rule that is not ours may decide first: table {} {}, {} (nft)", table.family, table.name, rule);
  }
  return {};
}

std::expected<void, std::string> feed_nft(const std::string& text) {
  const auto path = find_program("nft");
  if (path.empty()) return std::unexpected("the program nft is not installed; install the package nftables");
  const std::vector<std::string> arguments{"-f", "-"};
  const auto done = run_program(path, arguments, kEnvironment, text);
  if (!done) return std::unexpected(done.error());
  if (done->status == 0) return {};
  return std::unexpected(
      fmt::format("{} refused the rules: {}", path, done->err.empty() ? fmt::format("exit {}", done->status) : done->err));
}

}  // namespace init
