#include "init/apply.h"

#include <fmt/format.h>
#include <sched.h>
#include <sys/mount.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <optional>
#include <set>
#include <vector>

#include "init/adopt.h"
#include "init/captured.h"
#include "init/environment.h"
#include "init/lock.h"
#include "init/machine.h"
#include "init/native.h"
#include "init/native_state.h"
#include "init/netlink.h"
#include "init/nft_dump.h"
#include "init/say.h"
#include "init/sockets.h"
#include "init/tools.h"
#include "iptables/nft.h"
#include "iptables/plan.h"

namespace init {
namespace {

using iptables::FamilyRules;
using iptables::RuleSet;
using iptables::Saved;
using Done = std::expected<void, std::string>;

constexpr unsigned kNetAdmin = 12;
constexpr bool kFamilies[] = {true, false};  // IPv4, then IPv6
std::string_view family_name(bool ipv4) { return ipv4 ? "IPv4" : "IPv6"; }

// The owner match looks ids up as names first; a CNI plug-in runs with the node's name service, which may hang or lie.
Done enter_sandbox() {
  const auto problem = [](std::string_view what) { return std::unexpected(fmt::format("--cni-mode: {}: {}", what, std::strerror(errno))); };
  if (::unshare(CLONE_NEWNS) != 0) return problem("no mount namespace of our own");
  if (::mount("", "/", nullptr, MS_SLAVE | MS_REC, nullptr) != 0) return problem("the mount namespace cannot be made private");
  if (::access("/etc/nsswitch.conf", F_OK) == 0 && ::mount("/dev/null", "/etc/nsswitch.conf", nullptr, MS_BIND, nullptr) != 0)
    return problem("nsswitch.conf cannot be hidden");
  return {};
}

// The kernel prints a group as a number, so a name in a rule would never be equal. What the machine's file does not know stays a
// name: iptables may know more.
void use_numbers(RuleSet& rules) {
  constexpr std::string_view kFlag = "--gid-owner ";
  std::optional<std::vector<iptables::Group>> groups;
  for (const bool ipv4 : kFamilies)
    for (auto& rule : rules.family(ipv4)[iptables::Table::kNat])
      for (auto at = rule.spec.find(kFlag); at != std::string::npos; at = rule.spec.find(kFlag, at + 1)) {
        const auto from = at + kFlag.size();
        const auto name = rule.spec.substr(from, rule.spec.find(' ', from) - from);
        if (name.find_first_not_of("0123456789-") == std::string::npos) continue;
        if (!groups) groups = groups_of(read_file("/etc/group"));
        const auto group = std::ranges::find(*groups, name, &iptables::Group::name);
        if (group != groups->end()) rule.spec.replace(from, name.size(), fmt::to_string(group->gid));
      }
}

// What one backend holds, before anything is changed.
struct Holding {
  Tools tools;
  Saved saved[2];
  FamilyRules own[2];
  FamilyRules others[2];  // what is somebody else's in built-in chains
  bool blank[2] = {};     // nobody has a table in this family: what is there afterwards is what we made
  bool usable = true;     // its programs could read the tables
  bool unread = false;    // there is something that they could not read
  std::string why_not;
  const Saved& state(bool ipv4) const { return saved[ipv4 ? 0 : 1]; }
  const FamilyRules& ours(bool ipv4) const { return own[ipv4 ? 0 : 1]; }
  const FamilyRules& foreign(bool ipv4) const { return others[ipv4 ? 0 : 1]; }
  bool any_own() const { return saved[0].has_own_chains() || saved[1].has_own_chains(); }
  bool any_rules() const { return saved[0].has_rules() || saved[1].has_rules(); }
};

bool has_table(const std::vector<NftTable>& tables, bool ipv4) {
  return std::ranges::find(tables, ipv4 ? "ip" : "ip6", &NftTable::family) != tables.end();
}

RuleCounts counts(const FamilyRules& rules) {
  RuleCounts out;
  for (const auto table : iptables::kTables)
    for (const auto& rule : rules[table]) ++out[{std::string(name_of(table)), rule.chain}];
  return out;
}

// Adds what went wrong to what has gone wrong before; both families often fail for the same reason.
void note(std::string& problems, const Done& done, std::string_view what = {}) {
  if (done) return;
  const auto problem = what.empty() ? done.error() : fmt::format("{}: {}", what, done.error());
  if (problems.find(problem) == std::string::npos) problems += fmt::format("{}{}", problems.empty() ? "" : "; ", problem);
}

class Session {
 public:
  enum class Purpose : bool { kApply, kCleanUp };
  Session(const iptables::Options& options, RuleSet rules, Netlink netlink, std::optional<Lock> lock, Purpose purpose)
      : options_(options), lock_(std::move(lock)), rules_(std::move(rules)), netlink_(std::move(netlink)), purpose_(purpose) {
    use_numbers(rules_);
  }

  Done look() {
    const auto tables = nft_tables();
    for (auto& tools : Tools::installed({.lock_file = options_.cni_mode ? options_.network_namespace : "",
                                         .forced = options_.backend,
                                         .all = purpose_ == Purpose::kCleanUp})) {
      Holding holding{.tools = std::move(tools), .saved = {}, .own = {}, .others = {}, .why_not = {}};
      for (const bool ipv4 : kFamilies) {
        if (tables && !has_table(*tables, ipv4) && holding.tools.backend() == iptables::Backend::kNft) {
          holding.blank[ipv4 ? 0 : 1] = true;
          continue;
        }
        auto saved = holding.tools.save(ipv4);
        if (!saved) {
          holding.usable = holding.usable && !ipv4;
          holding.why_not = saved.error();
          // Legacy is asked where it has tables. Without an answer from nf_tables the kernel has none.
          holding.unread = holding.tools.backend() == iptables::Backend::kLegacy || tables;
          continue;
        }
        if (holding.tools.unasked(ipv4)) {
          holding.unread = true;
          holding.why_not =
              "only root can see which legacy tables there are; when nothing of ours is in them, give --force-iptables-binary=nft";
        }
        holding.own[ipv4 ? 0 : 1] = own_rules(*saved, rules_.family(ipv4));
        holding.others[ipv4 ? 0 : 1] = foreign_rules(*saved, holding.ours(ipv4));
        holding.saved[ipv4 ? 0 : 1] = std::move(*saved);
        for (const auto mark : iptables::marks_of(holding.state(ipv4))) marks_.insert(mark);
      }
      holdings_.push_back(std::move(holding));
    }
    if (holdings_.empty() && !options_.native_nftables) return std::unexpected("no iptables programs found; install the package iptables");
    return {};
  }

  Done apply() {
    auto done = options_.native_nftables ? apply_native() : apply_xtables();
    if (done) tell_of_no_hold();
    for (const auto& holding : holdings_)
      if (done && holding.unread)
        say(Severity::kWarning, "rules of earlier runs in {} may stay, they cannot be read: {}", holding.tools.name(), holding.why_not);
    if (done && !unadopted_.empty()) say(Severity::kWarning, "connections that were open before the rules may break: {}", unadopted_);
    if (done && !unforgotten_.empty())
      say(Severity::kWarning, "connections with the ends of one that is over may pass by the proxy: {}", unforgotten_);
    return done;
  }

  Done apply_xtables() {
    auto candidates = choose();
    if (!candidates) return std::unexpected(candidates.error());
    std::string problems;
    const RuleSet wanted = rules_;
    for (Holding* holding : *candidates) {
      rules_ = wanted;  // the one before may have dropped the hold, and failed all the same
      unheld_.clear();
      unadopted_.clear();
      unforgotten_.clear();
      auto done = install(*holding);
      if (done && !problems.empty()) say(Severity::kWarning, "the rules are made with {}, because {}", holding->tools.name(), problems);
      if (done) return finish(holding);
      problems += (problems.empty() ? "" : "; then ") + done.error();
    }
    return std::unexpected(problems);
  }

  Done clean() {
    if (!options_.dry_run) let_captured_ones_end();
    std::string left;
    for (auto& holding : holdings_)
      for (const bool ipv4 : kFamilies) note(left, remove_rules(holding, ipv4), rules_in(holding, ipv4));
    note(left, remove_native(), kNativeTables);
    if (!options_.dry_run) {
      marks_.insert(options_.tproxy_mark);
      for (const bool ipv4 : kFamilies)
        note(left, netlink_.remove_local_routes(ipv4, {marks_, options_.tproxy_table, {}}), routes_of(ipv4));
      note(left, netlink_.remove_marker_address(), kMarkerAddress);
    }
    // What cannot be read cannot be called clean. One backend missing from the kernel is normal; that none answers is not.
    const bool blind = std::ranges::none_of(holdings_, &Holding::usable);
    for (const auto& holding : holdings_)
      if (holding.unread || blind) note(left, std::unexpected(holding.why_not));
    if (left.empty()) return {};
    return std::unexpected("what could be read and removed is gone, but " + left);
  }

 private:
  // What may be left of an earlier run, in words.
  static constexpr std::string_view kNativeTables = "tables of nft", kMarkerAddress = "the address ::6";
  static std::string rules_in(const Holding& holding, bool ipv4) {
    return fmt::format("{} rules in {}", family_name(ipv4), holding.tools.name());
  }
  static std::string routes_of(bool ipv4) { return fmt::format("{} routes", family_name(ipv4)); }

  // Forced; else where our rules are; else legacy when somebody works with it (two backends in one namespace surprise people);
  // else nft, with the others behind it in case the kernel refuses.
  std::expected<std::vector<Holding*>, std::string> choose() {
    const auto first = [&](auto&& wanted) {
      const auto found = std::ranges::find_if(holdings_, wanted);
      return found == holdings_.end() ? nullptr : &*found;
    };
    if (options_.backend != iptables::Backend::kDetect) {
      Holding* forced = first([&](const Holding& h) { return h.tools.backend() == options_.backend; });
      if (!forced)
        return std::unexpected(fmt::format("--force-iptables-binary: iptables-{} is not installed",
                                           options_.backend == iptables::Backend::kNft ? "nft" : "legacy"));
      if (!forced->usable) return std::unexpected(forced->why_not);
      return std::vector{forced};
    }
    if (Holding* used = first([](const Holding& h) { return h.any_own(); })) return std::vector{used};
    if (Holding* used = first([](const Holding& h) { return h.tools.backend() == iptables::Backend::kLegacy && h.any_rules(); }))
      return std::vector{used};
    std::vector<Holding*> out;
    for (auto& holding : holdings_)
      if (holding.usable) out.push_back(&holding);
    if (out.empty()) return std::unexpected(holdings_.front().why_not);
    return out;
  }

  Done apply_native() {
    auto stale = native_tables();
    const bool fresh = stale.empty();
    for (const auto& table : stale) marks_.merge(native_marks(table));
    Done done;
    for (const bool ipv4 : kFamilies)
      if (done) done = prepare(ipv4);
    const bool prepared = done.has_value();
    if (prepared && is_in_place()) return finish(nullptr);
    std::string before;
    std::vector<std::string> tracking;
    for (const auto& table : stale) before += native_listing(table);
    if (prepared) tracking = meet_open_connections_natively(stale);
    stale.insert(stale.end(), tracking.begin(), tracking.end());
    if (prepared) done = feed_native(rules_, stale, before);
    if (!done && prepared && holds()) {
      const auto why = done.error();
      for (const bool ipv4 : kFamilies) rules_.family(ipv4)[iptables::Table::kFilter].clear();
      unheld_ = "nftables", unheld_why_ = why;
      if (is_in_place()) return finish(nullptr);
      done = feed_native(rules_, stale, before);
    }
    if (!done) {
      if (!tracking.empty()) (void)feed_nft(iptables::nft_text({}, tracking));
      for (const bool ipv4 : kFamilies) withdraw(ipv4);
      return done;
    }
    say(Severity::kInfo, "rules {} with nft", fresh ? "made" : "replaced");
    return finish(nullptr);
  }

  bool is_in_place() const {
    if (options_.force_apply || native_difference(with_digests(iptables::nft_text(rules_, {}))) != "") return false;
    if (!rules_.v4.empty() || !rules_.v6.empty()) say(Severity::kInfo, "rules are in place already (nft)");
    return true;
  }

  bool holds() const {
    return std::ranges::any_of(kFamilies, [&](bool ipv4) { return !rules_.family(ipv4)[iptables::Table::kFilter].empty(); });
  }
  // One line for both families, once the rest is done.
  void tell_of_no_hold() const {
    if (unheld_.empty()) return;
    say(Severity::kWarning, "--hold-until-ready is not possible here for {}, connections made before the proxy listens are refused: {}",
        unheld_, unheld_why_);
  }

  // A kernel without the match `socket` gets everything but the hold, which helps for a second at the start of the pod.
  Done install_without_hold(Holding& holding, bool ipv4, std::string why) {
    undo(holding, ipv4);
    rules_.family(ipv4)[iptables::Table::kFilter].clear();
    auto done = install_family(holding, ipv4);
    if (!done) return done;
    unheld_ += fmt::format("{}{}", unheld_.empty() ? "" : " and ", family_name(ipv4));
    unheld_why_ = std::move(why);
    return done;
  }

  Done install(Holding& holding) {
    for (const bool ipv4 : kFamilies) {
      auto done = install_family(holding, ipv4);
      if (!done && !rules_.family(ipv4)[iptables::Table::kFilter].empty()) done = install_without_hold(holding, ipv4, done.error());
      if (done) continue;
      undo(holding, ipv4);
      // Without an address that anybody could reach, IPv6 rules are of no use, and their absence is no leak.
      if (!ipv4 && !has_global_ipv6()) {
        say(Severity::kWarning, "no IPv6 rules, which this namespace does not need without an IPv6 address: {}", done.error());
        continue;
      }
      if (!ipv4) undo(holding, true);
      return done;
    }
    return {};
  }

  Done install_family(Holding& holding, bool ipv4) {
    const auto& wanted = rules_.family(ipv4);
    if (auto done = prepare(ipv4); !done) return done;
    auto plan = make_plan(holding.state(ipv4), holding.ours(ipv4), wanted, options_.force_apply);
    if (plan.change == iptables::Change::kNothing) {
      if (!wanted.empty()) say(Severity::kInfo, "{} rules are in place already ({})", family_name(ipv4), holding.tools.name());
    } else {
      if (const auto now = meet_open_connections(holding, ipv4))
        plan.text = make_plan(now->saved, now->own, wanted, options_.force_apply).text;
      say(Severity::kDebug, "feeding {}: {}", holding.tools.name(), plan.text);
      if (auto done = holding.tools.restore(ipv4, plan.text); !done) return done;
      if (auto done = verify(holding, ipv4); !done) return done;
      say(Severity::kInfo, "{} rules {} with {}", family_name(ipv4),
          plan.change == iptables::Change::kCreate    ? "made"
          : plan.change == iptables::Change::kReplace ? "replaced"
                                                      : "removed",
          holding.tools.name());
    }
    return {};
  }

  // The kernel must hold what was asked for before the pod goes on.
  Done verify(const Holding& holding, bool ipv4) const {
    if (holding.blank[ipv4 ? 0 : 1] && nft_rule_counts(ipv4) == counts(rules_.family(ipv4))) return {};
    const auto saved = holding.tools.save(ipv4);
    if (!saved) return std::unexpected(saved.error());
    const auto& wanted = rules_.family(ipv4);
    const auto difference = missing(*saved, own_rules(*saved, wanted, holding.foreign(ipv4)), wanted);
    if (difference.empty()) return {};
    return std::unexpected(fmt::format("{} reported success, but {} ({})", holding.tools.name(), difference, family_name(ipv4)));
  }

  // Routes and addresses stand before the rules that rely on them.
  Done prepare(bool ipv4) {
    if (rules_.family(ipv4).empty()) return {};
    if (needs_tproxy_routes(options_)) {
      auto added = netlink_.add_local_route(ipv4, options_.tproxy_mark, options_.tproxy_table);
      if (!added) return std::unexpected(added.error());
      added_route_[ipv4 ? 0 : 1] = *added;
    }
    if (ipv4) return {};
    auto added = netlink_.add_marker_address();
    if (!added) return std::unexpected(added.error());
    added_address_ = *added;
    if (added_address_) netlink_.await_marker_address();  // the first connection that is captured needs it
    return {};
  }

  // Back to what the family was, out of what it is now: a restore of several tables may have ended between two of them.
  void undo(Holding& holding, bool ipv4) {
    const auto now = holding.tools.save(ipv4);
    const auto plan =
        now ? make_plan(*now, own_rules(*now, rules_.family(ipv4), holding.foreign(ipv4)), holding.ours(ipv4), false) : iptables::Plan{};
    const auto done = plan.text.empty() ? Done{} : holding.tools.restore(ipv4, plan.text);
    if (!now || !done)
      say(Severity::kWarning, "{} rules may be incomplete, run sluice-init --cleanup-only: {}", family_name(ipv4),
          now ? done.error() : now.error());
    withdraw(ipv4);
  }
  void withdraw(bool ipv4) {
    if (std::exchange(added_route_[ipv4 ? 0 : 1], false))
      (void)netlink_.remove_local_routes(ipv4, {{options_.tproxy_mark}, options_.tproxy_table, {}});
    if (!ipv4 && std::exchange(added_address_, false)) (void)netlink_.remove_marker_address();
  }

  // What the new rules do not need any more: rules of ours in another backend, which would capture a second time, the routes of
  // earlier marks and the address of IPv6. The new rules are good and stay whatever happens here, so all of it is tried.
  // `chosen` is null for native nftables.
  Done finish(const Holding* chosen) {
    std::string left;
    for (auto& holding : holdings_) {
      if (&holding == chosen || !holding.any_own()) continue;
      for (const bool ipv4 : kFamilies) note(left, remove_rules(holding, ipv4), rules_in(holding, ipv4));
    }
    if (chosen) note(left, remove_native(), kNativeTables);
    for (const bool ipv4 : kFamilies) {
      Netlink::Stale stale{marks_, 0, {}};
      if (!rules_.family(ipv4).empty() && needs_tproxy_routes(options_))
        stale.keep = std::pair(options_.tproxy_mark, options_.tproxy_table);
      note(left, netlink_.remove_local_routes(ipv4, stale), routes_of(ipv4));
    }
    if (rules_.v6.empty()) note(left, netlink_.remove_marker_address(), kMarkerAddress);
    if (left.empty()) return {};
    return std::unexpected(
        fmt::format("the rules asked for stand, made with {}, but so does something of an earlier run, which "
                    "sluice-init --cleanup-only removes with the rest: {}",
                    chosen ? chosen->tools.name() : "nft", left));
  }

  // The kernel tracks connections as long as some rule needs that. This one needs it and changes nothing: no packet reaches
  // ISTIO_REDIRECT, and the jump keeps the hooks that translate.
  static FamilyRules tracking_alone() {
    FamilyRules out;
    out[iptables::Table::kNat] = {{"ISTIO_REDIRECT", 0, "-p tcp -j REDIRECT --to-ports 15001", {}},
                                  {"ISTIO_OUTPUT", 0, "-j RETURN", {}},
                                  {"OUTPUT", 0, "-j ISTIO_OUTPUT", {}}};
    return out;
  }
  struct Tables {
    Saved saved;
    FamilyRules own;
  };
  // `besides`: the rules of other tables. The value: what the tables hold then.
  std::expected<Tables, std::string> track_alone(const Holding& holding, bool ipv4, FamilyRules besides) const {
    besides[iptables::Table::kNat] = tracking_alone()[iptables::Table::kNat];
    const auto plan = make_plan(holding.state(ipv4), holding.ours(ipv4), besides, false);
    if (auto done = holding.tools.restore(ipv4, plan.text); !done) return std::unexpected(done.error());
    auto saved = holding.tools.save(ipv4);
    if (!saved) return std::unexpected(saved.error());
    // What was told before by its place next to rules of nat is the same still.
    auto own = own_rules(*saved, rules_.family(ipv4), holding.foreign(ipv4));
    besides[iptables::Table::kNat] = std::move(own[iptables::Table::kNat]);
    return Tables{std::move(*saved), std::move(besides)};
  }

  // What rules of ours, in any backend, do with connections of the family. Those that capture have met all that is open; a run
  // that was killed may have left the others.
  enum class Before : uint8_t { kNothing, kTracks, kCaptures };
  Before before(bool ipv4) const {
    const size_t alone = tracking_alone()[iptables::Table::kNat].size();
    size_t rules = 0;
    for (const auto& holding : holdings_) {
      auto nat = holding.ours(ipv4)[iptables::Table::kNat];
      std::erase_if(nat, [](const iptables::Rule& rule) { return rule.spec.ends_with(iptables::kOthersChain); });
      rules = std::max(rules, nat.size());
    }
    for (const std::string_view table : native_tables()) {
      if (!table.ends_with("-nat")) continue;
      if (table.starts_with("inet ")) return Before::kCaptures;  // Istio's
      if (table.starts_with("ip ") != ipv4) continue;
      const auto counts = nft_rule_counts(ipv4);
      if (!counts) return Before::kCaptures;  // a table that cannot be read is left as it is until the new rules come
      size_t here = 0;
      for (const auto& [chain, count] : *counts)
        if (table.ends_with(chain.first)) here += count;
      rules = std::max(rules, here);
    }
    return rules > alone ? Before::kCaptures : rules ? Before::kTracks : Before::kNothing;
  }

  // Before capture begins: what is open goes on as it is, see adopt.h. Whatever fails here, the rules come all the same.
  // The value: what the tables hold now, where that has changed.
  std::optional<Tables> meet_open_connections(const Holding& holding, bool ipv4) {
    const auto was = before(ipv4);
    if (rules_.family(ipv4).empty() || was == Before::kCaptures) return std::nullopt;
    note(unforgotten_, forget_ended_connections(ipv4));
    if (!somebody_uses_tcp()) return std::nullopt;
    auto tables = was == Before::kTracks ? std::expected<Tables, std::string>() : track_alone(holding, ipv4, holding.ours(ipv4));
    note(unadopted_, tables ? adopt_open_connections(ipv4) : Done(std::unexpected(tables.error())));
    return tables && was == Before::kNothing ? std::optional(std::move(*tables)) : std::nullopt;
  }

  // The same with tables of nft; `there`: those of earlier runs. The value: those that it made.
  std::vector<std::string> meet_open_connections_natively(const std::vector<std::string>& there) {
    RuleSet tracking;
    std::vector<std::string> made;
    std::vector<bool> families;  // where capture begins
    for (const bool ipv4 : kFamilies) {
      const auto was = before(ipv4);
      if (rules_.family(ipv4).empty() || was == Before::kCaptures) continue;
      families.push_back(ipv4);
      note(unforgotten_, forget_ended_connections(ipv4));
      if (was == Before::kTracks) continue;
      // One that is there already, without a rule, is replaced as any other of an earlier run.
      const auto table = fmt::format("{} istio-proxy-nat", ipv4 ? "ip" : "ip6");
      if (std::ranges::find(there, table) == there.end()) made.push_back(table);
      tracking.family(ipv4) = tracking_alone();
    }
    if (!somebody_uses_tcp()) return {};
    if (const auto text = iptables::nft_text(tracking, {}); !text.empty())
      if (const auto done = feed_nft(text); !done) {
        note(unadopted_, done);
        return {};
      }
    for (const bool ipv4 : families) note(unadopted_, adopt_open_connections(ipv4));
    return made;
  }

  // Before the rules go: what is on its way through the proxy needs its translation, and the address ::6, to the end. New
  // connections are left alone from here on. Whatever fails here fails again, and is reported, when the rules are removed.
  void let_captured_ones_end() {
    // Where one has ended lately, the next one may begin at any moment.
    if (!somebody_uses_tcp()) return;
    bool tracked = false;
    std::set<uint16_t> ports;  // of the rules that go, whatever the present options say
    for (auto& holding : holdings_)
      for (const bool ipv4 : kFamilies)
        if (!holding.ours(ipv4).empty()) {
          ports.merge(proxy_ports(holding.ours(ipv4)));
          FamilyRules besides;
          besides[iptables::Table::kMangle] = iptables::without_new_ones(holding.ours(ipv4)[iptables::Table::kMangle]);
          auto now = track_alone(holding, ipv4, std::move(besides));
          if (!now) continue;
          tracked = true;
          holding.own[ipv4 ? 0 : 1] = std::move(now->own);
          holding.saved[ipv4 ? 0 : 1] = std::move(now->saved);
        }
    if (auto stale = native_tables(); !stale.empty()) {
      for (const auto& table : stale) {
        marks_.merge(native_marks(table));
        ports.merge(ports_in(native_listing(table)));
      }
      std::string others;
      for (const auto& table : stale)
        if (table.ends_with("-mangle")) others += without_new_ones(table);
      std::erase_if(stale, [](std::string_view table) { return table.ends_with("-mangle"); });
      tracked = feed_nft(iptables::nft_text({tracking_alone(), tracking_alone()}, stale) + others).has_value() || tracked;
    }
    if (tracked) await_end_of_captured(ports);
  }

  Done remove_native() {
    const auto tables = native_tables();
    if (tables.empty()) return {};
    for (const auto& table : tables) marks_.merge(native_marks(table));
    const auto text = iptables::nft_text({}, tables);
    if (options_.dry_run) {
      fmt::print("# nft -f -\n{}", text);
      return {};
    }
    if (auto done = feed_nft(text); !done) return done;
    say(Severity::kInfo, "rules removed with nft");
    return {};
  }

  Done remove_rules(Holding& holding, bool ipv4) {
    const auto plan = make_plan(holding.state(ipv4), holding.ours(ipv4), {}, false);
    if (options_.dry_run) {
      if (!plan.text.empty()) fmt::print("# ip{}tables-restore\n{}", ipv4 ? "" : "6", plan.text);
      return {};
    }
    if (plan.text.empty()) return {};
    if (auto done = holding.tools.restore(ipv4, plan.text); !done) return done;
    say(Severity::kInfo, "{} rules removed with {}", family_name(ipv4), holding.tools.name());
    return {};
  }

  const iptables::Options& options_;
  std::optional<Lock> lock_;  // none where nothing is changed
  RuleSet rules_;             // without the hold where the kernel has no part for it
  Netlink netlink_;
  Purpose purpose_;
  std::vector<Holding> holdings_;
  std::set<uint32_t> marks_;  // of TPROXY rules that earlier runs made
  bool added_route_[2] = {}, added_address_ = false;
  std::string unheld_, unheld_why_;
  std::string unadopted_, unforgotten_;  // why what was open before may break, and why what is over may still be in the list
};

std::expected<Session, std::string> begin(const iptables::Options& options, const RuleSet& rules, Session::Purpose purpose) {
  if (!has_capability(read_file("/proc/self/status"), kNetAdmin))
    return std::unexpected(
        "the capability NET_ADMIN is missing; run as root and grant NET_ADMIN (and NET_RAW for iptables-legacy) in the securityContext");
  std::optional<Lock> lock;
  if (!options.dry_run) {
    auto taken = Lock::take();
    if (!taken) return std::unexpected(taken.error());
    lock.emplace(std::move(*taken));
  }
  if (options.cni_mode)
    if (auto done = enter_sandbox(); !done) return std::unexpected(done.error());
  auto netlink = Netlink::open();
  if (!netlink) return std::unexpected(netlink.error());
  Session session(options, rules, std::move(*netlink), std::move(lock), purpose);
  if (auto done = session.look(); !done) return std::unexpected(done.error());
  return session;
}

}  // namespace

std::expected<void, std::string> apply_rules(const iptables::Options& options, const RuleSet& wanted) {
  if (auto allowed = may_make_rules(surroundings(), options.host); !allowed) return allowed;
  auto session = begin(options, wanted, Session::Purpose::kApply);
  return session ? session->apply() : Done(std::unexpected(session.error()));
}

std::expected<void, std::string> clean_up(const iptables::Options& options, const RuleSet& hint) {
  auto session = begin(options, hint, Session::Purpose::kCleanUp);
  return session ? session->clean() : Done(std::unexpected(session.error()));
}

}  // namespace init
