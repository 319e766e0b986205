#pragma once

#include <cstring>
#include <string_view>

#include "http/guard.h"
#include "http/message.h"
#include "net/worker.h"

namespace http {

// Copies `text` to `to` and returns the place behind it. Names and values are short: two moves that overlap cost less than the
// call of memcpy, of which a head would need forty.
inline char* copy(char* to, std::string_view text) noexcept {
  const char* const from = text.data();
  const size_t size = text.size();
  const auto both_ends = [&]<size_t kBytes>() {
    char first[kBytes], last[kBytes];
    std::memcpy(first, from, kBytes);
    std::memcpy(last, from + size - kBytes, kBytes);
    std::memcpy(to, first, kBytes);
    std::memcpy(to + size - kBytes, last, kBytes);
  };
  if (size > 32) {
    std::memcpy(to, from, size);
  } else if (size >= 16) {
    both_ends.template operator()<16>();
  } else if (size >= 8) {
    both_ends.template operator()<8>();
  } else if (size >= 4) {
    both_ends.template operator()<4>();
  } else if (size >= 2) {
    both_ends.template operator()<2>();
  } else if (size == 1) {
    *to = *from;
  }
  return to + size;
}

// Bytes about to be written: on the stack while they are few, else in a block of the worker's pool. Never outlives one call.
class OutBuffer {
 public:
  explicit OutBuffer(net::Worker& worker) noexcept : worker_(worker) {}
  OutBuffer(const OutBuffer&) = delete;
  ~OutBuffer();
  void reserve(size_t more);  // room for `more` bytes; put() writes without asking
  void put(std::string_view text) noexcept { size_ = static_cast<size_t>(copy(begin_ + size_, text) - begin_); }
  void put(char c) noexcept { begin_[size_++] = c; }
  void put_chunk_size(size_t size) noexcept;  // hex, CR LF; at most 18 bytes
  // For a run of puts: the place of the next byte, and where it has come to.
  char* end() noexcept { return begin_ + size_; }
  void end_at(char* end) noexcept { size_ = static_cast<size_t>(end - begin_); }
  std::string_view text() const noexcept { return {begin_, size_}; }
  net::Slice bytes() const noexcept { return net::bytes_of(text()); }

 private:
  net::Worker& worker_;
  char* begin_ = local_;
  size_t size_ = 0;
  uint32_t capacity_ = sizeof local_;
  char local_[2048];
};

// What the encoder adds to the fields for this hop.
struct Hopwise {
  bool preserve_case = false;
  bool chunked = false;              // transfer-encoding: chunked
  bool close = false;                // connection: close
  bool keep_alive = false;           // connection: keep-alive, towards HTTP/1.0
  bool no_length = false;            // leaves content-length out (204, 1xx)
  const uint64_t* length = nullptr;  // content-length that is not among the fields
};

// Heads are written from their parsed fields, always (H16): nothing a peer sent goes on as it stood on the wire. False: a field
// holds a byte that would end its line, or the path is none; nothing may be sent then. `extra`: room to keep behind the head.
bool encode_request(const RequestHead& head, const Hopwise& hop, OutBuffer& out, size_t extra);
bool encode_response(const ResponseHead& head, const Hopwise& hop, OutBuffer& out, size_t extra);
bool encode_trailers(const base::Fields* trailers, bool preserve_case, OutBuffer& out);  // with the final empty line

std::string_view reason_of(uint16_t status) noexcept;  // RFC 9110 §15 and the IANA registry; "Unknown" for others

}  // namespace http
