#include "http/second_reading.h"

#include <llhttp.h>

// What llhttp_execute() calls, and the same compiled for processors with SSE 4.2 (cmake/FindLlhttp.cmake).
extern "C" int llhttp__internal_execute(llhttp__internal_t* state, const char* begin, const char* end);
#ifdef SLUICE_LLHTTP_SSE42
extern "C" int llhttp__internal_execute_sse42(llhttp__internal_t* state, const char* begin, const char* end);
#endif

namespace http {
namespace {

using Execute = int (*)(llhttp__internal_t*, const char*, const char*);
Execute fastest() noexcept {
#ifdef SLUICE_LLHTTP_SSE42
  if (__builtin_cpu_supports("sse4.2")) return &llhttp__internal_execute_sse42;
#endif
  return &llhttp__internal_execute;
}
const Execute kExecute = fastest();

static_assert(LLHTTP_STRICT_MODE == 1, "llhttp and its includers must be compiled strict: reference H, DESIGN §9");

int on_target(llhttp_t* parser, const char* at, size_t size) {
  static_cast<SecondReading*>(parser->data)->target = {at, size};
  return 0;
}
int on_field(llhttp_t* parser) {
  ++static_cast<SecondReading*>(parser->data)->fields;
  return 0;
}
// Heads only: bodies are decoded by us, so the parser never decides about upgrades, lengths or transfer codings (H5, H15).
int on_head(llhttp_t*) { return HPE_PAUSED; }

constexpr llhttp_settings_t kSettings = [] {
  llhttp_settings_t settings{};
  settings.on_url = on_target;
  settings.on_header_field_complete = on_field;
  settings.on_headers_complete = on_head;
  return settings;
}();

SecondReading read(std::string_view head, llhttp_type_t type) noexcept {
  SecondReading reading;
  llhttp_t parser;
  llhttp_init(&parser, type, &kSettings);  // no lenient flag is ever set
  parser.data = &reading;
  const int result = kExecute(&parser, head.data(), head.data() + head.size());
  reading.complete = result == HPE_PAUSED && llhttp_get_error_pos(&parser) == head.data() + head.size();
  reading.major = parser.http_major;
  reading.minor = parser.http_minor;
  reading.status = parser.status_code;
  reading.chunked = parser.flags & F_CHUNKED;
  reading.has_length = parser.flags & F_CONTENT_LENGTH;
  reading.length = parser.content_length;
  if (type == HTTP_REQUEST && reading.complete) reading.method = llhttp_method_name(static_cast<llhttp_method_t>(parser.method));
  return reading;
}

}  // namespace

SecondReading read_request_again(std::string_view head) noexcept { return read(head, HTTP_REQUEST); }
SecondReading read_response_again(std::string_view head) noexcept { return read(head, HTTP_RESPONSE); }

}  // namespace http
