#include <algorithm>
#include <array>
#include <charconv>
#include <map>

#include <fmt/format.h>

#include "iptables/clauses.h"
#include "iptables/trace.h"

namespace iptables {
namespace {

std::string_view take_word(std::string_view& text) {
  const auto from = text.find_first_not_of(" \t");
  if (from == std::string_view::npos) return text = {};
  text.remove_prefix(from);
  const auto word = text.substr(0, text.find_first_of(" \t"));
  text.remove_prefix(word.size());
  return word;
}

// "from 127.0.0.6/32", "not to port 15008": one match of a rule.
std::string words_of(const Clause& c) {
  const std::string_view no = c.negated ? "not " : "";
  const auto say = [&](std::string_view what) { return fmt::format("{}{} {}", no, what, c.value); };
  if (c.option == "-p") return say("over");
  if (c.option == "-i") return say("coming in by");
  if (c.option == "-o") return say("leaving by");
  if (c.option == "-s") return say("from");
  if (c.option == "-d") return say("to");
  if (c.option == "--dport") return say("to port");
  if (c.option == "--dports") return say("to ports");
  if (c.option == "--sport") return say("from port");
  if (c.option == "--uid-owner") return say("of user");
  if (c.option == "--gid-owner") return say("of group");
  if (c.option == "--mark") return say(c.module == "connmark" ? "on a connection with mark" : "with mark");
  if (c.option == "--ctstate")
    return c.value == "DNAT" ? fmt::format("{}turned away from where they were going", no) : say("that conntrack calls");
  if (c.option == "--syn") return fmt::format("that {}begin a connection", c.negated ? "do not " : "");
  if (c.option == "--nowildcard") return fmt::format("that {} socket waits for", c.negated ? "no" : "a");
  return say(c.option);
}

std::string verdict_of(const Clauses& c) {
  if (is_own_chain(c.target)) return fmt::format("go on in {}", c.target);
  if (c.target == "RETURN") return "are left as they are";
  if (c.target == "ACCEPT") return "pass";
  if (c.target == "DROP") return "are dropped";
  if (c.target == "REDIRECT") return fmt::format("are turned to port {} of this pod", c.setting());
  if (c.target == "TPROXY") {
    const auto mark = c.setting("--tproxy-mark");
    return fmt::format("are handed to the transparent port {} and get mark {}", c.setting("--on-port"), mark.substr(0, mark.find('/')));
  }
  if (c.target == "MARK") return fmt::format("get mark {}", c.setting());
  if (c.target == "CT") return fmt::format("are counted in conntrack zone {}", c.setting());
  if (c.target == "CONNMARK")
    return c.settings.front().option == "--save-mark" ? "leave their mark on the connection" : "get the mark of the connection";
  return fmt::format("go to {}", c.target);
}

std::string sentence(const Rule& rule) {
  const auto clauses = clauses_of(rule.spec);
  std::string which;
  for (const auto& match : clauses.matches) which += fmt::format("{}{}", which.empty() ? "" : ", ", words_of(match));
  return fmt::format("{} {}{}", which.empty() ? "all packets" : "packets " + which, verdict_of(clauses),
                     rule.why.empty() ? "" : fmt::format(": {}", rule.why));
}

std::string family_text(const FamilyRules& rules, bool ipv4) {
  std::string out;
  for (const Table table : kTables) {
    for (const auto& rule : rules[table])
      out += fmt::format("{} {} {}{}\n    {}\n", ipv4 ? "IPv4" : "IPv6", name_of(table),
                         rule.position ? fmt::format("-I {} {}", rule.chain, rule.position) : fmt::format("-A {}", rule.chain),
                         " " + rule.spec, sentence(rule));
  }
  return out;
}

}  // namespace

namespace {

// A socket for IPv6 that is given such an address (RFC 4291 §2.5.5.2) talks IPv4.
base::Ip as_sent(const base::Ip& ip) {
  constexpr std::array<unsigned char, 12> kMapped{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
  if (ip.v4 || !std::ranges::equal(kMapped, std::span(ip.bytes).first(kMapped.size()))) return ip;
  base::Ip out;
  std::ranges::copy(std::span(ip.bytes).subspan(kMapped.size()), out.bytes.begin());
  return out;
}

// A number that a process may have as its user or group: the highest one means "none" to the kernel.
std::optional<uint32_t> id_of(std::string_view text) {
  uint32_t id = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), id);
  return error == std::errc{} && end == text.data() + text.size() && id != 0xffffffff ? std::optional(id) : std::nullopt;
}

// False: no group can have this number.
bool set_group(Flow& flow, std::string_view value, std::span<const Group> groups) {
  const auto id = id_of(value);
  const auto known = std::ranges::find_if(groups, [&](const Group& one) { return id ? one.gid == *id : one.name == value; });
  flow.gid = known != groups.end() ? fmt::format("{}", known->gid) : id ? fmt::format("{}", *id) : std::string(value);
  flow.group = known != groups.end() ? known->name : "";
  return id || value.find_first_not_of("0123456789") != std::string_view::npos;
}

// What the kernel chooses for a process that does not bind: the pod's address, to an address of the pod that very one, and
// 127.0.0.1 to all of 127.0.0.0/8.
base::Ip source_of(const Flow& flow, bool stays, std::span<const base::Ip> own) {
  const bool ipv4 = flow.to.ip.v4;
  if (stays) return flow.to.ip.is_loopback() ? base::Ip::loopback(ipv4) : flow.to.ip;
  const auto of_family = std::ranges::find_if(own, [&](const base::Ip& ip) { return ip.v4 == ipv4 && !ip.is_link_local(); });
  return flow.outbound && of_family != own.end() ? *of_family : base::Ip::any(ipv4);
}

}  // namespace

std::expected<Flow, std::string> parse_flow(std::string_view text, std::span<const base::Ip> own, std::span<const Group> groups) {
  Flow flow{.to = {}, .from = {}, .interface = {}, .uid = "1000", .gid = "1000"};
  const auto direction = take_word(text);
  if (direction != "out" && direction != "in")
    return std::unexpected(fmt::format("\"{}\" is not accepted, begin with out or in", direction));
  flow.outbound = direction == "out";
  const auto where = take_word(text);
  const auto to = base::SocketAddress::parse(where);
  if (!to || !to->port)
    return std::unexpected(fmt::format("\"{}\" is not accepted, give IP:PORT or [IP]:PORT with a port from 1 to 65535", where));
  flow.to = {as_sent(to->ip), to->port};
  std::optional<base::Ip> from;
  for (auto word = take_word(text); !word.empty(); word = take_word(text)) {
    if (word == "tcp" || word == "udp") {
      flow.udp = word == "udp";
      continue;
    }
    const auto value = take_word(text);
    const auto address = base::Ip::parse(value);
    if (word == "uid" && flow.outbound && id_of(value))
      flow.uid = fmt::format("{}", *id_of(value));
    else if (word == "gid" && flow.outbound && set_group(flow, value, groups))
      continue;
    else if (word == "via" && !value.empty())
      flow.interface = value;
    else if (word == "from" && address)
      from = as_sent(*address);
    else
      return std::unexpected(fmt::format("\"{}{}{}\" is not accepted, give tcp, udp, {}from IP or via INTERFACE", word,
                                         value.empty() ? "" : " ", value, flow.outbound ? "uid NUMBER, gid GROUP, " : ""));
  }
  const auto& ip = flow.to.ip;
  if (from && from->v4 != ip.v4) return std::unexpected(fmt::format("{} and {} are of different families", ip.text(), from->text()));
  // ::6 is an address of lo wherever there are rules for IPv6.
  const bool stays = flow.outbound && (ip.is_loopback() || std::ranges::find(own, ip) != own.end() || ip == base::Ip::parse("::6"));
  if (flow.interface.empty()) flow.interface = stays ? "lo" : "eth0";
  flow.from = from ? *from : source_of(flow, stays, own);
  return flow;
}

std::string trace_text(const Flow& flow, const Verdict& verdict) {
  std::string out = fmt::format("{} {} {}", flow.udp ? "udp" : "tcp", flow.outbound ? "out to" : "in to", flow.to.text());
  if (!flow.from.is_unspecified()) out += fmt::format(" from {}", flow.from.text());
  out += fmt::format(" via {}", flow.interface);
  if (flow.outbound) out += fmt::format(" by user {} of group {}", flow.uid, flow.gid);
  out += '\n';
  for (size_t i = 0; i < verdict.path.size(); ++i) {
    const auto& [table, rule] = verdict.path[i];
    out += fmt::format("{} {} {} {}\n      {}\n", verdict.decider == i ? "  =>" : "    ", name_of(table), rule.chain, rule.spec,
                       sentence(rule));
  }
  switch (verdict.kind) {
    case Verdict::Kind::kRedirect:
      return out + fmt::format("captured: arrives at port {} of the proxy{}\n", verdict.port,
                               verdict.held ? ", and waits until the proxy listens there" : "");
    case Verdict::Kind::kTproxy:
      return out + fmt::format("captured: arrives at the transparent port {} of the proxy\n", verdict.port);
    case Verdict::Kind::kDrop:
      return out + "dropped\n";
    case Verdict::Kind::kUntouched:
      break;
  }
  return out + fmt::format("not captured: goes to {}{}\n", flow.to.text(), verdict.decider ? "" : "; no rule speaks for it");
}

std::string explain_text(const RuleSet& rules) {
  const auto text = family_text(rules.v4, true) + family_text(rules.v6, false);
  return text.empty() ? "no rules: nothing is captured\n" : text;
}

}  // namespace iptables
