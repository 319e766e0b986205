#include "http/head_scan.h"

#include "http/chars.h"

namespace http {

using base::Detail;
using Kind = HeadScan::Verdict::Kind;

// H14: leading empty lines are tolerated up to this many bytes, because old clients end a body with a superfluous CR LF.
constexpr size_t kLeadingBytes = 64;

// The ordinary case: the whole section arrived at once and every line of it is sound. Says no for everything else, which the
// byte-wise scan then judges, so that there is only one order in which faults are found.
bool HeadScan::whole(std::string_view bytes, const Limits& limits, Verdict& verdict) noexcept {
  const std::string_view text = bytes.substr(0, limits.head_bytes);
  const size_t most = limits.fields + (part_ == Part::kHead ? 1 : 0);
  size_t line = 0, lines = 0, feed = 0;                // feed: where a LF must stand, 0: nowhere yet
  bool found = false;
  for_each_control(text, [&](size_t i) noexcept {
    if (feed == 0) {
      feed = i + 1;
      return text[i] == '\r';
    }
    if (i != feed || text[i] != '\n') return false;
    feed = 0;
    if (i - line == 1) {
      found = empty_ends_ || lines > 0;
      return false;
    }
    line = i + 1;
    return ++lines <= most;
  });
  if (!found) return false;
  began_ = true;
  lines_ = lines;
  at_ = line + 2;
  verdict = {Kind::kComplete, 0, at_, Detail::kNone};
  return true;
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
