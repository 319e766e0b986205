#pragma once

#include <cstddef>

#include "base/detail.h"
#include "http/h1.h"
#include "net/stream.h"

namespace http {

// H14: leading empty lines are tolerated up to this many bytes, because old clients end a body with a superfluous CR LF.
inline constexpr size_t kLeadingBytes = 64;

// Finds the end of a message head, or of a trailer section, while its bytes arrive, and holds the limits meanwhile: nobody can
// make us keep more than a head may have. The verdict depends on the bytes alone, not on how they were cut into pieces. Pure.
class HeadScan {
 public:
  enum class Part : uint8_t { kHead, kTrailers };
  struct Verdict {
    enum class Kind : uint8_t { kMore, kComplete, kRefused } kind = Kind::kMore;
    size_t skip = 0;  // leading empty lines (RFC 9112 §2.2)
    size_t end = 0;   // kComplete: where the section ends, its empty line included
    base::Detail refused = base::Detail::kNone;
  };
  explicit HeadScan(Part part = Part::kHead) noexcept : part_(part), empty_ends_(part == Part::kTrailers) {}
  // `bytes`: everything since the start of the message; what was looked at before is not looked at again.
  Verdict scan(std::string_view bytes, const Limits& limits) noexcept;
  // Something other than leading empty lines was seen: from here the time for the head counts.
  bool began() const noexcept { return began_; }
  size_t fields() const noexcept { return lines_ > 0 ? lines_ - (part_ == Part::kHead ? 1 : 0) : 0; }

 private:
  bool whole(std::string_view bytes, const Limits& limits, Verdict& verdict) noexcept;
  Verdict refuse(base::Detail detail) const noexcept { return {Verdict::Kind::kRefused, skip_, 0, detail}; }
  Part part_;
  bool empty_ends_;  // an empty line now ends the section
  bool began_ = false;
  bool after_cr_ = false;
  size_t at_ = 0, skip_ = 0, line_ = 0, lines_ = 0;  // next byte, leading bytes, start of the line, lines without the empty one
};

}  // namespace http
