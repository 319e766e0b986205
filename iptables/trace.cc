#include "iptables/trace.h"

#include <algorithm>
#include <charconv>
#include <map>

#include <fmt/format.h>

#include "iptables/clauses.h"

namespace iptables {
namespace {

constexpr uint32_t kNoNumber = ~0u;

uint32_t number_of(std::string_view text) {
  uint32_t value = kNoNumber;
  std::from_chars(text.data(), text.data() + text.size(), value);
  return value;
}

// "80", "7000:7010", "1000-1005"
bool in_range(std::string_view range, char separator, uint32_t value) {
  const auto at = range.find(separator);
  const auto first = number_of(range.substr(0, at));
  const auto last = at == std::string_view::npos ? first : number_of(range.substr(at + 1));
  return first != kNoNumber && value >= first && value <= last;
}

// An id may be the name of a group, which only the same name equals.
bool is_id(std::string_view wanted, std::string_view id) { return wanted == id || in_range(wanted, '-', number_of(id)); }

bool is_interface(std::string_view pattern, std::string_view name) {
  return pattern.ends_with('+') ? name.starts_with(pattern.substr(0, pattern.size() - 1)) : pattern == name;
}

bool in_list(std::string_view ports, uint16_t port) {
  for (; !ports.empty(); ports.remove_prefix(std::min(ports.size(), ports.find(',') + 1))) {
    if (in_range(ports.substr(0, ports.find(',')), ':', port)) return true;
    if (ports.find(',') == std::string_view::npos) break;
  }
  return false;
}

// One walk through the hooks. The packet changes on the way: its mark, and after REDIRECT its destination.
class Walk {
 public:
  Walk(const FamilyRules& rules, const Flow& flow) : rules_(rules), flow_(flow) {
    for (const Table table : kTables)
      for (const auto& rule : rules_[table]) {
        auto& chain = chains_[{table, rule.chain}];
        const auto at = rule.position ? std::min<size_t>(static_cast<size_t>(rule.position) - 1, chain.size()) : chain.size();
        chain.insert(chain.begin() + static_cast<std::ptrdiff_t>(at), rule);
      }
  }

  Verdict run() && {
    if (flow_.outbound) {
      sends_ = true;
      for (const Table table : kTables)
        if (!settled_) enter(table, "OUTPUT");
      if (settled_ && out_.kind == Verdict::Kind::kDrop) return std::move(out_);
      // What stays in the pod, and what REDIRECT turned to us, comes in again through lo. nat has had its say.
      if (flow_.interface != "lo" && !settled_) return std::move(out_);
      sends_ = false;
      interface_ = "lo";
      const auto before = std::pair(settled_, out_.decider);
      settled_ = false;
      for (const Table table : {Table::kRaw, Table::kMangle})
        if (!settled_) enter(table, "PREROUTING");
      if (!settled_) std::tie(settled_, out_.decider) = before;
      return std::move(out_);
    }
    for (const Table table : kTables)
      if (!settled_) enter(table, "PREROUTING");
    return std::move(out_);
  }

 private:
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
      if (!std::ranges::all_of(clauses.matches, [&](const Clause& c) { return matches(c) != c.negated; })) continue;
      const auto next = act(table, rule, clauses);
      if (next == Next::kStop) return next;
      if (next == Next::kReturn) return is_builtin_chain(chain) ? Next::kStop : Next::kGoOn;
    }
    return Next::kGoOn;
  }

  bool matches(const Clause& c) const {
    if (c.option == "-p") return c.value == (flow_.udp ? "udp" : "tcp");
    if (c.option == "-i") return !sends_ && is_interface(c.value, interface_);
    if (c.option == "-o") return sends_ && is_interface(c.value, interface_);
    if (c.option == "-s" || c.option == "-d") {
      const auto range = base::Cidr::parse(c.value);
      return range && range->contains(c.option == "-s" ? flow_.from : to_.ip);
    }
    if (c.option == "--dport") return in_range(c.value, ':', to_.port);
    if (c.option == "--dports") return in_list(c.value, to_.port);
    if (c.option == "--uid-owner") return is_id(c.value, flow_.uid);
    if (c.option == "--gid-owner") return is_id(c.value, flow_.gid);
    if (c.option == "--mark") return number_of(c.value) == (c.module == "connmark" ? 0 : mark_);
    return false;  // --sport, --ctstate: a first packet comes from an ephemeral port and belongs to nothing
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
    if (c.target == "MARK") mark_ = number_of(c.value);
    if (c.target == "RETURN" || c.target == "ACCEPT") {
      // Only nat, and mangle with TPROXY, could have captured; a RETURN there is what keeps the flow as it is.
      if (out_.kind == Verdict::Kind::kUntouched) out_.decider = here;
      return c.target == "RETURN" ? Next::kReturn : Next::kStop;
    }
    if (c.target == "DROP") return out_.decider = here, settle(Verdict::Kind::kDrop);
    if (c.target == "TPROXY") {
      out_.decider = here;
      mark_ = number_of(c.value.substr(0, c.value.find('/')));
      return settle(Verdict::Kind::kTproxy, number_of(c.value2));
    }
    if (c.target == "REDIRECT") {
      out_.decider = here;
      // Outbound to loopback; inbound to the address of the interface, which no rule asks for afterwards.
      to_.port = static_cast<uint16_t>(number_of(c.value));
      if (sends_) to_.ip = base::Ip::loopback(to_.ip.v4);
      return settle(Verdict::Kind::kRedirect, to_.port);
    }
    return Next::kGoOn;  // CT, MARK, CONNMARK
  }

  const FamilyRules& rules_;
  const Flow& flow_;
  std::map<std::pair<Table, std::string>, std::vector<Rule>> chains_;
  bool sends_ = false, settled_ = false;
  std::string interface_ = flow_.interface;
  base::SocketAddress to_ = flow_.to;
  uint32_t mark_ = 0;
  Verdict out_;
};

}  // namespace

Verdict trace(const FamilyRules& rules, const Flow& flow) { return Walk(rules, flow).run(); }

}  // namespace iptables
