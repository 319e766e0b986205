#include "iptables/trace.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <map>

#include "iptables/match.h"

namespace iptables {
namespace {

uint32_t number_of(std::string_view text) {  // "1337", or as the kernel prints marks "0x539/0xffffffff"
  const bool hex = text.starts_with("0x");
  if (hex) text.remove_prefix(2);
  uint32_t value = 0;
  std::from_chars(text.data(), text.data() + text.size(), value, hex ? 16 : 10);
  return value;
}

// One walk through the hooks. The packet changes on the way: its mark, and after REDIRECT its destination.
class Walk {
 public:
  Walk(const FamilyRules& rules, const Flow& flow) : rules_(rules), flow_(flow), packet_(packet_of(flow)) {
    for (const Table table : kTables)
      for (const auto& rule : rules_[table]) {
        auto& chain = chains_[{table, rule.chain}];
        const auto at = rule.position ? std::min<size_t>(static_cast<size_t>(rule.position) - 1, chain.size()) : chain.size();
        chain.insert(chain.begin() + static_cast<std::ptrdiff_t>(at), rule);
      }
  }

  Verdict run() && {
    if (flow_.outbound) {
      for (const Table table : kTables)
        if (!settled_) enter(table, "OUTPUT");
      if (settled_ && out_.kind == Verdict::Kind::kDrop) return std::move(out_);
      // What stays in the pod, and what REDIRECT turned to us, comes in again through lo. nat has had its say.
      if (flow_.interface != "lo" && !settled_) return std::move(out_);
      packet_.sends = false;
      packet_.interface = "lo";
      const auto before = std::pair(settled_, out_.decider);
      settled_ = false;
      for (const Table table : {Table::kRaw, Table::kMangle})
        if (!settled_) enter(table, "PREROUTING");
      if (!settled_) std::tie(settled_, out_.decider) = before;
      return arrive();
    }
    for (const Table table : kTables)
      if (!settled_) enter(table, "PREROUTING");
    return arrive();
  }

 private:
  // What the proxy gets passes INPUT too, where nothing is decided about it any more except that it has to wait.
  Verdict arrive() {
    const auto decider = out_.decider;
    const auto kind = out_.kind;
    if (kind == Verdict::Kind::kRedirect) {
      packet_.sends = false;
      visit(Table::kFilter, "INPUT");
      out_.held = std::ranges::any_of(out_.path, [](const Verdict::Step& step) { return step.rule.chain == kHoldChain; });
    }
    out_.decider = decider;
    out_.kind = kind;
    return std::move(out_);
  }

  enum class Next : uint8_t { kGoOn, kReturn, kStop };

  void enter(Table table, const std::string& chain) {
    const auto how = visit(table, chain);
    if (how == Next::kStop && (out_.kind != Verdict::Kind::kUntouched)) settled_ = true;
  }

  Next visit(Table table, const std::string& chain) {
    const auto found = chains_.find({table, chain});
    if (found == chains_.end()) return Next::kGoOn;
    for (const auto& rule : found->second) {
      const auto clauses = clauses_of(rule.spec);
      if (!std::ranges::all_of(clauses.matches, [&](const Clause& c) { return matches(c, packet_).value_or(false); })) continue;
      const auto next = act(table, rule, clauses);
      if (next == Next::kStop) return next;
      if (next == Next::kReturn) return is_builtin_chain(chain) ? Next::kStop : Next::kGoOn;
    }
    return Next::kGoOn;
  }

  Next settle(Verdict::Kind kind, uint32_t port = 0) {
    out_.kind = kind;
    out_.port = static_cast<uint16_t>(port);
    return Next::kStop;
  }

  Next act(Table table, const Rule& rule, const Clauses& c) {
    out_.path.push_back({table, rule});
    const auto here = out_.path.size() - 1;
    if (is_own_chain(c.target)) return visit(table, std::string(c.target)) == Next::kStop ? Next::kStop : Next::kGoOn;
    if (c.target == "MARK") packet_.mark = number_of(c.setting());
    if (c.target == "RETURN" || c.target == "ACCEPT") {
      // Only nat, and mangle with TPROXY, could have captured; a RETURN there is what keeps the flow as it is.
      if (out_.kind == Verdict::Kind::kUntouched) out_.decider = here;
      return c.target == "RETURN" ? Next::kReturn : Next::kStop;
    }
    if (c.target == "DROP") return out_.decider = here, settle(Verdict::Kind::kDrop);
    if (c.target == "TPROXY") {
      out_.decider = here;
      const auto mark = c.setting("--tproxy-mark");
      packet_.mark = number_of(mark.substr(0, mark.find('/')));
      return settle(Verdict::Kind::kTproxy, number_of(c.setting("--on-port")));
    }
    if (c.target == "REDIRECT") {
      out_.decider = here;
      // Outbound to loopback; inbound to the address of the interface, which no rule asks for afterwards.
      packet_.to.port = static_cast<uint16_t>(number_of(c.setting()));
      if (packet_.sends) packet_.to.ip = base::Ip::loopback(packet_.to.ip.v4);
      packet_.redirected = true;
      return settle(Verdict::Kind::kRedirect, packet_.to.port);
    }
    return Next::kGoOn;  // CT, MARK, CONNMARK
  }

  const FamilyRules& rules_;
  const Flow& flow_;
  std::map<std::pair<Table, std::string>, std::vector<Rule>> chains_;
  Packet packet_;
  bool settled_ = false;
  Verdict out_;
};

}  // namespace

Verdict trace(const FamilyRules& rules, const Flow& flow) { return Walk(rules, flow).run(); }

}  // namespace iptables
