#pragma once

#include <memory_resource>
#include <optional>
#include <span>
#include <vector>

#include "http/guard.h"
#include "http/head_scan.h"

namespace http {

// Takes the framing off a message body (RFC 9112 §6–7): length, chunked or until the connection ends. Works in place on the
// bytes of one read and allocates only for trailers. Pure.
class BodyDecoder {
 public:
  struct Piece {
    size_t consumed = 0;         // bytes of the input that belong to the body and its framing
    size_t begin = 0, size = 0;  // where the payload stands in the input now: the runs of several chunks are moved together
  };
  // `arena` and `limits` outlive the body.
  void start(Framing framing, uint64_t length, const Limits& limits, std::pmr::memory_resource* arena) noexcept;
  // Anything but kNone is final. When all input is consumed and the body has not ended, more is needed.
  base::Detail decode(std::span<char> bytes, Piece& piece);
  // The connection ended: fine for a body until close, kHttp1BodyUnfinished for others.
  base::Detail end_of_stream() noexcept;
  // Bytes of a body of known length that went past the process; n <= remaining().
  void skip(uint64_t n) noexcept {
    if ((left_ -= n) == 0) state_ = State::kEnd;
  }
  bool ended() const noexcept { return state_ == State::kEnd; }
  std::optional<uint64_t> remaining() const noexcept;
  const base::Fields* trailers() const noexcept { return trailers_ ? &*trailers_ : nullptr; }

 private:
  enum class State : uint8_t {
    kEnd,
    kLength,
    kUntilClose,
    kSize,
    kExtensionName,
    kExtensionValue,
    kExtensionToken,
    kQuoted,
    kEscaped,
    kQuotedEnd,
    kSizeLf,
    kData,
    kDataCr,
    kDataLf,
    kTrailers
  };
  base::Detail line_byte(char c) noexcept;
  bool size_ends(char c) noexcept;
  base::Detail trailers(std::span<char> bytes, size_t& used);
  State state_ = State::kEnd;
  uint8_t digits_ = 0;
  uint32_t line_ = 0, extensions_ = 0;  // bytes of this chunk line, extension bytes of this message
  uint64_t left_ = 0;                   // of the body or the chunk
  const Limits* limits_ = nullptr;
  std::pmr::memory_resource* arena_ = nullptr;
  std::optional<std::pmr::vector<char>> section_;
  HeadScan scan_{HeadScan::Part::kTrailers};
  std::optional<base::Fields> trailers_;
};

}  // namespace http
