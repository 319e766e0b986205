#include "base/regex.h"

#include <re2/re2.h>

namespace base {
namespace {
constexpr size_t kMaxPattern = 1024;
constexpr int kMaxProgram = 32'768;
constexpr int64_t kMaxMemory = 1 << 20;   // room for a program of about the size above (16 bytes each, two thirds of it)
}  // namespace

struct Regex::Program {
  Program(std::string_view text, const RE2::Options& options) : re(re2::StringPiece(text.data(), text.size()), options), pattern(text) {}
  RE2 re;
  std::string pattern;
};

std::expected<Regex, std::string> Regex::compile(std::string_view pattern) {
  if (pattern.size() > kMaxPattern) return std::unexpected("longer than 1024 characters");
  RE2::Options options;
  options.set_log_errors(false);
  options.set_max_mem(kMaxMemory);
  auto program = std::make_shared<const Program>(pattern, options);
  if (!program->re.ok()) return std::unexpected(program->re.error());
  if (program->re.ProgramSize() > kMaxProgram) return std::unexpected("compiles to more than 32768 instructions");
  return Regex(std::move(program));
}

bool Regex::full_match(std::string_view text) const {
  return RE2::FullMatch(re2::StringPiece(text.data(), text.size()), program_->re);
}

const std::string& Regex::pattern() const { return program_->pattern; }

}  // namespace base
