#include "http/head_scan.h"

#include <cstring>

#include "http/chars.h"

namespace http {

using base::Detail;
using Kind = HeadScan::Verdict::Kind;

// H14: leading empty lines are tolerated up to this many bytes, because old clients end a body with a superfluous CR LF.
constexpr size_t kLeadingBytes = 64;

// The ordinary case: the whole section arrived at once and every line of it is sound. Says no for everything else, which the
// byte-wise scan then judges, so that there is only one order in which faults are found.
bool HeadScan::whole(std::string_view bytes, const Limits& limits, Verdict& verdict) noexcept {
  const char* const begin = bytes.data();
  const size_t window = bytes.size() < limits.head_bytes ? bytes.size() : limits.head_bytes;
  const char* const end = begin + window;
  const char* line = begin;
  size_t lines = 0;
  while (line != end) {
    const auto* feed = static_cast<const char*>(std::memchr(line, '\n', static_cast<size_t>(end - line)));
    if (feed == nullptr || feed == line || feed[-1] != '\r') return false;
    if (feed == line + 1) {
      if (lines == 0 && part_ == Part::kHead) return false;
      const auto size = static_cast<size_t>(feed + 1 - begin);
      if (lines > limits.fields + (part_ == Part::kHead ? 1 : 0)) return false;
      if (count_controls(begin, size) != 2 * (lines + 1)) return false;
      began_ = true;
      lines_ = lines;
      at_ = size;
      verdict = {Kind::kComplete, 0, size, Detail::kNone};
      return true;
    }
    ++lines;
    line = feed + 1;
  }
  return false;
}

HeadScan::Verdict HeadScan::scan(std::string_view bytes, const Limits& limits) noexcept {
  Verdict verdict;
  if (at_ == 0 && whole(bytes, limits, verdict)) return verdict;
  for (; at_ < bytes.size(); ++at_) {
    const char c = bytes[at_];
    if (at_ - skip_ >= limits.head_bytes)              // H14: 60 KiB, request line included
      return refuse(part_ == Part::kHead && lines_ == 0 ? Detail::kUriTooLong : Detail::kRequestHeadTooLarge);
    if (after_cr_) {
      if (c != '\n') return refuse(Detail::kHttp1LineEnd);   // H1: CR without LF
      after_cr_ = false;
      const bool empty = at_ - line_ == 1;
      line_ = at_ + 1;
      if (!empty) {
        ++lines_;
        empty_ends_ = true;
        if (lines_ > limits.fields + (part_ == Part::kHead ? 1 : 0)) return refuse(Detail::kTooManyFields);   // H14: 100 fields
      } else if (empty_ends_) {
        const size_t end = ++at_;
        return {Kind::kComplete, skip_, end, Detail::kNone};
      } else {
        skip_ = at_ + 1;
        if (skip_ >= kLeadingBytes) return refuse(Detail::kHttp1LineEnd);   // H14: 64 leading bytes
      }
      continue;
    }
    if (c == '\r') {
      after_cr_ = true;
      continue;
    }
    began_ = true;
    if (c == '\n') return refuse(Detail::kHttp1LineEnd);                     // H1: bare LF
    if (is(c, kControl)) return refuse(Detail::kHttp1ControlCharacter);      // H1: NUL and other controls
  }
  verdict.skip = skip_;
  return verdict;
}

}  // namespace http
