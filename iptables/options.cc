#include "iptables/options.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>

#include <fmt/format.h>

namespace iptables {
namespace {

// A parser stores the value, or hands back the part of it that is wrong.
using Wrong = std::optional<std::string_view>;
using Parse = Wrong (*)(Options&, std::string_view);

struct Row {
  std::string_view name;  // empty: can be set by a variable only
  char shorthand = 0;
  std::array<const char*, 2> env{};  // the later one wins
  const char* fallback = "";
  Parse parse = nullptr;
  std::string_view accepts;  // completes "give …"
  std::string_view help;
  bool is_switch = false;  // may stand without a value
};

// ---- values ----------------------------------------------------------------------------------------------------------

std::optional<uint32_t> number(std::string_view text, uint32_t low, uint32_t high) {
  const bool hex = text.starts_with("0x") || text.starts_with("0X");
  if (hex) text.remove_prefix(2);
  uint32_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, hex ? 16 : 10);
  if (error != std::errc{} || end != text.data() + text.size() || value < low || value > high) return std::nullopt;
  return value;
}

std::optional<uint16_t> decimal_port(std::string_view text) {
  const auto value = text.starts_with('0') ? std::nullopt : number(text, 1, 65535);
  return value ? std::optional(static_cast<uint16_t>(*value)) : std::nullopt;
}

std::optional<PortRange> port_range(std::string_view text) {
  const auto colon = text.find(':');
  const auto first = decimal_port(text.substr(0, colon));
  const auto last = colon == std::string_view::npos ? first : decimal_port(text.substr(colon + 1));
  if (!first || !last || *first > *last) return std::nullopt;
  return PortRange{*first, *last};
}

// A user or group id, or a range of them. Names are left out on purpose: a lookup could hang on a name service.
std::optional<std::string> numeric_id(std::string_view text) {
  const auto decimal = [](std::string_view part) { return part.starts_with("0x") ? std::nullopt : number(part, 0, 0xfffffffe); };
  const auto dash = text.find('-');
  const auto first = decimal(text.substr(0, dash));
  const auto last = dash == std::string_view::npos ? first : decimal(text.substr(dash + 1));
  if (!first || !last || *first > *last) return std::nullopt;
  return std::string(text);
}

bool plain(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '.'; }

// Istio accepts names of groups, so we do; the character set keeps a value from becoming another argument of the rule.
std::optional<std::string> group(std::string_view text) {
  if (text.empty() || text.size() > 32 || text.front() == '-') return std::nullopt;
  if (!std::ranges::all_of(text, [](char c) { return plain(c) || c == '-'; })) return std::nullopt;
  if (text.front() >= '0' && text.front() <= '9') return numeric_id(text);
  return std::string(text);
}

// IFNAMSIZ leaves 15 characters; a final + is iptables' wildcard.
std::optional<std::string> interface_name(std::string_view text) {
  const auto name = text.ends_with('+') ? text.substr(0, text.size() - 1) : text;
  if (text.empty() || text.size() > 15 || text.front() == '-' || name == "." || name == "..") return std::nullopt;
  if (!std::ranges::all_of(name, [](char c) { return plain(c) || c == '-' || c == '@'; })) return std::nullopt;
  return std::string(text);
}

// The spellings of Go's strconv.ParseBool, which Istio's flags use.
std::optional<bool> boolean(std::string_view text) {
  for (const auto yes : {"1", "t", "T", "true", "TRUE", "True"})
    if (text == yes) return true;
  for (const auto no : {"0", "f", "F", "false", "FALSE", "False"})
    if (text == no) return false;
  return std::nullopt;
}

std::optional<base::Cidr> cidr(std::string_view text) { return base::Cidr::parse(text); }
std::optional<base::Ip> ip(std::string_view text) { return base::Ip::parse(text); }

template <class T>
Wrong split(std::string_view text, std::optional<T> (*item)(std::string_view), std::vector<T>& out) {
  out.clear();
  while (!text.empty()) {
    const auto comma = text.find(',');
    auto piece = text.substr(0, comma);
    text.remove_prefix(comma == std::string_view::npos ? text.size() : comma + 1);
    while (piece.starts_with(' ')) piece.remove_prefix(1);
    while (piece.ends_with(' ')) piece.remove_suffix(1);
    if (piece.empty()) continue;  // "80,,443," is legal
    auto value = item(piece);
    if (!value) return piece;
    out.push_back(std::move(*value));
  }
  return {};
}

// ---- parsers, one per type of member -----------------------------------------------------------------------------------

template <auto Member>
Wrong a_port(Options& o, std::string_view text) {
  const auto value = decimal_port(text);
  if (!value) return text;
  o.*Member = *value;
  return {};
}
template <auto Member, auto Item>
Wrong a_list(Options& o, std::string_view text) {
  return split(text, +Item, o.*Member);
}
template <auto Member, auto Item>
Wrong a_selection(Options& o, std::string_view text) {
  auto& selection = o.*Member;
  selection.all = text == "*";
  if (!selection.all) return split(text, +Item, selection.list);
  selection.list.clear();
  return {};
}
template <auto Member>
Wrong a_number(Options& o, std::string_view text) {
  const auto value = number(text, 1, 0xffffffff);
  if (!value) return text;
  o.*Member = *value;
  return {};
}
template <auto Member>
Wrong a_text(Options& o, std::string_view text) {
  o.*Member = text;
  return {};
}
template <auto Member>
Wrong a_switch(Options& o, std::string_view text) {
  const auto value = boolean(text);
  if (!value) return text;
  o.*Member = *value;
  return {};
}
Wrong a_mode(Options& o, std::string_view text) {
  if (!text.empty() && text != "REDIRECT" && text != "TPROXY") return text;
  o.mode = text == "TPROXY" ? Mode::kTproxy : Mode::kRedirect;
  return {};
}
// 0 is the mark of every packet, 1338 marks the proxy's calls to its own pod (rules.cc).
Wrong a_mark(Options& o, std::string_view text) {
  if (const auto wrong = a_number<&Options::tproxy_mark>(o, text)) return wrong;
  return o.tproxy_mark == 1338 ? Wrong{text} : Wrong{};
}
// The kernel's own tables: default 253, main 254, local 255.
Wrong a_table(Options& o, std::string_view text) {
  if (const auto wrong = a_number<&Options::tproxy_table>(o, text)) return wrong;
  return o.tproxy_table >= 253 && o.tproxy_table <= 255 ? Wrong{text} : Wrong{};
}
Wrong a_backend(Options& o, std::string_view text) {
  if (!text.empty() && text != "legacy" && text != "nft") return text;
  o.backend = text == "nft" ? Backend::kNft : text == "legacy" ? Backend::kLegacy : Backend::kDetect;
  return {};
}
Wrong an_ipv6(Options& o, std::string_view text) {
  const auto value = boolean(text);
  if (!value && text != "auto") return text;
  o.ipv6 = !value ? Ipv6::kAuto : *value ? Ipv6::kOn : Ipv6::kOff;
  return {};
}
Wrong dns_servers(Options& o, std::string_view text) { return split(text, +ip, o.dns_servers.emplace()); }
Wrong loopback(Options& o, std::string_view text) {
  const auto value = text.find('/') == std::string_view::npos ? std::nullopt : base::Cidr::parse(text);
  if (!value || !value->base.is_loopback() || !value->base.v4 || value->length < 8) return text;
  o.loopback = *value;
  return {};
}
Wrong owner_groups(Options& o, std::string_view text) {
  if (const auto wrong = a_selection<&Options::owner_groups, group>(o, text)) return wrong;
  return o.owner_groups.list.size() > 64 ? Wrong{text} : Wrong{};
}
// Digits with at most one point among them: "5", "1.5", ".5", "5.". The rest of the text comes behind them.
std::optional<double> decimal(std::string_view& text) {
  const auto size = std::min(text.size(), text.find_first_not_of("0123456789."));
  const auto digits = text.substr(0, size);
  if (std::ranges::count(digits, '.') > 1 || digits.find_first_of("0123456789") == std::string_view::npos) return std::nullopt;
  double value = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value, std::chars_format::fixed);
  if (error != std::errc{} || end != digits.data() + digits.size()) return std::nullopt;
  text.remove_prefix(size);
  return value;
}
// Go: time.ParseDuration, without the minus: "5s", "1m30s", "1.5h", "500ms". Parts of a millisecond count as a whole one.
Wrong probe_timeout(Options& o, std::string_view text) {
  struct Unit {
    std::string_view name;
    double milliseconds;
  };
  // Those that begin with another one come first. Go knows two signs for micro: U+00B5 and U+03BC.
  static constexpr Unit kUnits[] = {{"ns", 1e-6}, {"us", 1e-3}, {"\u00b5s", 1e-3}, {"\u03bcs", 1e-3},
                                    {"ms", 1},    {"s", 1e3},   {"m", 6e4},        {"h", 3.6e6}};
  constexpr double kDay = 24 * 3.6e6;  // nobody waits longer, and it fits into every clock
  auto rest = text;
  if (rest.starts_with('+')) rest.remove_prefix(1);
  double sum = 0;
  while (!rest.empty()) {
    const auto value = decimal(rest);
    const auto unit = std::ranges::find_if(kUnits, [&](const Unit& one) { return rest.starts_with(one.name); });
    if (!value || unit == std::end(kUnits)) return text;
    rest.remove_prefix(unit->name.size());
    sum += *value * unit->milliseconds;
    if (!(sum <= kDay)) return text;
  }
  if (!(sum > 0)) return text;
  o.probe_timeout = std::chrono::milliseconds(static_cast<int64_t>(std::ceil(sum)));
  return {};
}
// Left out and empty are not the same: who asks with a variable that is not set must not get the rules instead of an answer.
Wrong a_trace(Options& o, std::string_view text) {
  if (text.find_first_not_of(" \t") == std::string_view::npos) return text;
  o.trace = text;
  return {};
}
// Istio's form is SCOPE:LEVEL[,…]; we have one scope, so the last level named counts.
Wrong log_level(Options& o, std::string_view text) {
  const auto level = text.substr(text.rfind(':') + 1);
  for (const auto known : {"none", "fatal", "error", "warn", "info", "debug"})
    if (level == known) return o.log_level = level, Wrong{};
  return text;
}

constexpr std::string_view kPort = "a port from 1 to 65535", kPorts = "ports from 1 to 65535 or ranges like 7000:7010, separated by commas",
                           kSwitch = "true or false", kIds = "numeric ids separated by commas",
                           kCidrs = "CIDRs like 10.0.0.0/8 separated by commas",
                           kNics = "interface names of at most 15 characters separated by commas", kAny = "any text";

// THE table: names, variables, defaults, parsers, help. Istio: tools/istio-iptables, pkg/config and pkg/cmd.
// clang-format off: one row per option reads as the table that it is
constexpr Row kRows[] = {
  {"envoy-port", 'p', {}, "15001", a_port<&Options::proxy_port>, kPort, "the proxy's port for outbound connections"},
  {"inbound-capture-port", 'z', {"INBOUND_CAPTURE_PORT"}, "15006", a_port<&Options::inbound_port>, kPort, "the proxy's port for inbound connections"},
  {"inbound-tunnel-port", 'e', {"INBOUND_TUNNEL_PORT"}, "15008", a_port<&Options::tunnel_port>, kPort, "the HBONE port, never captured"},
  {"proxy-uid", 'u', {"PROXY_UID"}, "", a_list<&Options::proxy_uids, numeric_id>, kIds, "users whose traffic is not captured (default: the uid of $ENVOY_USER, else 1337)"},
  {"proxy-gid", 'g', {"PROXY_GID"}, "", a_list<&Options::proxy_gids, numeric_id>, kIds, "groups whose traffic is not captured (default: as --proxy-uid)"},
  {"istio-inbound-interception-mode", 'm', {"ISTIO_INBOUND_INTERCEPTION_MODE"}, "", a_mode, "REDIRECT or TPROXY", "how inbound connections reach the proxy"},
  {"istio-inbound-ports", 'b', {"ISTIO_INBOUND_PORTS"}, "", a_selection<&Options::inbound_ports, port_range>, kPorts, "inbound ports to capture, * for all (default: none)"},
  {"istio-local-exclude-ports", 'd', {"ISTIO_LOCAL_EXCLUDE_PORTS"}, "", a_list<&Options::inbound_excluded, port_range>, kPorts, "inbound ports not to capture, only with -b '*'"},
  {"istio-exclude-interfaces", 'c', {"ISTIO_EXCLUDE_INTERFACES"}, "", a_list<&Options::excluded_interfaces, interface_name>, kNics, "interfaces whose traffic is left alone"},
  {"istio-service-cidr", 'i', {"ISTIO_SERVICE_CIDR"}, "", a_selection<&Options::outbound_ranges, cidr>, kCidrs, "outbound destinations to capture, * for all (default: none)"},
  {"istio-service-exclude-cidr", 'x', {"ISTIO_SERVICE_EXCLUDE_CIDR"}, "", a_list<&Options::outbound_excluded_ranges, cidr>, kCidrs, "outbound destinations not to capture"},
  {"istio-outbound-ports", 'q', {"ISTIO_OUTBOUND_PORTS"}, "", a_list<&Options::outbound_included, port_range>, kPorts, "outbound ports to capture whatever the destination"},
  {"istio-local-outbound-ports-exclude", 'o', {"ISTIO_LOCAL_OUTBOUND_PORTS_EXCLUDE"}, "", a_list<&Options::outbound_excluded, port_range>, kPorts, "outbound ports not to capture"},
  {"kube-virt-interfaces", 'k', {"KUBE_VIRT_INTERFACES"}, "", a_list<&Options::virtual_interfaces, interface_name>, kNics, "interfaces of virtual machines: what comes in there counts as outbound"},
  {"istio-inbound-tproxy-mark", 't', {"ISTIO_INBOUND_TPROXY_MARK"}, "1337", a_mark, "a number other than 0 and 1338", "packet mark in TPROXY mode"},
  {"istio-inbound-tproxy-route-table", 'r', {"ISTIO_INBOUND_TPROXY_ROUTE_TABLE"}, "133", a_table, "a number other than 0 and 253 to 255", "routing table in TPROXY mode"},
  {"dry-run", 'n', {"DRY_RUN"}, "false", a_switch<&Options::dry_run>, kSwitch, "change nothing, print the text for a namespace without earlier rules", true},
  {"iptables-probe-port", 0, {"IPTABLES_PROBE_PORT"}, "15002", a_port<&Options::probe_port>, kPort, "the port --run-validation connects to"},
  {"probe-timeout", 0, {"PROBE_TIMEOUT"}, "5s", probe_timeout, "a duration like 5s, 1.5s or 500ms, above 0 and up to 24h", "how long --run-validation waits"},
  {"skip-rule-apply", 0, {"SKIP_RULE_APPLY"}, "false", a_switch<&Options::skip_rule_apply>, kSwitch, "leave the rules as they are", true},
  {"run-validation", 0, {"RUN_VALIDATION"}, "false", a_switch<&Options::run_validation>, kSwitch, "check that connections are captured; exit 126 if not", true},
  {"redirect-dns", 0, {"REDIRECT_DNS", "ISTIO_META_DNS_CAPTURE"}, "false", a_switch<&Options::redirect_dns>, kSwitch, "capture DNS queries to the configured resolvers", true},
  {"capture-all-dns", 0, {"CAPTURE_ALL_DNS"}, "false", a_switch<&Options::capture_all_dns>, kSwitch, "with --redirect-dns: capture queries to any resolver", true},
  {"drop-invalid", 0, {"DROP_INVALID", "INVALID_DROP"}, "false", a_switch<&Options::drop_invalid>, kSwitch, "drop packets that conntrack calls INVALID", true},
  {"dual-stack", 0, {"DUAL_STACK", "ISTIO_DUAL_STACK"}, "false", a_switch<&Options::dual_stack>, kSwitch, "accepted for Istio; all addresses are always looked at", true},
  {"network-namespace", 0, {"NETWORK_NAMESPACE"}, "", a_text<&Options::network_namespace>, kAny, "file that serves as xtables lock in CNI mode"},
  {"cni-mode", 0, {"CNI_MODE"}, "false", a_switch<&Options::cni_mode>, kSwitch, "run by a CNI plug-in: own mount namespace, no name service", true},
  {"reconcile", 0, {"RECONCILE"}, "false", a_switch<&Options::reconcile>, kSwitch, "replace rules of another configuration (always done, in one step)", true},
  {"cleanup-only", 0, {"CLEANUP_ONLY"}, "false", a_switch<&Options::cleanup_only>, kSwitch, "remove what any earlier run made", true},
  {"force-apply", 0, {"FORCE_APPLY"}, "false", a_switch<&Options::force_apply>, kSwitch, "write the rules even when they are there already", true},
  {"native-nftables", 0, {"NATIVE_NFTABLES"}, "false", a_switch<&Options::native_nftables>, kSwitch, "make nftables tables with nft instead of iptables rules", true},
  {"force-iptables-binary", 0, {"FORCE_IPTABLES_BINARY"}, "", a_backend, "legacy or nft", "skip the detection of the backend"},
  {"enable-ipv6", 0, {}, "auto", an_ipv6, "auto, true or false", "IPv6 rules; auto: when there is an IPv6 address that is not link-local"},
  {"dns-servers", 0, {}, nullptr, dns_servers, "IP addresses separated by commas", "resolvers instead of those in /etc/resolv.conf"},
  {"hold-until-ready", 0, {"HOLD_UNTIL_READY"}, "false", a_switch<&Options::hold_until_ready>, kSwitch, "captured connections wait until the proxy listens instead of being refused", true},
  {"host", 0, {}, "false", a_switch<&Options::host>, kSwitch, "this is a machine in the mesh, not a pod: allow its own network namespace", true},
  {"explain", 0, {}, "false", a_switch<&Options::explain>, kSwitch, "change nothing, print the rules in words", true},
  {"trace", 0, {}, nullptr, a_trace, "a connection like 'out 10.0.0.7:443 uid 1000'", "change nothing, say what happens to a connection: 'out 10.0.0.7:443 uid 1000', 'in 10.0.0.9:80 from 10.0.0.3'"},
  {"log_output_level", 0, {}, "default:info", log_level, "a level like info or default:info", "none, fatal, error, warn, info or debug"},
  {"log_as_json", 0, {}, "false", a_switch<&Options::log_as_json>, kSwitch, "one JSON object per line on stderr", true},
  {"", 0, {"ISTIO_OUTBOUND_OWNER_GROUPS"}, "*", owner_groups, "* or at most 64 groups", "groups whose outbound traffic is captured"},
  {"", 0, {"ISTIO_OUTBOUND_OWNER_GROUPS_EXCLUDE"}, "", a_list<&Options::owner_groups_excluded, group>, "groups separated by commas", "groups whose outbound traffic is not captured"},
  {"", 0, {"ISTIO_OUTBOUND_IPV4_LOOPBACK_CIDR"}, "127.0.0.1/32", loopback, "a part of 127.0.0.0/8 with its length", "the IPv4 addresses that count as loopback"},
  {"", 0, {"ENVOY_USER"}, "istio-proxy", a_text<&Options::envoy_user>, kAny, "the user whose uid is the default of --proxy-uid"},
  {"", 0, {"DRY_RUN_FILE_PATH"}, "", a_text<&Options::dry_run_file>, kAny, "file that gets the text of --dry-run too"},
};
// clang-format on

// ---- reading -----------------------------------------------------------------------------------------------------------

// A value as it may stand in a line of a terminal or a log.
std::string shown(std::string_view value) {
  std::string out;
  for (const char c : value.substr(0, 80)) {
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f)
      out += fmt::format("\\x{:02x}", static_cast<unsigned char>(c));
    else
      out += c;
  }
  return value.size() > 80 ? out + "…" : out;
}

std::string complaint(std::string_view where, const Row& row, std::string_view wrong, std::string_view value) {
  const auto part = wrong == value ? "" : fmt::format(" (in a list of {} characters)", value.size());
  return fmt::format("{}: \"{}\"{} is not accepted, give {}", where, shown(wrong), part, row.accepts);
}

std::string flag_name(const Row& row) {
  return row.shorthand ? fmt::format("--{} (-{})", row.name, row.shorthand) : fmt::format("--{}", row.name);
}

const Row* row_named(std::string_view name) {
  const auto found = std::ranges::find_if(kRows, [&](const Row& row) { return !name.empty() && row.name == name; });
  return found == std::end(kRows) ? nullptr : found;
}
const Row* row_short(char letter) {
  const auto found = std::ranges::find_if(kRows, [&](const Row& row) { return row.shorthand && row.shorthand == letter; });
  return found == std::end(kRows) ? nullptr : found;
}

std::optional<std::string> defaults_and_environment(Options& options, const Getenv& environment) {
  for (const Row& row : kRows) {
    if (row.fallback) row.parse(options, row.fallback);
    for (const char* variable : row.env) {
      const char* value = variable ? environment(variable) : nullptr;
      if (!value || !*value) continue;
      if (const auto wrong = row.parse(options, value)) return complaint(variable, row, *wrong, value);
    }
  }
  return {};
}

// One argument in the syntax of Go's pflag: --name=value, --name value, --switch, -x value, -xvalue, -x=value, -n.
class Arguments {
 public:
  Arguments(std::span<const char* const> rest, Invocation& out) : rest_(rest), out_(out) {}
  std::optional<std::string> read() {
    while (!rest_.empty()) {
      const std::string_view argument = take();
      const auto problem = argument.starts_with("--")                         ? long_flag(argument)
                           : argument.starts_with('-') && argument.size() > 1 ? short_flags(argument)
                                                                              : stray(argument);
      if (problem) return problem;
      if (out_.action != Action::kRun) return {};
    }
    return {};
  }

 private:
  std::string_view take() {
    const std::string_view first = rest_.front();
    rest_ = rest_.subspan(1);
    return first;
  }
  static std::string stray(std::string_view argument) {
    return fmt::format("\"{}\" is no flag, and there are no other arguments; see --help", shown(argument));
  }

  std::optional<std::string> set(const Row& row, std::optional<std::string_view> value) {
    if (!value && row.is_switch) value = "true";
    if (!value && rest_.empty()) return fmt::format("{} needs a value, give {}", flag_name(row), row.accepts);
    if (!value) value = take();
    if (const auto wrong = row.parse(out_.options, *value)) return complaint(flag_name(row), row, *wrong, *value);
    return {};
  }
  std::optional<std::string> long_flag(std::string_view argument) {
    const auto equals = argument.find('=');
    const auto name = argument.substr(2, equals == std::string_view::npos ? equals : equals - 2);
    if (argument == "--help" || argument == "--version")
      return out_.action = argument == "--help" ? Action::kHelp : Action::kVersion, std::nullopt;
    const Row* row = row_named(name);
    if (!row) return fmt::format("--{} is not known; see --help", shown(name));
    return set(*row, equals == std::string_view::npos ? std::nullopt : std::optional(argument.substr(equals + 1)));
  }
  std::optional<std::string> short_flags(std::string_view argument) {
    for (size_t i = 1; i < argument.size(); ++i) {
      if (argument[i] == 'h') return out_.action = Action::kHelp, std::nullopt;
      const Row* row = row_short(argument[i]);
      if (!row) return fmt::format("-{} is not known; see --help", shown(argument.substr(i, 1)));
      auto value = argument.substr(i + 1);
      if (row->is_switch && !value.starts_with('=')) {
        if (const auto problem = set(*row, std::nullopt)) return problem;
        continue;  // -n may be followed by another letter
      }
      if (value.starts_with('=')) value.remove_prefix(1);
      return set(*row, i + 1 == argument.size() ? std::nullopt : std::optional(value));
    }
    return {};
  }

  std::span<const char* const> rest_;
  Invocation& out_;
};

}  // namespace

std::string PortRange::text() const { return first == last ? fmt::format("{}", first) : fmt::format("{}:{}", first, last); }

std::expected<Invocation, std::string> parse_options(std::span<const char* const> arguments, const Getenv& environment) {
  Invocation out;
  const auto wrong_environment = defaults_and_environment(out.options, environment);
  if (const auto problem = Arguments(arguments, out).read()) return std::unexpected(*problem);
  // --help and --version answer whatever the environment holds.
  if (wrong_environment && out.action == Action::kRun) return std::unexpected(*wrong_environment);
  // Who comes to such a port could be either; no rule set of Istio has it, and its proxy cannot listen there twice.
  if (out.action == Action::kRun && !out.options.cleanup_only && out.options.proxy_port == out.options.inbound_port)
    return std::unexpected(fmt::format("{}: \"{}\" is not accepted, it is the value of {} too; give each a port of its own",
                                       flag_name(*row_short('z')), out.options.inbound_port, flag_name(*row_short('p'))));
  return out;
}

std::string help() {
  std::string out =
      "sluice-init programs iptables in the current network namespace so that connections pass through the proxy.\n"
      "Usage: sluice-init [flags]\n\nFlags, with the variable that sets them too (a flag wins):\n";
  for (const Row& row : kRows) {
    std::string env;
    for (const char* variable : row.env)
      if (variable) env += fmt::format("{}{}", env.empty() ? "" : ", ", variable);
    const auto left =
        row.name.empty() ? env : fmt::format("{}--{}", row.shorthand ? fmt::format("-{}, ", row.shorthand) : "    ", row.name);
    const std::string_view fallback = row.fallback ? row.fallback : "";
    out += fmt::format("  {:<43} {}", left, row.help);
    if (!row.name.empty() && !env.empty()) out += fmt::format(" [{}]", env);
    if (!fallback.empty() && fallback != "false") out += fmt::format(" (default {})", fallback);
    out += '\n';
  }
  return out +
         "  -h, --help                                  this text\n      --version                               version and git hash\n";
}

}  // namespace iptables
