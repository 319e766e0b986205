#include "iptables/clauses.h"

namespace iptables {

Clauses clauses_of(std::string_view spec) {
  const auto next = [&] {
    const auto from = spec.find_first_not_of(' ');
    if (from == std::string_view::npos) return spec = {};
    spec.remove_prefix(from);
    const auto word = spec.substr(0, spec.find(' '));
    spec.remove_prefix(word.size());
    return word;
  };
  Clauses out;
  Clause clause;
  for (auto word = next(); !word.empty(); word = next()) {
    if (word == "!") {
      clause.negated = true;
    } else if (word == "-m") {
      clause.module = next();
    } else if (word == "-j") {
      out.target = next();
      out.option = next();
      if (out.option == "--save-mark" || out.option == "--restore-mark") continue;
      out.value = next();
      out.option2 = next();
      out.value2 = next();
    } else {
      // "-m multiport ! --dports": the exclamation mark stands behind the module.
      clause.option = word;
      clause.value = next();
      out.matches.push_back(clause);
      clause.negated = false;
    }
  }
  return out;
}

}  // namespace iptables
