#include "init/native_state.h"

#include <poll.h>

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <map>
#include <utility>

#include "init/native.h"
#include "init/nft_dump.h"
#include "init/program.h"
#include "init/say.h"
#include "iptables/nft.h"

namespace init {
namespace {

std::string_view next_line(std::string_view& text) {
  const auto line = text.substr(0, text.find('\n'));
  text.remove_prefix(std::min(text.size(), line.size() + 1));
  return line;
}

std::string_view next_word(std::string_view& text) {
  const auto word = text.substr(0, text.find(' '));
  text.remove_prefix(std::min(text.size(), word.size() + 1));
  return word;
}

// A line of nft_text: "add rule ip istio-proxy-nat output counter jump istio-output".
struct Line {
  std::string_view what, family, table, chain;
};
Line taken_apart(std::string_view line) {
  Line out;
  if (next_word(line) != "add") return out;
  out.what = next_word(line);
  out.family = next_word(line);
  out.table = next_word(line);
  out.chain = next_word(line);
  return out;
}

// FNV-1a: it need not resist anybody, for whoever may write rules may write the digest too.
uint64_t add_to_digest(uint64_t digest, std::string_view text) {
  for (const char c : text) digest = (digest ^ static_cast<unsigned char>(c)) * 1099511628211u;
  return digest;
}

constexpr std::string_view kComment = "sluice ";

// What a text asks for: family → how many rules in each chain, and with which comments.
std::map<std::string, NftRules> wanted_of(std::string_view text) {
  std::map<std::string, NftRules> out;
  while (!text.empty()) {
    const auto line = next_line(text);
    const auto parts = taken_apart(line);
    if (parts.what != "rule") continue;
    auto& family = out[std::string(parts.family)];
    ++family.counts[{std::string(parts.table), std::string(parts.chain)}];
    const auto at = line.rfind(kComment);
    if (at != std::string_view::npos && line.ends_with('"'))
      ++family.comments[{std::string(parts.table), std::string(line.substr(at, line.size() - at - 1))}];
  }
  return out;
}

// Another program that writes rules meanwhile, in any table, makes the kernel break off.
std::expected<NftRules, std::string> rules_there(bool ipv4) {
  constexpr int kTries = 20, kPauseMs = 5;
  for (int tries = 0; tries < kTries; ++tries) {
    if (tries > 0) ::poll(nullptr, 0, kPauseMs);
    if (auto rules = nft_rules(ipv4)) return std::move(*rules);
  }
  return std::unexpected("nf_tables does not say which rules there are");
}

}  // namespace

std::string with_digests(std::string_view text) {
  std::map<std::pair<std::string_view, std::string_view>, uint64_t> digests;
  for (auto rest = text; !rest.empty();) {
    const auto line = next_line(rest);
    const auto parts = taken_apart(line);
    auto& digest = digests.try_emplace({parts.family, parts.table}, 14695981039346656037u).first->second;
    digest = add_to_digest(add_to_digest(digest, line), "\n");
  }
  std::string out;
  while (!text.empty()) {
    const auto line = next_line(text);
    const auto parts = taken_apart(line);
    const auto digest = parts.what == "rule" ? digests.find({parts.family, parts.table}) : digests.end();
    out += line;
    if (digest != digests.end()) out += fmt::format(" comment \"{}{:016x}\"", kComment, digest->second);
    out += '\n';
  }
  return out;
}

std::expected<std::string, std::string> native_difference(std::string_view text) {
  auto wanted = wanted_of(text);
  std::set<std::string> tables;
  for (const auto& [family, contents] : wanted)
    for (const auto& [chain, unused] : contents.counts) tables.insert(fmt::format("{} {}", family, chain.first));
  const auto there = native_tables();
  for (const auto& table : there)
    if (!tables.contains(table)) return fmt::format("there is a table {} besides", table);
  for (const bool ipv4 : {true, false}) {
    const std::string family = ipv4 ? "ip" : "ip6";
    auto& want = wanted[family];
    if (want.counts.empty()) continue;
    auto is = rules_there(ipv4);
    if (!is) return std::unexpected(is.error());
    std::erase_if(is->counts, [&](const auto& one) { return !tables.contains(fmt::format("{} {}", family, one.first.first)); });
    for (const auto& [chain, count] : want.counts)
      if (const auto has = is->counts[chain]; has != count)
        return fmt::format("chain {} of table {} {} has {} of {} rules", chain.second, family, chain.first, has, count);
    if (is->counts != want.counts) return fmt::format("a table of family {} has chains with rules of somebody else", family);
    for (const auto& [comment, count] : want.comments)
      if (is->comments[comment] != count) return fmt::format("table {} {} holds other rules", family, comment.first);
  }
  return std::string{};
}

std::expected<void, std::string> feed_native(const iptables::RuleSet& rules, const std::vector<std::string>& stale, const std::string& before) {
  const auto wanted = with_digests(iptables::nft_text(rules, {}));
  const auto text = iptables::nft_text({}, stale) + wanted;
  say(Severity::kDebug, "feeding nft: {}", text);
  if (auto done = feed_nft(text); !done) return done;
  const auto difference = native_difference(wanted);
  if (difference && difference->empty()) return {};
  if (!difference) {  // not that they differ: nft said that they were committed, as one
    say(Severity::kWarning, "the rules could not be read back: {}", difference.error());
    return {};
  }
  const auto back = feed_nft(iptables::nft_text({}, native_tables()) + before);
  return std::unexpected(fmt::format("nft reported success, but {}{}", *difference,
                                     back ? "" : "; what was there could not be put back: " + back.error()));
}

std::string native_listing(const std::string& table) {
  const auto path = find_program("nft");
  if (path.empty()) return {};
  const auto space = table.find(' ');
  const std::vector<std::string> arguments{"--stateless", "list", "table", table.substr(0, space), table.substr(space + 1)},
      environment{fmt::format("PATH={}", kPath), "LC_ALL=C"};
  const auto done = run_program(path, arguments, environment, {});
  return done && done->status == 0 ? done->out : std::string{};
}

std::set<uint16_t> ports_in(std::string_view listing) {
  std::set<uint16_t> out;
  for (const std::string_view verb : {"redirect to :", "tproxy to :"})
    for (auto at = listing.find(verb); at != std::string_view::npos; at = listing.find(verb, at + 1)) {
      uint16_t port = 0;
      std::from_chars(listing.data() + at + verb.size(), listing.data() + listing.size(), port);
      if (port) out.insert(port);
    }
  return out;
}

}  // namespace init
