#include "init/tools.h"

#include <algorithm>
#include <charconv>

#include <fmt/format.h>

#include "init/environment.h"
#include "init/program.h"

namespace init {
namespace {

std::string one_line(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (c != '\n')
      out += c;
    else if (!out.empty() && !out.ends_with("; ") && !out.ends_with(": "))
      out += "; ";
  }
  while (out.ends_with("; ")) out.resize(out.size() - 2);
  return out;
}

// "line 7: RULE_APPEND failed", "line 7 failed", "Error occurred at line: 7" → the seventh line of what was fed.
std::string_view refused_line(std::string_view error, std::string_view text) {
  const auto at = error.find("line");
  if (at == std::string_view::npos) return {};
  const auto digits = error.find_first_of("0123456789", at);
  size_t number = 0;
  if (digits == std::string_view::npos || digits > at + 7) return {};
  std::from_chars(error.data() + digits, error.data() + error.size(), number);
  for (; number > 1 && !text.empty(); --number) {
    const auto end = text.find('\n');
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
  }
  return text.substr(0, text.find('\n'));
}

constexpr unsigned kNetRaw = 13;

}  // namespace

std::vector<Tools> Tools::installed(const std::string& lock_file) {
  struct Kind {
    std::string_view infix;
    iptables::Backend backend;
  };
  std::vector<Tools> out;
  for (const Kind kind :
       {Kind{"-nft", iptables::Backend::kNft}, Kind{"-legacy", iptables::Backend::kLegacy}, Kind{"", iptables::Backend::kDetect}}) {
    if (kind.infix.empty() && !out.empty()) break;  // the plain names are links to one of the others
    Tools tools;
    tools.name_ = fmt::format("iptables{}", kind.infix);
    tools.backend_ = kind.backend;
    for (int six = 0; six < 2; ++six) {
      tools.save_[six] = find_program(fmt::format("ip{}tables{}-save", six ? "6" : "", kind.infix));
      tools.restore_[six] = find_program(fmt::format("ip{}tables{}-restore", six ? "6" : "", kind.infix));
    }
    // Only what these programs need: XTABLES_LIBDIR, IPTABLES_*, LD_* of the pod author would run code of his choice.
    tools.environment_ = {fmt::format("PATH={}", kPath), "LC_ALL=C"};
    if (!lock_file.empty()) tools.environment_.push_back("XTABLES_LOCKFILE=" + lock_file);
    if (!tools.save_[0].empty() && !tools.restore_[0].empty()) out.push_back(std::move(tools));
  }
  return out;
}

std::expected<iptables::Saved, std::string> Tools::save(bool ipv4) const {
  const auto& path = save_[ipv4 ? 0 : 1];
  if (path.empty()) return iptables::Saved{};
  // Any question about a legacy table registers it, and from then on the backend looks as if it were in use.
  if (backend_ == iptables::Backend::kLegacy && read_file(ipv4 ? "/proc/net/ip_tables_names" : "/proc/net/ip6_tables_names").empty())
    return iptables::Saved{};
  const auto done = run_program(path, {}, environment_, {});
  if (!done) return std::unexpected(done.error());
  if (done->status != 0) return std::unexpected(fmt::format("{} failed: {}", path, one_line(done->err)));
  return iptables::parse_saved(done->out);
}

std::expected<void, std::string> Tools::restore(bool ipv4, const std::string& text) const {
  const auto& path = restore_[ipv4 ? 0 : 1];
  if (path.empty()) return std::unexpected(fmt::format("{} for IPv6 is not installed", name_));
  if (backend_ == iptables::Backend::kLegacy && !has_capability(read_file("/proc/self/status"), kNetRaw))
    return std::unexpected("iptables-legacy needs the capability NET_RAW besides NET_ADMIN; grant it or use --force-iptables-binary=nft");
  // Another program may hold the xtables lock; the wait is bounded, or a stuck one would hold up the pod for ever.
  const std::vector<std::string> arguments{"--noflush", "-w", "30"};
  const auto done = run_program(path, arguments, environment_, text);
  if (!done) return std::unexpected(done.error());
  if (done->status == 0) return {};
  const auto refused = refused_line(done->err, text);
  return std::unexpected(fmt::format("{} refused the rules{}: {}", path, refused.empty() ? "" : fmt::format(" at \"{}\"", refused),
                                     done->err.empty() ? fmt::format("exit {}", done->status) : one_line(done->err)));
}

}  // namespace init
