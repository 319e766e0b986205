#pragma once

#include <chrono>
#include <cstdint>
#include <expected>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/ip.h"

namespace iptables {

enum class Mode : uint8_t { kRedirect, kTproxy };
enum class Ipv6 : uint8_t { kAuto, kOn, kOff };
enum class Backend : uint8_t { kDetect, kNft, kLegacy };

struct PortRange {
  uint16_t first = 0, last = 0;
  std::string text() const;  // "80" or "7000:7010", as iptables writes it
};

// Either everything ("*") or the list; an empty list is nothing.
template <class T>
struct Selection {
  bool all = false;
  std::vector<T> list;
  bool empty() const noexcept { return !all && list.empty(); }
};

// What the user asked for. Every member has exactly one row in the table of options.cc, which also holds its default.
// Ids and interface names are kept as text because they go into rules word for word; the parsers have checked them.
struct Options {
  uint16_t proxy_port = 0, inbound_port = 0, tunnel_port = 0, probe_port = 0;
  std::vector<std::string> proxy_uids, proxy_gids;  // empty: the uid of envoy_user; empty gids: the same as the uids
  std::string envoy_user;
  Mode mode = Mode::kRedirect;
  Selection<PortRange> inbound_ports;
  std::vector<PortRange> inbound_excluded, outbound_included, outbound_excluded;
  std::vector<std::string> excluded_interfaces, virtual_interfaces;
  Selection<base::Cidr> outbound_ranges;
  std::vector<base::Cidr> outbound_excluded_ranges;
  Selection<std::string> owner_groups;
  std::vector<std::string> owner_groups_excluded;
  base::Cidr loopback;  // IPv4; IPv6 has one loopback address only
  uint32_t tproxy_mark = 0, tproxy_table = 0;
  bool redirect_dns = false, capture_all_dns = false, drop_invalid = false, dual_stack = false, hold_until_ready = false, host = false;
  std::optional<std::vector<base::Ip>> dns_servers;  // unset: /etc/resolv.conf
  Ipv6 ipv6 = Ipv6::kAuto;
  Backend backend = Backend::kDetect;
  bool dry_run = false, skip_rule_apply = false, run_validation = false, reconcile = false, cleanup_only = false;
  bool explain = false;
  std::optional<std::string> trace;  // a flow in the words of trace.h
  bool force_apply = false, native_nftables = false, cni_mode = false, log_as_json = false;
  std::string network_namespace, dry_run_file, log_level;
  std::chrono::milliseconds probe_timeout{};
};

enum class Action : uint8_t { kRun, kHelp, kVersion };

struct Invocation {
  Action action = Action::kRun;
  Options options;
};

using Getenv = std::function<const char*(const char* name)>;

// Reads the arguments (without the program's name) over the environment over the defaults. An empty variable counts as unset,
// an empty argument does not. The error is one line without a newline that names the flag or the variable and the value, also
// where values do not go together.
std::expected<Invocation, std::string> parse_options(std::span<const char* const> arguments, const Getenv& environment);

// What --help prints: one line per row of the table.
std::string help();

}  // namespace iptables
