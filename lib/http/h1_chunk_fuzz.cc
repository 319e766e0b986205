// Our chunk decoder against llhttp's, and against itself in pieces. Ours may refuse more; what it accepts llhttp must read the
// same way: same payload, same end.

#include <llhttp.h>

#include <cstdio>
#include <cstdlib>
#include <string>

#include "http/body.h"

namespace {

using namespace http;

void must(bool condition, const char* what) {
  if (condition) return;
  std::fprintf(stderr, "violated: %s\n", what);
  std::abort();
}

struct Reading {
  bool accepted = false;
  std::string payload;
  size_t end = 0;
  bool operator==(const Reading&) const = default;
};

Reading ours(std::string_view input, size_t step) {
  std::pmr::monotonic_buffer_resource arena;
  const Limits limits;
  BodyDecoder decoder;
  decoder.start(Framing::kChunked, 0, limits, &arena);
  Reading out;
  while (out.end < input.size() && !decoder.ended()) {
    std::string bytes(input.substr(out.end, step));
    BodyDecoder::Piece piece;
    if (decoder.decode(bytes, piece) != base::Detail::kNone) return {};
    must(piece.begin + piece.size <= bytes.size() && piece.consumed <= bytes.size(), "piece outside of the input");
    out.payload += bytes.substr(piece.begin, piece.size);
    out.end += piece.consumed;
  }
  if (!decoder.ended()) return {};
  out.accepted = true;
  return out;
}

Reading theirs(std::string_view input) {
  llhttp_settings_t settings{};
  settings.on_body = [](llhttp_t* parser, const char* at, size_t size) {
    static_cast<Reading*>(parser->data)->payload.append(at, size);
    return 0;
  };
  settings.on_message_complete = [](llhttp_t* parser) {
    static_cast<Reading*>(parser->data)->accepted = true;
    return static_cast<int>(HPE_PAUSED);
  };
  const std::string head = "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n";
  const std::string text = head + std::string(input);
  Reading out;
  llhttp_t parser;
  llhttp_init(&parser, HTTP_REQUEST, &settings);
  parser.data = &out;
  llhttp_execute(&parser, text.data(), text.size());
  if (const char* at = llhttp_get_error_pos(&parser); at && out.accepted) out.end = static_cast<size_t>(at - text.data()) - head.size();
  return out;
}

// Framing fields among the trailers: we drop them, as all that is not on the list; llhttp obeys or refuses them.
bool frames_in_trailers(std::string_view input) {
  std::string text(input);
  for (char& c : text) c = static_cast<char>(c >= 'A' && c <= 'Z' ? c + 32 : c);
  for (const char* name : {"transfer-encoding", "content-length", "connection", "upgrade"})
    if (text.find(name) != text.npos) return true;
  return false;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size > 8192) return 0;
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  const Reading whole = ours(input, input.size() + 1);
  must(whole == ours(input, 1) && whole == ours(input, 3), "decoding depends on cutting");
  if (!whole.accepted || frames_in_trailers(input)) return 0;
  const Reading other = theirs(input);
  // llhttp 8.1 refuses extensions that RFC 9112 §7.1.1 allows: a second one behind a token value, a quoted pair in a value.
  if (!other.accepted && input.find(';') != input.npos) return 0;
  must(whole == other, "llhttp reads another body");
  return 0;
}
