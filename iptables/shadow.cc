#include "iptables/shadow.h"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "iptables/match.h"

namespace iptables {
namespace {

template <size_t N>
bool one_of(std::string_view word, const char* const (&words)[N]) {
  return std::ranges::find(words, word) != std::end(words);
}

// What takes a packet away from the proxy in this table, wherever it stands.
bool takes_away(Table table, const Clauses& c) {
  static constexpr const char* kDrops[] = {"DROP", "REJECT", "TARPIT"};
  static constexpr const char* kTurns[] = {"DNAT", "REDIRECT", "NETMAP"};
  if (one_of(c.target, kDrops)) return true;
  if (table == Table::kNat) return one_of(c.target, kTurns);
  if (table == Table::kMangle) return c.target == "TPROXY";
  // What conntrack does not follow cannot be turned.
  return table == Table::kRaw &&
         (c.target == "NOTRACK" || (c.target == "CT" && !c.settings.empty() && c.settings.front().option == "--notrack"));
}

class Search {
 public:
  Search(const Saved& saved, const FamilyRules& own, const Flow& flow)
      : saved_(saved),
        own_(own),
        packet_(packet_of(flow)) {}

  std::optional<Shadow> run(uint16_t redirect_port) && {
    const auto first = packet_.sends ? "OUTPUT" : "PREROUTING";
    for (const Table table : {Table::kRaw, Table::kMangle, Table::kNat})
      if (builtin(table, first)) return found_;
    if (!redirect_port) return found_;
    // Turned to the proxy: filter OUTPUT sees the new destination, then it comes in by lo.
    packet_.redirected = true;
    packet_.to.port = redirect_port;
    if (packet_.sends) {
      packet_.to.ip = base::Ip::loopback(packet_.to.ip.v4);
      if (builtin(Table::kFilter, "OUTPUT")) return found_;
      packet_.sends = false;
      packet_.interface = "lo";
    }
    for (const Table table : {Table::kMangle, Table::kFilter})
      if (builtin(table, "INPUT")) return found_;
    return found_;
  }

 private:
  enum class Next : uint8_t { kGoOn, kPassed, kTaken };  // kPassed: this table lets it through

  static bool captures(Table table, const Clauses& c) {
    return is_own_chain(c.target) && (table == Table::kNat || (table == Table::kMangle && c.target == "ISTIO_INBOUND"));
  }

  // True: found for certain.
  bool builtin(Table table, std::string_view chain) {
    ours_ =
        std::ranges::any_of(own_[table], [&](const Rule& rule) { return rule.chain == chain && captures(table, clauses_of(rule.spec)); });
    doubt_ = false;
    const auto next = visit(table, chain, 0);
    const auto& dropping = saved_[table].dropping;
    if (next == Next::kGoOn && std::ranges::find(dropping, chain) != dropping.end())
      note({table, {std::string(chain), 0, fmt::format("-P {} DROP", chain)}, !doubt_});
    return found_ && found_->certain;
  }

  Next visit(Table table, std::string_view chain, int depth) {
    for (const auto& rule : saved_[table].rules) {
      // What the kernel takes has no loops; what a damaged save holds may have.
      constexpr int kDeepest = 16;
      if (depth > kDeepest || patience_-- < 0) return Next::kGoOn;
      if (rule.chain != chain || is_own_chain(rule.chain)) continue;
      const auto clauses = clauses_of(rule.spec);
      bool no = false, sure = true;
      for (const auto& clause : clauses.matches) {
        const auto yes = matches(clause, packet_);
        no = no || yes == false;
        sure = sure && yes.has_value();
      }
      if (no) continue;
      if (captures(table, clauses)) return Next::kPassed;
      if (is_own(table, rule)) continue;
      // A condition that was not understood leaves open whether the packet gets any further.
      const bool before = std::exchange(doubt_, doubt_ || !sure);
      const auto next = act(table, rule, clauses, depth);
      // A chain may have let the packet go at a rule that was not understood; only what stands in this chain is over here.
      if (next == Next::kGoOn && !saved_chain(table, clauses.target)) doubt_ = before;
      if (clauses.target == "RETURN" && sure && !is_builtin_chain(chain)) break;
      if (next != Next::kGoOn && sure) return next;
    }
    return Next::kGoOn;
  }

  bool saved_chain(Table table, std::string_view name) {
    const auto& chains = saved_[table].chains;
    return std::ranges::find(chains, name) != chains.end();
  }

  Next act(Table table, const Rule& rule, const Clauses& clauses, int depth) {
    if (takes_away(table, clauses)) return note({table, rule, !doubt_}), Next::kTaken;
    if (clauses.target == "ACCEPT" || clauses.target == "RETURN") {
      // Of no weight where ours do not follow. In a chain of its own RETURN only goes back.
      if (ours_ && (clauses.target == "ACCEPT" || is_builtin_chain(rule.chain))) note({table, rule, !doubt_});
      return Next::kPassed;
    }
    return saved_chain(table, clauses.target) ? visit(table, clauses.target, depth + 1) : Next::kGoOn;
  }

  bool is_own(Table table, const Rule& rule) const {
    return std::ranges::any_of(own_[table], [&](const Rule& own) { return own.chain == rule.chain && own.spec == rule.spec; });
  }
  void note(Shadow shadow) {
    if (!found_ || (shadow.certain && !found_->certain)) found_ = std::move(shadow);
  }

  const Saved& saved_;
  const FamilyRules& own_;
  Packet packet_;
  bool ours_ = false, doubt_ = false;
  int patience_ = 200'000;  // rules looked at; a node has some ten thousand
  std::optional<Shadow> found_;
};

}  // namespace

std::optional<Shadow> find_shadow(const Saved& saved, const FamilyRules& own, const Flow& flow, uint16_t redirect_port) {
  return Search(saved, own, flow).run(redirect_port);
}

std::string text(const Shadow& shadow) {
  const auto policy = shadow.rule.spec.starts_with("-P ");
  return fmt::format("table {}, chain {}, {} \"{}\"", name_of(shadow.table), shadow.rule.chain, policy ? "policy" : "rule",
                     shadow.rule.spec);
}

}  // namespace iptables
