#include "init/tools.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <utility>

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

// The modules that hold the words of rules.cc, for kernels that are built without them.
std::string needs_text(std::string_view rules) {
  static constexpr std::pair<std::string_view, std::string_view> kModules[] = {{"-m owner", "xt_owner"},
                                                                               {"-m socket", "xt_socket"},
                                                                               {"-m multiport", "xt_multiport"},
                                                                               {"-m conntrack", "xt_conntrack"},
                                                                               {"-m connmark", "xt_connmark"},
                                                                               {"-j CONNMARK", "xt_connmark"},
                                                                               {"-m mark", "xt_mark"},
                                                                               {"-j MARK", "xt_mark"},
                                                                               {"-j REDIRECT", "xt_REDIRECT"},
                                                                               {"-j TPROXY", "xt_TPROXY"},
                                                                               {"-j CT", "xt_CT"}};
  std::string out;
  for (const auto& [words, module] : kModules)
    if (rules.find(words) != std::string_view::npos && out.find(module) == std::string::npos)
      out += fmt::format("{} {}", out.empty() ? ", which needs the kernel module" : ",", module);
  return out;
}

// "line 7: RULE_APPEND failed", "line 7 failed", "Error occurred at line: 7" → 7; 0 when no line is named.
size_t line_number(std::string_view error) {
  const auto at = error.find("line");
  if (at == std::string_view::npos) return 0;
  const auto digits = error.find_first_of("0123456789", at);
  size_t number = 0;
  if (digits == std::string_view::npos || digits > at + 7) return 0;
  std::from_chars(error.data() + digits, error.data() + error.size(), number);
  return number;
}

// Where in the text that was fed the error is, and what the kernel must have for it.
std::string place_of(std::string_view error, std::string_view text) {
  auto left = line_number(error);
  if (!left) return {};
  std::string_view table, line;
  std::string rules;  // of the table so far: legacy names the line of the COMMIT only
  for (; left && !text.empty(); --left) {
    line = text.substr(0, text.find('\n'));
    text.remove_prefix(std::min(text.size(), line.size() + 1));
    if (line.starts_with('*')) {
      table = line.substr(line.find_first_not_of("* "));
      rules.clear();
    }
    rules += fmt::format("{}\n", line);
  }
  return fmt::format(" at \"{}\" (table {}{})", line, table, needs_text(line == "COMMIT" ? std::string_view(rules) : line));
}

constexpr unsigned kNetRaw = 13;

// The legacy programs serialise by a file that only root may make, and not on a read-only root. The namespace itself is a file
// that everybody in it can open, and the right scope of the lock besides.
std::string lock_file() {
  constexpr const char* kUsual = "/run/xtables.lock";  // iptables' own default
  const int fd = ::open(kUsual, O_RDONLY | O_CREAT | O_CLOEXEC, 0600);
  if (fd < 0) return "/proc/self/ns/net";
  ::close(fd);
  return kUsual;
}

const char* names_of_tables(bool ipv4) { return ipv4 ? "/proc/net/ip_tables_names" : "/proc/net/ip6_tables_names"; }
bool names_are_hidden(bool ipv4) { return ::access(names_of_tables(ipv4), F_OK) == 0 && ::access(names_of_tables(ipv4), R_OK) != 0; }

}  // namespace

std::vector<Tools> Tools::installed(const Choice& choice) {
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
    if (!choice.lock_file.empty()) tools.environment_.push_back("XTABLES_LOCKFILE=" + choice.lock_file);
    tools.must_look_ = choice.forced == iptables::Backend::kDetect ? choice.all : choice.forced == kind.backend;
    tools.of_no_matter_ = choice.forced != iptables::Backend::kDetect && choice.forced != kind.backend;
    if (!tools.save_[0].empty() && !tools.restore_[0].empty()) out.push_back(std::move(tools));
  }
  return out;
}

std::expected<iptables::Saved, std::string> Tools::save(bool ipv4) const {
  const auto& path = save_[ipv4 ? 0 : 1];
  if (path.empty()) return iptables::Saved{};
  // Any question about a legacy table registers it, and from then on the backend looks as if it were in use.
  if (backend_ == iptables::Backend::kLegacy) {
    const bool hidden = names_are_hidden(ipv4);
    if (hidden ? !must_look_ : read_file(names_of_tables(ipv4)).empty()) return iptables::Saved{};
    if (!has_capability(read_file("/proc/self/status"), kNetRaw))
      return std::unexpected(
          "iptables-legacy needs the capability NET_RAW to read its tables; grant it or, when nothing of ours is in them, give "
          "--force-iptables-binary=nft");
    if (hidden) return save_table_by_table(ipv4);
  }
  const auto done = run_program(path, {}, environment_, {});
  if (!done) return std::unexpected(done.error());
  if (done->status != 0) return std::unexpected(fmt::format("{} failed: {}", path, one_line(done->err)));
  return iptables::parse_saved(done->out);
}

bool Tools::unasked(bool ipv4) const {
  return backend_ == iptables::Backend::kLegacy && !must_look_ && !of_no_matter_ && names_are_hidden(ipv4);
}

// The save without the list of tables, which only root may read.
std::expected<iptables::Saved, std::string> Tools::save_table_by_table(bool ipv4) const {
  std::string all;
  for (const auto table : iptables::kTables) {
    const std::vector<std::string> arguments{"-t", std::string(name_of(table))};
    const auto done = run_program(save_[ipv4 ? 0 : 1], arguments, environment_, {});
    if (!done) return std::unexpected(done.error());
    if (done->status == 0) all += done->out;  // else the kernel has no such table; what needs it will say so
  }
  return iptables::parse_saved(all);
}

std::expected<void, std::string> Tools::restore(bool ipv4, const std::string& text) const {
  const auto& path = restore_[ipv4 ? 0 : 1];
  if (path.empty()) return std::unexpected(fmt::format("{} for IPv6 is not installed", name_));
  if (backend_ == iptables::Backend::kLegacy && !has_capability(read_file("/proc/self/status"), kNetRaw))
    return std::unexpected(
        "iptables-legacy needs the capability NET_RAW besides NET_ADMIN for every table; grant it or use --force-iptables-binary=nft");
  // Another program may hold the xtables lock; the wait is bounded, or a stuck one would hold up the pod for ever.
  const std::vector<std::string> arguments{"--noflush", "-w", "30"};
  auto environment = environment_;
  const bool has_lock = std::ranges::any_of(environment, [](const auto& one) { return one.starts_with("XTABLES_LOCKFILE="); });
  if (backend_ == iptables::Backend::kLegacy && !has_lock) environment.push_back("XTABLES_LOCKFILE=" + lock_file());
  const auto done = run_program(path, arguments, environment, text);
  if (!done) return std::unexpected(done.error());
  if (done->status == 0) return {};
  return std::unexpected(fmt::format("{} refused the rules{}: {}", path, place_of(done->err, text),
                                     done->err.empty() ? fmt::format("exit {}", done->status) : one_line(done->err)));
}

}  // namespace init
