#include "iptables/clauses.h"

#include <algorithm>

namespace iptables {
namespace {

// The next word; one in quotes is a whole, because a comment of somebody else's rule may hold anything.
std::string_view take_word(std::string_view& text) {
  const auto from = text.find_first_not_of(' ');
  if (from == std::string_view::npos) return text = {};
  text.remove_prefix(from);
  bool quoted = false;
  size_t size = 0;
  for (; size < text.size() && (quoted || text[size] != ' '); ++size) {
    if (text[size] == '"') quoted = !quoted;
    if (text[size] == '\\' && size + 1 < text.size()) ++size;
  }
  const auto word = text.substr(0, size);
  text.remove_prefix(size);
  return word;
}

std::string_view peek(std::string_view text) { return take_word(text); }

// Everything up to the next option.
std::string_view take_value(std::string_view& text) {
  std::string_view value;
  for (auto word = peek(text); !word.empty() && word != "!" && !word.starts_with('-'); word = peek(text)) {
    take_word(text);
    value = value.empty() ? word : std::string_view(value.data(), static_cast<size_t>(word.data() + word.size() - value.data()));
  }
  return value;
}

}  // namespace

std::string_view Clauses::setting(std::string_view option) const {
  const auto found = std::ranges::find(settings, option, &Clause::option);
  return found == settings.end() ? std::string_view{} : found->value;
}

Clauses clauses_of(std::string_view spec) {
  Clauses out;
  Clause clause;
  for (auto word = take_word(spec); !word.empty(); word = take_word(spec)) {
    if (word == "!") {
      clause.negated = true;
      continue;
    }
    const auto value = take_value(spec);
    if (word == "-m") {
      clause.module = value;  // "-m multiport ! --dports": the exclamation mark stands behind the module
      continue;
    }
    if (word == "-j" || word == "-g") {
      out.target = value;
      continue;
    }
    clause.option = word;
    clause.value = value;
    (out.target.empty() ? out.matches : out.settings).push_back(clause);
    clause.negated = false;
  }
  return out;
}

}  // namespace iptables
