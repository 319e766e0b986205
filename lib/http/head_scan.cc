#include "http/head_scan.h"

#include "http/chars.h"

namespace http {

using base::Detail;
using Kind = HeadScan::Verdict::Kind;

// The ordinary case: the whole section arrived at once and every line of it is sound. Says no for everything else, which the
// byte-wise scan then judges, so that there is only one order in which faults are found.
bool HeadScan::whole(std::string_view bytes, const Limits& limits, Verdict& verdict) noexcept {
  const char* const text = bytes.data();
  const size_t size = bytes.size() < limits.head_bytes ? bytes.size() : limits.head_bytes;
  const size_t most = limits.fields + (part_ == Part::kHead ? 1 : 0);
  size_t line = 0, lines = 0;
  bool feed_seen = false;  // the first byte of this block is the LF of a CR that ended the last
  for (size_t at = 0; at < size; at += 16) {
    uint32_t mask = controls_at(text, at, size);
    if (feed_seen) mask &= ~1u;
    feed_seen = false;
    while (mask != 0) {  // every control is the CR of a CR LF, or this is no ordinary head
      const auto bit = static_cast<unsigned>(std::countr_zero(mask));
      const size_t i = at + bit;
      if (text[i] != '\r' || i + 1 == size || text[i + 1] != '\n') return false;
      if (i == line) {
        if (!empty_ends_ && lines == 0) return false;
        began_ = true;
        lines_ = lines;
        at_ = i + 2;
        verdict = {Kind::kComplete, 0, at_, Detail::kNone};
        return true;
      }
      if (++lines > most) return false;
      line = i + 2;
      mask &= mask - 1;
      feed_seen = bit == 15;
      if (!feed_seen) mask &= mask - 1;
    }
  }
  return false;
}

HeadScan::Verdict HeadScan::scan(std::string_view bytes, const Limits& limits) noexcept {
  Verdict verdict;
  if (at_ == 0 && whole(bytes, limits, verdict)) return verdict;
  for (; at_ < bytes.size(); ++at_) {
    const char c = bytes[at_];
    if (at_ - skip_ >= limits.head_bytes)  // H14: 60 KiB, request line included
      return refuse(part_ == Part::kHead && lines_ == 0 ? Detail::kUriTooLong : Detail::kRequestHeadTooLarge);
    if (after_cr_) {
      if (c != '\n') return refuse(Detail::kHttp1LineEnd);  // H1: CR without LF
      after_cr_ = false;
      const bool empty = at_ - line_ == 1;
      line_ = at_ + 1;
      if (!empty) {
        ++lines_;
        empty_ends_ = true;
        if (lines_ > limits.fields + (part_ == Part::kHead ? 1 : 0)) return refuse(Detail::kTooManyFields);  // H14: 100 fields
      } else if (empty_ends_) {
        const size_t end = ++at_;
        return {Kind::kComplete, skip_, end, Detail::kNone};
      } else {
        skip_ = at_ + 1;
        if (skip_ >= kLeadingBytes) return refuse(Detail::kHttp1LineEnd);  // H14: 64 leading bytes
      }
      continue;
    }
    if (c == '\r') {
      after_cr_ = true;
      continue;
    }
    began_ = true;
    if (c == '\n') return refuse(Detail::kHttp1LineEnd);                 // H1: bare LF
    if (is(c, kControl)) return refuse(Detail::kHttp1ControlCharacter);  // H1: NUL and other controls
  }
  verdict.skip = skip_;
  return verdict;
}

}  // namespace http
