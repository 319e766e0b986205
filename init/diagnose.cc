#include "init/diagnose.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>
#include <vector>

#include "init/native.h"
#include "init/netlink.h"
#include "init/nft_dump.h"
#include "init/say.h"
#include "init/tools.h"
#include "iptables/plan.h"
#include "iptables/trace.h"

namespace init {
namespace {

struct Backend {
  std::string name;
  iptables::Saved saved;
  iptables::FamilyRules own;
};

std::vector<Backend> backends(const iptables::Options& options, const iptables::FamilyRules& wanted, bool ipv4) {
  std::vector<Backend> out;
  for (const auto& tools : Tools::installed({.lock_file = {}, .forced = options.backend})) {
    auto saved = tools.save(ipv4);
    if (!saved) continue;
    auto own = own_rules(*saved, wanted);
    out.push_back({std::string(tools.name()), std::move(*saved), std::move(own)});
  }
  return out;
}

std::string sentence(const iptables::Shadow& shadow, std::string_view backend) {
  return fmt::format("{} that is not ours {}: {} ({})", shadow.rule.spec.starts_with("-P ") ? "a policy" : "a rule",
                     shadow.certain ? "decides first" : "may decide first", text(shadow), backend);
}

bool is_of(std::string_view table, bool ipv4) { return table.starts_with(ipv4 ? "ip " : "ip6 "); }

// Where nothing of ours was found in a family, and no table of family inet. Each of our programs puts both families into one
// backend, so rules of the other family tell that these are missing, whatever else cannot be read.
std::string gap_without_own(const iptables::Options& options, bool ipv4, const std::vector<std::string>& native) {
  constexpr const char* kNone = "there are no rules of ours";
  if (std::ranges::any_of(native, [&](std::string_view table) { return is_of(table, !ipv4); })) return kNone;
  for (const auto& tools : Tools::installed({.lock_file = {}, .forced = options.backend}))
    if (const auto other = tools.save(!ipv4); other && other->has_own_chains()) return kNone;
  for (const auto& tools : Tools::installed({.lock_file = {}, .forced = options.backend, .all = true})) {
    const auto saved = tools.save(ipv4);
    // A kernel without nf_tables has nothing in them.
    if (saved || (tools.backend() != iptables::Backend::kLegacy && !nft_tables())) continue;
    say(Severity::kWarning, "{}: whether connections from outside are captured cannot be known: {}", ipv4 ? "IPv4 inbound" : "IPv6 inbound",
        saved.error());
    return {};
  }
  return kNone;
}

// Native tables: the base chain and the chain that it leads to have rules.
std::string native_gap(bool ipv4, bool tproxy) {
  const auto table = fmt::format("istio-proxy-{}", tproxy ? "mangle" : "nat");
  const auto counts = nft_rule_counts(ipv4);
  for (const char* chain : {"prerouting", "istio-inbound"})
    if (counts && !counts->contains({table, chain})) return fmt::format("chain {} of table {} has no rules (nft)", chain, table);
  return {};
}

}  // namespace

std::string diagnose(const iptables::Options& options, const iptables::FamilyRules& wanted, const iptables::Flow& flow,
                     uint16_t redirect_port) {
  const bool ipv4 = flow.to.ip.v4;
  const auto native = native_tables();
  std::string uncertain, ours;
  bool any_own = !native.empty();
  for (const auto& backend : backends(options, wanted, ipv4)) {
    if (const auto shadow = find_shadow(backend.saved, backend.own, flow, redirect_port)) {
      if (shadow->certain) return sentence(*shadow, backend.name);
      if (uncertain.empty()) uncertain = sentence(*shadow, backend.name);
    }
    if (!backend.saved.has_own_chains()) continue;
    any_own = true;
    if (const auto gap = missing(backend.saved, backend.own, wanted); !gap.empty())
      ours = fmt::format("{} ({})", gap, backend.name);
    else if (make_plan(backend.saved, backend.own, wanted, false).change != iptables::Change::kNothing)
      ours = fmt::format("the rules that are there were made for other options ({})", backend.name);
  }
  if (!any_own) return "there are no rules of ours";
  if (!ours.empty()) return ours;
  if (!uncertain.empty()) return uncertain;
  return foreign_nft_rule({.ipv4 = ipv4, .outbound = flow.outbound, .port = flow.to.port, .turned = redirect_port});
}

bool has_own_rules(const iptables::Options& options, bool ipv4) {
  if (std::ranges::any_of(native_tables(), [&](std::string_view table) { return is_of(table, ipv4) || table.starts_with("inet "); }))
    return true;
  return std::ranges::any_of(Tools::installed({.lock_file = {}, .forced = options.backend}), [&](const Tools& tools) {
    const auto saved = tools.save(ipv4);
    return saved && saved->has_own_chains();
  });
}

std::string gap_for(const iptables::Options& options, const iptables::FamilyRules& wanted, const iptables::Flow& inbound) {
  const bool ipv4 = inbound.to.ip.v4;
  const auto verdict = trace(wanted, inbound);
  const bool tproxy = verdict.kind == iptables::Verdict::Kind::kTproxy;
  std::string gap;
  bool captured = false, any_own = false;
  std::set<uint32_t> marks;  // of the rules that capture
  for (const auto& backend : backends(options, wanted, ipv4)) {
    if (!backend.saved.has_own_chains()) continue;
    any_own = true;
    const auto there = trace(backend.own, inbound);
    const bool captures = there.kind == verdict.kind && there.port == verdict.port;
    if (captures) marks.merge(marks_of(backend.saved));
    captured = captured || captures;
    if (!gap.empty()) continue;
    gap = missing(backend.saved, backend.own, wanted);
    gap = fmt::format("{} ({})", gap.empty() ? "the rules that are there were made for other options" : gap, backend.name);
  }
  if (captured) gap.clear();
  const auto native = native_tables();
  if (!captured && std::ranges::any_of(native, [&](std::string_view table) { return is_of(table, ipv4); })) {
    gap = native_gap(ipv4, tproxy);
    for (const auto& table : native)
      if (tproxy && is_of(table, ipv4)) marks.merge(native_marks(table));
  } else if (!any_own && std::ranges::none_of(native, [](std::string_view table) { return table.starts_with("inet "); })) {
    gap = gap_without_own(options, ipv4, native);
  }
  if (!gap.empty() || !tproxy) return gap;
  auto netlink = Netlink::open();
  if (!netlink) return netlink.error();
  if (marks.empty()) marks.insert(options.tproxy_mark);
  for (const auto mark : marks)
    if (gap.empty()) gap = netlink->local_route_gap(ipv4, mark, options.tproxy_table);
  return gap;
}

std::optional<std::string> certain_shadow(const iptables::Options& options, const iptables::FamilyRules& wanted, const iptables::Flow& flow,
                                          uint16_t redirect_port) {
  for (const auto& backend : backends(options, wanted, flow.to.ip.v4))
    if (const auto shadow = find_shadow(backend.saved, backend.own, flow, redirect_port); shadow && shadow->certain)
      return sentence(*shadow, backend.name);
  return std::nullopt;
}

}  // namespace init
