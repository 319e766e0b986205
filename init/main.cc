#include <algorithm>
#include <csignal>
#include <cstdio>
#include <cstdlib>

#include <fmt/format.h>

#include "base/version.h"
#include "init/apply.h"
#include "init/environment.h"
#include "init/say.h"
#include "init/validate.h"
#include "iptables/nft.h"
#include "iptables/options.h"
#include "iptables/rules.h"
#include "iptables/trace.h"

namespace {

constexpr int kFailed = 1, kUsage = 2;
constexpr int kNotCaptured = 126;  // Istio: constants.ValidationErrorCode, which its CNI repair controller looks for

int fail(int status, std::string_view message) {
  init::say_line(init::Severity::kError, message);
  return status;
}

// The text per family, and as comments what is set up besides the tables.
std::string dry_run_text(const iptables::Options& options, const iptables::RuleSet& rules) {
  std::string out;
  if (options.native_nftables) out = "# nft -f -\n" + iptables::nft_text(rules, {});
  for (const bool ipv4 : {true, false}) {
    const auto text = iptables::restore_text(rules.family(ipv4));
    if (!ipv4 && text.empty()) continue;
    if (!options.native_nftables) out += fmt::format("# ip{}tables-restore\n{}", ipv4 ? "" : "6", text);
    if (needs_tproxy_routes(options))
      out += fmt::format("# ip{0} rule add fwmark {1} lookup {2}\n# ip{0} route add local default dev lo table {2}\n", ipv4 ? "" : " -6",
                         options.tproxy_mark, options.tproxy_table);
    if (!ipv4) out += "# ip -6 addr add ::6/128 dev lo\n";
  }
  return out;
}

int dry_run(const iptables::Options& options, const iptables::RuleSet& rules) {
  const auto text = dry_run_text(options, rules);
  const bool printed = std::fwrite(text.data(), 1, text.size(), stdout) == text.size() && std::fflush(stdout) == 0;
  if (!printed) return fail(kFailed, "--dry-run: stdout cannot be written");
  if (options.dry_run_file.empty()) return 0;
  std::FILE* file = std::fopen(options.dry_run_file.c_str(), "we");
  const bool written = file && std::fwrite(text.data(), 1, text.size(), file) == text.size();
  const bool closed = file && std::fclose(file) == 0;
  return written && closed ? 0 : fail(kFailed, fmt::format("DRY_RUN_FILE_PATH: {} cannot be written", options.dry_run_file));
}

int print(std::string_view text) {
  const bool printed = std::fwrite(text.data(), 1, text.size(), stdout) == text.size() && std::fflush(stdout) == 0;
  return printed ? 0 : fail(kFailed, "stdout cannot be written");
}

int trace(std::string_view asked, const iptables::RuleSet& rules) {
  const auto flow = iptables::parse_flow(asked, init::own_addresses(), init::groups_of(init::read_file("/etc/group")));
  if (!flow) return fail(kUsage, "--trace: " + flow.error());
  return print(iptables::trace_text(*flow, iptables::trace(rules.family(flow->to.ip.v4), *flow)));
}

// Options that are legal and do not do what one may think.
void warn_of_surprises(const iptables::Options& options, const iptables::Facts& facts) {
  using enum init::Severity;
  if (options.redirect_dns && !options.capture_all_dns && facts.dns_servers.empty())
    init::say(kWarning, "--redirect-dns does nothing: there is no resolver in /etc/resolv.conf; see --capture-all-dns");
  const auto is_ssh = [](const iptables::PortRange& ports) { return ports.first <= 22 && 22 <= ports.last; };
  if (options.host && options.inbound_ports.all && std::ranges::none_of(options.inbound_excluded, is_ssh))
    init::say(kWarning, "--host: new SSH connections will need the proxy; --istio-local-exclude-ports 22 leaves them alone");
}

int run(const iptables::Options& options) {
  const auto facts = init::observe(options);
  const auto rules = iptables::build_rules(options, facts);
  if (options.trace) return trace(*options.trace, rules);
  if (options.explain) return print(iptables::explain_text(rules));
  if (options.cleanup_only) {
    const auto done = init::clean_up(options, rules);
    return done ? 0 : fail(kFailed, done.error());
  }
  warn_of_surprises(options, facts);
  if (options.dry_run) return dry_run(options, rules);
  if (!options.skip_rule_apply)
    if (const auto done = init::apply_rules(options, rules); !done) return fail(kFailed, done.error());
  if (!options.run_validation) return 0;
  const auto captured = init::validate(options, facts, options.skip_rule_apply ? rules : init::applied(options, rules));
  if (!captured) return fail(captured.error().not_captured ? kNotCaptured : kFailed, captured.error().why);
  init::say(init::Severity::kInfo, "connections are captured, checked: {}", *captured);
  return 0;
}

init::Severity least(const iptables::Options& options) {
  if (options.log_level == "debug") return init::Severity::kDebug;
  if (options.log_level == "info") return init::Severity::kInfo;
  return options.log_level == "warn" ? init::Severity::kWarning : init::Severity::kError;
}

}  // namespace

int main(int argc, char** argv) {
  // A reader of our lines that goes away must not end the run between the rules of one family and those of the other.
  std::signal(SIGPIPE, SIG_IGN);
  const std::span<const char* const> arguments(argv + (argc > 0 ? 1 : 0), static_cast<size_t>(argc > 0 ? argc - 1 : 0));
  const auto invocation = iptables::parse_options(arguments, [](const char* name) { return std::getenv(name); });
  if (!invocation) return fail(kUsage, invocation.error());
  if (invocation->action == iptables::Action::kHelp) return std::fputs(iptables::help().c_str(), stdout) < 0;
  if (invocation->action == iptables::Action::kVersion) {
    fmt::print("sluice-init {}\n", base::version_line());
    return 0;
  }
  init::say_as(least(invocation->options), invocation->options.log_as_json);
  return run(invocation->options);
}
