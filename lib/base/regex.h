#pragma once

#include <expected>
#include <memory>
#include <string>
#include <string_view>

namespace base {

// A compiled RE2 pattern, matched in linear time. Copies share the program; immutable, so any thread may match.
// Istio's limits: at most 1,024 characters (ISTIO-SECURITY-2026-006) and a program of at most 32,768 instructions.
class Regex {
 public:
  // The error is one clause for people: "missing ): (a" or "longer than 1024 characters".
  static std::expected<Regex, std::string> compile(std::string_view pattern);
  bool full_match(std::string_view text) const;   // ^(?:pattern)$
  const std::string& pattern() const;

 private:
  struct Program;
  explicit Regex(std::shared_ptr<const Program> program) : program_(std::move(program)) {}
  std::shared_ptr<const Program> program_;
};

}  // namespace base
