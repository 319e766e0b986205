#pragma once

#include <cstring>
#include <string_view>

#include "http/guard.h"
#include "http/message.h"
#include "net/worker.h"

namespace http {

// Bytes about to be written: on the stack while they are few, else in a block of the worker's pool. Never outlives one call.
class OutBuffer {
 public:
  explicit OutBuffer(net::Worker& worker) noexcept : worker_(worker) {}
  OutBuffer(const OutBuffer&) = delete;
  ~OutBuffer();
  void reserve(size_t more);  // room for `more` bytes; put() writes without asking
  void put(std::string_view text) noexcept {
    if (text.empty()) return;
    std::memcpy(begin_ + size_, text.data(), text.size());
    size_ += text.size();
  }
  void put(char c) noexcept { begin_[size_++] = c; }
  void put_chunk_size(size_t size) noexcept;  // hex, CR LF; at most 18 bytes
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
