#include "init/validate.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <vector>

#include "init/addresses.h"
#include "init/diagnose.h"
#include "init/environment.h"
#include "init/probe.h"
#include "init/say.h"
#include "iptables/trace.h"

namespace init {
namespace {

constexpr unsigned kSetGid = 6, kSetUid = 7, kNetAdmin = 12;

struct Who {
  unsigned uid = 0, gid = 0;
  bool become = false;
};

unsigned first_number(std::string_view id) {  // of a range the first
  unsigned out = 0;
  std::from_chars(id.data(), id.data() + id.size(), out);
  return out;
}

base::Ip last_of(const base::Cidr& range) {
  auto out = range.base;
  for (size_t bit = range.length; bit < (out.v4 ? 32u : 128u); ++bit) out.bytes[bit / 8] |= static_cast<unsigned char>(0x80 >> bit % 8);
  return out;
}
// The address after this one; the first one after the last.
base::Ip next(base::Ip ip) {
  for (size_t at = ip.v4 ? 4 : 16; at-- > 0;)
    if (++ip.bytes[at] != 0) break;
  return ip;
}

class Validation {
 public:
  Validation(const iptables::Options& options, const iptables::Facts& facts, const iptables::RuleSet& rules)
      : options_(options), facts_(facts), rules_(rules) {
    const auto status = read_file("/proc/self/status");
    may_become_ = has_capability(status, kSetUid) && has_capability(status, kSetGid);
    may_look_ = has_capability(status, kNetAdmin);
  }

  std::expected<std::string, Invalid> run() {
    for (const bool ipv4 : {true, false}) {
      if (rules_.family(ipv4).empty()) continue;
      if (!way_to(base::Ip::loopback(ipv4))) {
        left_out_.push_back(name("(no loopback address)", ipv4));
        continue;
      }
      own_ = usable_addresses(ipv4);
      const auto inbound = Ear::open(ipv4, options_.inbound_port), outbound = Ear::open(ipv4, options_.proxy_port);
      if (!inbound || !outbound) return std::unexpected(Invalid{true, inbound ? outbound.error() : inbound.error()});
      for (const auto check : {&Validation::check_outbound, &Validation::check_inbound, &Validation::check_self_call})
        if (auto problem = (this->*check)(ipv4, *inbound, *outbound); !problem.empty()) return std::unexpected(Invalid{true, problem});
    }
    const auto left_out = fmt::format("{}", fmt::join(left_out_, ", "));
    if (!checked_.empty()) return fmt::format("{}{}{}", fmt::join(checked_, ", "), left_out.empty() ? "" : "; left out: ", left_out);
    if (left_out_.empty()) return "the rules capture nothing";
    return std::unexpected(Invalid{false, fmt::format("--run-validation: nothing could be checked: {}", left_out)});
  }

 private:
  // The problem in one line, or nothing.
  using Problem = std::string;

  static std::string name(std::string_view what, bool ipv4) { return fmt::format("{} {}", ipv4 ? "IPv4" : "IPv6", what); }

  // Before anything is dialled: without an address of its own there may be no way out either.
  std::vector<base::Ip> usable_addresses(bool ipv4) {
    // One question of a second after a delay of up to one more, by default.
    constexpr std::chrono::milliseconds kPatience(3000);
    auto found = await_addresses(ipv4, kPatience);
    for (const auto& ip : found.duplicate)
      say(Severity::kWarning, "{} is not dialled, it is of no use: somebody else in its network has the same address", ip.text());
    if (!found.usable.empty()) return found.usable;
    for (const auto& ip : found.tentative)
      say(Severity::kWarning, "{} is not dialled, it is of no use yet: the kernel still asks whether somebody else has it", ip.text());
    if (!found.duplicate.empty() || !found.tentative.empty())
      left_out_.push_back(name("self-call (the pod's address cannot be used)", ipv4));
    return {};
  }

  uint16_t expected_port(const iptables::Flow& flow) const {
    const auto verdict = trace(rules_.family(flow.to.ip.v4), flow);
    return verdict.kind == iptables::Verdict::Kind::kRedirect ? verdict.port : uint16_t{0};
  }

  // Somebody who is not the proxy: this process as it is, or with the rights for it a user of no importance.
  std::vector<Who> apps() const {
    std::vector<Who> out;
    if (may_become_) {
      const auto& groups = options_.owner_groups.list;
      const auto group = groups.empty() ? 0 : first_number(groups.front());
      for (const unsigned id : {65534u, 1000u, 2000u}) out.push_back({id, group ? group : id, true});
    }
    out.push_back({::geteuid(), ::getegid(), false});
    return out;
  }

  std::vector<uint16_t> ports() const {
    std::vector<uint16_t> out{options_.probe_port};
    for (const auto& range : options_.outbound_included) out.insert(out.end(), {range.first, range.last});
    for (const auto& range : options_.outbound_excluded)
      if (range.last < 65535) out.push_back(static_cast<uint16_t>(range.last + 1));
    return out;
  }

  // Addresses worth a try, from those that nobody has to those at the edges of what the options name. Which of them is captured
  // is for the rules to say.
  std::vector<base::SocketAddress> destinations(bool ipv4) const {
    std::vector<base::Ip> ips;
    // For examples only: RFC 5737, RFC 3849, RFC 9637.
    for (const char* text : {"192.0.2.1", "198.51.100.1", "203.0.113.1", "2001:db8::1", "3fff::1"})
      if (const auto ip = *base::Ip::parse(text); ip.v4 == ipv4) ips.push_back(ip);
    for (const auto& range : options_.outbound_ranges.list)
      if (range.base.v4 == ipv4) ips.insert(ips.end(), {range.base, next(range.base), last_of(range)});
    for (const auto& range : options_.outbound_excluded_ranges)
      if (range.base.v4 == ipv4) ips.push_back(next(last_of(range)));
    std::vector<base::SocketAddress> out;
    for (const auto& ip : ips)
      for (const auto port : ports()) out.push_back({ip, port});
    return out;
  }

  Problem check_outbound(bool ipv4, const Ear& inbound, const Ear& outbound) {
    bool no_way = false;
    for (const auto& to : destinations(ipv4)) {
      const auto way = way_to(to.ip);
      for (const auto& app : apps()) {
        iptables::Flow flow{
            .to = to, .from = base::Ip::any(ipv4), .interface = "eth0", .uid = std::to_string(app.uid), .gid = std::to_string(app.gid)};
        if (way) flow.from = way->from, flow.interface = way->interface;
        if (expected_port(flow) != options_.proxy_port) continue;
        no_way = no_way || !way;
        if (way) return dial(name("outbound", ipv4), flow, {to, {}, app.uid, app.gid, app.become}, outbound, inbound);
      }
    }
    const auto is_family = [&](const base::Cidr& range) { return range.base.v4 == ipv4; };
    const bool asked_for = options_.outbound_ranges.all || !options_.outbound_included.empty() ||
                           std::ranges::any_of(options_.outbound_ranges.list, is_family);
    if (no_way)
      left_out_.push_back(name("outbound (no route)", ipv4));
    else if (asked_for)
      left_out_.push_back(name(may_become_ ? "outbound (no address was found that the options do not exclude)"
                                           : "outbound (no address was found that the options do not exclude for this user)",
                               ipv4));
    return {};
  }

  std::optional<Who> proxy() const {
    const auto uid = first_number(options_.proxy_uids.empty() ? facts_.proxy_id : options_.proxy_uids.front());
    const auto gid = options_.proxy_gids.empty() ? uid : first_number(options_.proxy_gids.front());
    if (::geteuid() == uid) return Who{uid, ::getegid(), false};
    return may_become_ ? std::optional(Who{uid, gid, true}) : std::nullopt;
  }

  Problem check_as_proxy(std::string_view what, const base::Ip& ip, std::optional<base::Ip> from, const Ear& inbound, const Ear& outbound) {
    const auto who = proxy();
    if (!who) {
      left_out_.push_back(name(fmt::format("{} (cannot become the proxy's user)", what), ip.v4));
      return {};
    }
    for (const auto port : ports()) {
      const iptables::Flow flow{
          .to = {ip, port}, .from = from.value_or(ip), .interface = "lo", .uid = std::to_string(who->uid), .gid = std::to_string(who->gid)};
      if (expected_port(flow) == options_.inbound_port)
        return dial(name(what, ip.v4), flow, {flow.to, from, who->uid, who->gid, who->become}, inbound, outbound);
    }
    left_out_.push_back(name(fmt::format("{} (the options leave it alone)", what), ip.v4));
    return {};
  }

  Problem check_inbound(bool ipv4, const Ear& inbound, const Ear& outbound) {
    // From the marker itself the rules would let it pass: that source means "has been through the proxy".
    if (auto problem = check_as_proxy("inbound", *base::Ip::parse(ipv4 ? "127.0.0.6" : "::6"), base::Ip::loopback(ipv4), inbound, outbound);
        !problem.empty())
      return problem;
    return may_look_ ? check_from_outside(ipv4) : Problem{};
  }

  // Nobody can dial from outside, so the rules are read. What is missing of ours is a failure; what somebody else's rule does to
  // a client that may be anybody is a guess, and a warning.
  Problem check_from_outside(bool ipv4) const {
    const auto somebody = destinations(ipv4).front().ip;
    const auto way = way_to(somebody);
    for (const auto& ip : own_addresses()) {
      if (ip.v4 != ipv4 || ip.is_link_local()) continue;
      const iptables::Flow flow{.outbound = false,
                                .to = {ip, options_.probe_port},
                                .from = somebody,
                                .from_anybody = true,
                                .interface = way ? way->interface : "eth0",
                                .uid = {},
                                .gid = {}};
      const auto& rules = rules_.family(ipv4);
      const auto verdict = trace(rules, flow);
      const bool redirected = verdict.kind == iptables::Verdict::Kind::kRedirect;
      if (!redirected && verdict.kind != iptables::Verdict::Kind::kTproxy) continue;
      if (const auto gap = gap_for(options_, rules, flow); !gap.empty())
        return fmt::format("{}: connections from outside are not captured; {}", name("inbound", ipv4), gap);
      if (const auto shadow = certain_shadow(options_, rules, flow, redirected ? verdict.port : uint16_t{0}))
        say(Severity::kWarning, "{}: connections from outside may not be captured; {}", name("inbound", ipv4), *shadow);
    }
    return {};
  }

  Problem check_self_call(bool, const Ear& inbound, const Ear& outbound) {
    return own_.empty() ? Problem{} : check_as_proxy("self-call", own_.front(), {}, inbound, outbound);
  }

  Problem dial(std::string what, const iptables::Flow& flow, const Dial& dial, const Ear& wanted, const Ear& other) {
    const auto done = probe(dial, wanted, other, options_.probe_timeout);
    if (done) {
      checked_.push_back(std::move(what));
      return {};
    }
    auto why = may_look_ ? diagnose(options_, rules_.family(flow.to.ip.v4), flow, wanted.port()) : std::string();
    if (why.empty()) why = "the rules of this pod are missing or wrong, restart it so that they are made again";
    return fmt::format("{}: {}; {}", what, done.error(), why);
  }

  const iptables::Options& options_;
  const iptables::Facts& facts_;
  const iptables::RuleSet& rules_;
  bool may_become_ = false, may_look_ = false;
  std::vector<base::Ip> own_;  // of the family that is looked at
  std::vector<std::string> checked_, left_out_;
};

}  // namespace

std::expected<std::string, Invalid> validate(const iptables::Options& options, const iptables::Facts& facts,
                                             const iptables::RuleSet& rules) {
  return Validation(options, facts, rules).run();
}

iptables::RuleSet applied(const iptables::Options& options, iptables::RuleSet rules) {
  if (!rules.v6.empty() && !has_global_ipv6() && !has_own_rules(options, false)) rules.v6 = {};
  return rules;
}

}  // namespace init
