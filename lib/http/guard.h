#pragma once

#include <cstdint>
#include <span>

#include "base/detail.h"
#include "http/h1.h"
#include "http/message.h"

namespace http {

enum class Framing : uint8_t { kNone, kLength, kChunked, kUntilClose };

// The methods that are taken (RFC 9110, PATCH, WebDAV), and whether bytes can still become one.
bool known_method(std::string_view method) noexcept;
bool begins_method(std::string_view bytes) noexcept;

// What a head says about its hop: it is not among the fields any more.
struct Hop {
  Framing framing = Framing::kNone;
  uint64_t length = 0;  // kLength
  bool keep_alive = true;
  bool expects_continue = false;  // Expect: 100-continue
};

struct RequestRules {
  PathMode path = PathMode::kBase;
  bool http10 = false, preserve_case = false, secure = false;
};
struct ResponseRules {
  bool preserve_case = false;
  bool to_head = false;        // the request was HEAD: no body whatever the fields say
  bool upgrade_asked = false;  // 101 is an answer only then
};

// The guard in front of the parser (H1–H20, DESIGN §9). `head` is a complete head as HeadScan delimits it, its empty line
// included; it is changed in place (names become lower-case) and must live as long as `out`, whose fields point into it.
// Anything but kNone refuses the message: `out` then holds what was read until there. kLowVersion and kConnectRefused come
// with a complete reading of a well-formed head. Pure but for allocations from the arena of `out`.
base::Detail judge_request(std::span<char> head, size_t fields, const RequestRules& rules, RequestHead& out, Hop& hop);
base::Detail judge_response(std::span<char> head, size_t fields, const ResponseRules& rules, ResponseHead& out, Hop& hop);
// Trailer fields that may pass (H13); all others are dropped. Same strictness as for heads.
base::Detail judge_trailers(std::span<char> section, size_t fields, base::Fields& out);
// Method, target and version of the first line as far as they can be read, for the log line of a refused head.
void salvage_request_line(std::string_view bytes, RequestHead& out);

}  // namespace http
