#pragma once

#include <string_view>
#include <vector>

namespace iptables {

// A rule taken apart, in the spelling of rules.cc or of iptables-save; the texts are parts of the spec it was read from.
struct Clause {
  bool negated = false;
  std::string_view module;  // of the last -m
  std::string_view option;  // "-o", "--dport"
  std::string_view value;   // "lo"; several words as they stand ("FIN,SYN,RST,ACK SYN"); empty for a bare --syn
};
struct Clauses {
  std::vector<Clause> matches;
  std::string_view target;       // "RETURN", "ISTIO_REDIRECT"
  std::vector<Clause> settings;  // of the target: "--to-ports", "15001"
  // The value of the first setting: the port of REDIRECT, the mark of MARK.
  std::string_view setting() const { return settings.empty() ? std::string_view{} : settings.front().value; }
  std::string_view setting(std::string_view option) const;  // empty when it is not there
};
Clauses clauses_of(std::string_view spec);

}  // namespace iptables
