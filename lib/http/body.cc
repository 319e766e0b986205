#include "http/body.h"

#include <algorithm>
#include <cstring>

#include "http/chars.h"

namespace http {

using base::Detail;

void BodyDecoder::start(Framing framing, uint64_t length, const Limits& limits, std::pmr::memory_resource* arena) noexcept {
  limits_ = &limits;
  arena_ = arena;
  left_ = length;
  digits_ = 0;
  line_ = extensions_ = 0;
  switch (framing) {
    case Framing::kNone:
      state_ = State::kEnd;
      break;
    case Framing::kLength:
      state_ = length > 0 ? State::kLength : State::kEnd;
      break;
    case Framing::kChunked:
      state_ = State::kSize;
      left_ = 0;
      break;
    case Framing::kUntilClose:
      state_ = State::kUntilClose;
      break;
  }
}

std::optional<uint64_t> BodyDecoder::remaining() const noexcept {
  if (state_ == State::kEnd) return 0;
  if (state_ == State::kLength) return left_;
  return std::nullopt;
}

Detail BodyDecoder::end_of_stream() noexcept {
  if (state_ == State::kEnd) return Detail::kNone;
  if (state_ != State::kUntilClose) return Detail::kHttp1BodyUnfinished;
  state_ = State::kEnd;
  return Detail::kNone;
}

// The byte behind the size or behind an extension: the line's CR, or a further extension.
bool BodyDecoder::size_ends(char c) noexcept {
  if (c == '\r') {
    state_ = State::kSizeLf;
    return true;
  }
  if (c != ';') return false;
  state_ = State::kExtensionName;
  ++extensions_;
  digits_ = 0;  // from here: whether the name has begun
  return true;
}

// One byte of a chunk line: 1*16HEX *( ";" token [ "=" ( token / quoted-string ) ] ) CRLF. No blanks anywhere (H12).
Detail BodyDecoder::line_byte(char c) noexcept {
  if (++line_ > limits_->chunk_line) return Detail::kHttp1Chunk;
  switch (state_) {
    case State::kSize:
      if (const int value = hex_value(c); value >= 0) {
        // H12: at most 16 digits and 63 bits, so that nothing ever wraps.
        if (++digits_ > 16 || left_ >> 59 != 0) return Detail::kHttp1Chunk;
        left_ = left_ * 16 + static_cast<uint64_t>(value);
        return Detail::kNone;
      }
      return digits_ > 0 && size_ends(c) ? Detail::kNone : Detail::kHttp1Chunk;
    case State::kSizeLf:
      if (c != '\n') return Detail::kHttp1Chunk;
      state_ = left_ > 0 ? State::kData : State::kTrailers;
      digits_ = 0;
      line_ = 0;
      return Detail::kNone;
    default:
      break;
  }
  if (++extensions_ > limits_->chunk_extensions) return Detail::kHttp1Chunk;  // H12: CVE-2023-39326, bytes that carry nothing
  const bool token = is(c, kToken);
  const bool quotable = is(c, kTarget) || c == ' ' || c == '\t';  // no 8-bit: llhttp takes none either
  switch (state_) {
    case State::kExtensionName:
      if (token) {
        digits_ = 1;
        return Detail::kNone;
      }
      if (digits_ == 0) return Detail::kHttp1Chunk;
      if (c == '=') {
        state_ = State::kExtensionValue;
        return Detail::kNone;
      }
      return size_ends(c) ? Detail::kNone : Detail::kHttp1Chunk;
    case State::kExtensionValue:
      state_ = c == '"' ? State::kQuoted : State::kExtensionToken;
      return token || c == '"' ? Detail::kNone : Detail::kHttp1Chunk;
    case State::kExtensionToken:
      return token || size_ends(c) ? Detail::kNone : Detail::kHttp1Chunk;
    case State::kQuoted:
      if (c == '"') state_ = State::kQuotedEnd;
      if (c == '\\') state_ = State::kEscaped;
      return quotable ? Detail::kNone : Detail::kHttp1Chunk;
    case State::kEscaped:
      state_ = State::kQuoted;
      return quotable ? Detail::kNone : Detail::kHttp1Chunk;
    default:
      return size_ends(c) ? Detail::kNone : Detail::kHttp1Chunk;  // kQuotedEnd
  }
}

// H13: the section is read whole, under the limits of heads, before any of it counts.
Detail BodyDecoder::trailers(std::span<char> bytes, size_t& used) {
  if (!section_ && bytes.size() >= 2 && bytes[0] == '\r' && bytes[1] == '\n') {
    used = 2;
    state_ = State::kEnd;
    return Detail::kNone;
  }
  if (!section_) section_.emplace(arena_);
  const size_t before = section_->size();
  section_->insert(
      section_->end(), bytes.begin(),
      bytes.begin() + static_cast<ptrdiff_t>(std::min(bytes.size(), limits_->head_bytes + 1 - std::min(before, limits_->head_bytes))));
  const auto verdict = scan_.scan({section_->data(), section_->size()}, *limits_);
  if (verdict.kind == HeadScan::Verdict::Kind::kRefused) return Detail::kHttp1Trailer;
  if (verdict.kind == HeadScan::Verdict::Kind::kMore) {
    used = bytes.size();
    return Detail::kNone;
  }
  used = verdict.end - before;
  state_ = State::kEnd;
  if (verdict.end == 2) return Detail::kNone;
  trailers_.emplace(arena_);
  const Detail fault = judge_trailers({section_->data(), verdict.end}, scan_.fields(), *trailers_);
  if (trailers_->size() == 0) trailers_.reset();
  return fault;
}

Detail BodyDecoder::decode(std::span<char> bytes, Piece& piece) {
  piece = {};
  if (state_ == State::kUntilClose || state_ == State::kLength) {
    piece.size = state_ == State::kLength ? static_cast<size_t>(std::min<uint64_t>(left_, bytes.size())) : bytes.size();
    piece.consumed = piece.size;
    if (state_ == State::kLength && (left_ -= piece.size) == 0) state_ = State::kEnd;
    return Detail::kNone;
  }
  size_t at = 0;
  while (at < bytes.size() && state_ != State::kEnd) {
    switch (state_) {
      case State::kData: {
        const size_t run = static_cast<size_t>(std::min<uint64_t>(left_, bytes.size() - at));
        if (piece.size == 0) {
          piece.begin = at;
        } else {
          std::memmove(bytes.data() + piece.begin + piece.size, bytes.data() + at, run);  // small chunks of one read become one piece
        }
        piece.size += run;
        at += run;
        if ((left_ -= run) == 0) state_ = State::kDataCr;
        break;
      }
      case State::kDataCr:
        if (bytes[at++] != '\r') return Detail::kHttp1Chunk;  // H12: exactly CR LF behind the data
        state_ = State::kDataLf;
        break;
      case State::kDataLf:
        if (bytes[at++] != '\n') return Detail::kHttp1Chunk;
        state_ = State::kSize;
        break;
      case State::kTrailers: {
        size_t used = 0;
        if (const Detail fault = trailers(bytes.subspan(at), used); fault != Detail::kNone) return fault;
        at += used;
        break;
      }
      default:
        if (const Detail fault = line_byte(bytes[at++]); fault != Detail::kNone) return fault;
    }
  }
  piece.consumed = at;
  return Detail::kNone;
}

}  // namespace http
