#pragma once

#include <expected>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/ip.h"
#include "iptables/rules.h"

namespace iptables {

// The first packet of a connection, or a datagram, as the rules see it.
struct Flow {
  bool outbound = true;  // a process in the pod sends it; else it comes in from outside
  bool udp = false;
  base::SocketAddress to;
  base::Ip from;
  bool from_anybody = false;  // `from` is but an example: what asks for the sender stays open
  std::string interface;      // that it leaves by, or comes in by; lo for what stays in the pod
  std::string uid, gid;       // of the process, outbound only
  std::string group{};        // the name of gid, which a rule may give instead; empty: it has none
};

struct Group {
  std::string name;
  uint32_t gid = 0;
};

// Reads "out 10.0.0.7:443 uid 1000", "in 10.0.0.9:80 from 10.0.0.3", with `tcp` or `udp`, `gid N`, `from IP` and `via INTERFACE`
// anywhere behind the address. `own` are the pod's addresses: what goes to one of them, to loopback or to ::6 stays on lo.
// A group may be given by its name or number; `groups` are those that are known. Defaults: tcp, uid and gid 1000, eth0, and the
// source that the kernel would choose. The error is one line that names the word and what is accepted.
std::expected<Flow, std::string> parse_flow(std::string_view text, std::span<const base::Ip> own, std::span<const Group> groups = {});

struct Verdict {
  enum class Kind : uint8_t {
    kUntouched,  // goes where it was going
    kRedirect,   // to a port of the proxy, by REDIRECT
    kTproxy,     // to the proxy's transparent inbound port
    kDrop,
  } kind = Kind::kUntouched;
  uint16_t port = 0;  // of the proxy
  bool held = false;  // --hold-until-ready: it waits as long as nobody listens there; the path is that of the proxy listening
  struct Step {
    Table table;
    Rule rule;
  };
  std::vector<Step> path;         // the rules that matched, in the order of the kernel's hooks
  std::optional<size_t> decider;  // the step of `path` that settled it; none: no rule had anything to say
};

// What the rules do with the flow, and why. Pure: knows no routes, no other rules and no earlier packets. Understands exactly
// the vocabulary of rules.cc.
Verdict trace(const FamilyRules& rules, const Flow& flow);

// For people: the verdict with every rule on the way, and the whole rule set, one sentence per rule.
std::string trace_text(const Flow& flow, const Verdict& verdict);
std::string explain_text(const RuleSet& rules);

}  // namespace iptables
