#pragma once

#include <string_view>
#include <vector>

namespace iptables {

// A rule of rules.cc taken apart; the texts are parts of the spec it was read from.
struct Clause {
  bool negated = false;
  std::string_view module;  // of the last -m
  std::string_view option;  // "-o", "--dport"
  std::string_view value;
};
struct Clauses {
  std::vector<Clause> matches;
  std::string_view target;  // "RETURN", "ISTIO_REDIRECT"
  std::string_view option, value;    // of the target: "--to-ports", "15001"
  std::string_view option2, value2;  // TPROXY has two
};
Clauses clauses_of(std::string_view spec);

}  // namespace iptables
