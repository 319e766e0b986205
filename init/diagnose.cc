#include "init/diagnose.h"

#include <fmt/format.h>

#include <algorithm>
#include <vector>

#include "init/native.h"
#include "init/netlink.h"
#include "init/nft_dump.h"
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
  return foreign_nft_rule(ipv4, flow.outbound);
}

std::string gap_for(const iptables::Options& options, const iptables::FamilyRules& wanted, const iptables::Flow& inbound) {
  const bool ipv4 = inbound.to.ip.v4;
  const auto verdict = trace(wanted, inbound);
  const bool tproxy = verdict.kind == iptables::Verdict::Kind::kTproxy;
  std::string gap;
  bool captured = false;
  for (const auto& backend : backends(options, wanted, ipv4)) {
    if (!backend.saved.has_own_chains()) continue;
    const auto there = trace(backend.own, inbound);
    captured = captured || (there.kind == verdict.kind && there.port == verdict.port);
    if (!gap.empty()) continue;
    gap = missing(backend.saved, backend.own, wanted);
    gap = fmt::format("{} ({})", gap.empty() ? "the rules that are there were made for other options" : gap, backend.name);
  }
  if (captured) gap.clear();
  const auto native = native_tables();
  const auto of_family = [&](std::string_view table) { return table.starts_with(ipv4 ? "ip " : "ip6 "); };
  if (!captured && std::ranges::any_of(native, of_family)) gap = native_gap(ipv4, tproxy);
  if (!gap.empty() || !tproxy) return gap;
  auto netlink = Netlink::open();
  return netlink ? netlink->local_route_gap(ipv4, options.tproxy_mark, options.tproxy_table) : netlink.error();
}

std::optional<std::string> certain_shadow(const iptables::Options& options, const iptables::FamilyRules& wanted, const iptables::Flow& flow,
                                          uint16_t redirect_port) {
  for (const auto& backend : backends(options, wanted, flow.to.ip.v4))
    if (const auto shadow = find_shadow(backend.saved, backend.own, flow, redirect_port); shadow && shadow->certain)
      return sentence(*shadow, backend.name);
  return std::nullopt;
}

}  // namespace init
