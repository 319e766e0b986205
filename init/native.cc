#include "init/native.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "init/nft_dump.h"
#include "init/program.h"
#include "iptables/nft.h"

namespace init {
namespace {
const std::vector<std::string> kEnvironment{fmt::format("PATH={}", kPath), "LC_ALL=C"};
}  // namespace

std::vector<std::string> native_tables() {
  if (const auto tables = nft_tables()) {
    std::vector<std::string> own;
    for (const auto& table : *tables)
      if (iptables::is_own_nft_table(table.name)) own.push_back(fmt::format("{} {}", table.family, table.name));
    return own;
  }
  const auto path = find_program("nft");
  if (path.empty()) return {};
  const std::vector<std::string> arguments{"list", "tables"};
  const auto done = run_program(path, arguments, kEnvironment, {});
  std::vector<std::string> out;
  if (!done || done->status != 0) return out;
  for (std::string_view rest = done->out; !rest.empty();) {
    auto line = rest.substr(0, rest.find('\n'));
    rest.remove_prefix(std::min(rest.size(), line.size() + 1));
    constexpr std::string_view kPrefix = "table ";
    if (line.starts_with(kPrefix) && iptables::is_own_nft_table(line.substr(line.rfind(' ') + 1)))
      out.emplace_back(line.substr(kPrefix.size()));
  }
  return out;
}

std::set<uint32_t> marks_in(std::string_view listing) {
  constexpr std::string_view kSet = "meta mark set 0x";
  constexpr uint32_t kSelfCall = 1338;
  std::set<uint32_t> out;
  for (auto at = listing.find(kSet); at != std::string_view::npos; at = listing.find(kSet, at + 1)) {
    uint32_t mark = 0;
    std::from_chars(listing.data() + at + kSet.size(), listing.data() + listing.size(), mark, 16);
    if (mark && mark != kSelfCall) out.insert(mark);
  }
  return out;
}

std::set<uint32_t> native_marks(const std::string& table) {
  const auto space = table.find(' ');
  const std::vector<std::string> arguments{"list", "table", table.substr(0, space), table.substr(space + 1)};
  const auto path = find_program("nft");
  const auto done = path.empty() ? std::expected<Finished, std::string>(Finished{}) : run_program(path, arguments, kEnvironment, {});
  return done ? marks_in(done->out) : std::set<uint32_t>{};
}

std::vector<std::pair<std::string, std::string>> tproxy_rules_in(std::string_view listing) {
  constexpr std::string_view kJump = "jump istio-tproxy", kHandle = "# handle ";
  std::vector<std::pair<std::string, std::string>> out;
  std::string_view chain;
  while (!listing.empty()) {
    auto line = listing.substr(0, listing.find('\n'));
    listing.remove_prefix(std::min(listing.size(), line.size() + 1));
    line.remove_prefix(std::min(line.size(), line.find_first_not_of("\t ")));
    if (line.starts_with("chain ")) chain = line.substr(6, line.find(' ', 6) - 6);
    const auto handle = line.find(kHandle);
    if (line.find(kJump) != std::string_view::npos && handle != std::string_view::npos)
      out.emplace_back(chain, line.substr(handle + kHandle.size()));
  }
  return out;
}

std::string without_new_ones(const std::string& table) {
  const auto space = table.find(' ');
  const std::vector<std::string> arguments{"--handle", "list", "table", table.substr(0, space), table.substr(space + 1)};
  const auto path = find_program("nft");
  const auto done = path.empty() ? std::expected<Finished, std::string>(Finished{}) : run_program(path, arguments, kEnvironment, {});
  std::string out;
  if (!done) return out;
  for (const auto& [chain, handle] : tproxy_rules_in(done->out)) out += fmt::format("delete rule {} {} handle {}\n", table, chain, handle);
  return out;
}

std::string deciding_rule_in(std::string_view listing, bool outbound) {
  static constexpr std::string_view kDecides[] = {" drop", " reject", "dnat to ", "dnat ip", "redirect to ", " notrack"};
  std::string_view chain, found, found_chain;
  bool hooked = false;
  while (!listing.empty()) {
    auto line = listing.substr(0, listing.find('\n'));
    listing.remove_prefix(std::min(listing.size(), line.size() + 1));
    line.remove_prefix(std::min(line.size(), line.find_first_not_of("\t ")));
    if (line.starts_with("chain ")) chain = line.substr(6, line.find(' ', 6) - 6);
    const bool hook = line.starts_with("type ");
    hooked = hooked || (hook && line.find(outbound ? "hook output" : "hook prerouting") != std::string_view::npos);
    // A base chain's line ends with its policy, which is a decision too.
    const bool decides =
        hook ? line.find("policy drop") != std::string_view::npos
             : std::ranges::any_of(kDecides, [&](auto word) { return fmt::format(" {}", line).find(word) != std::string::npos; });
    if (!decides || !found.empty()) continue;
    found = line;
    found_chain = chain;
  }
  return hooked && !found.empty() ? fmt::format("chain {}, rule \"{}\"", found_chain, found) : "";
}

std::string foreign_nft_rule(bool ipv4, bool outbound) {
  const auto path = find_program("nft");
  const auto tables = nft_tables();
  if (path.empty() || !tables) return {};
  for (const auto& table : *tables) {
    static constexpr std::string_view kXtables[] = {"raw", "mangle", "nat", "filter", "security"};  // iptables-nft has been asked
    const bool other_family = table.family != "inet" && table.family != (ipv4 ? "ip" : "ip6");
    const bool known = table.family != "inet" && std::ranges::find(kXtables, table.name) != std::end(kXtables);
    if (other_family || known || iptables::is_own_nft_table(table.name)) continue;
    const std::vector<std::string> arguments{"list", "table", table.family, table.name};
    const auto done = run_program(path, arguments, kEnvironment, {});
    const auto rule = done ? deciding_rule_in(done->out, outbound) : "";
    if (!rule.empty())
      return fmt::format("a rule that is not ours may decide first: table {} {}, {} (nft)", table.family, table.name, rule);
  }
  return {};
}

std::expected<void, std::string> feed_nft(const std::string& text) {
  const auto path = find_program("nft");
  if (path.empty()) return std::unexpected("the program nft is not installed; install the package nftables");
  const std::vector<std::string> arguments{"-f", "-"};
  const auto done = run_program(path, arguments, kEnvironment, text);
  if (!done) return std::unexpected(done.error());
  if (done->status == 0) return {};
  return std::unexpected(
      fmt::format("{} refused the rules: {}", path, done->err.empty() ? fmt::format("exit {}", done->status) : done->err));
}

}  // namespace init
