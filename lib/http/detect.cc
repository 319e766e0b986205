#include "http/detect.h"

#include <algorithm>

#include "http/chars.h"
#include "http/guard.h"
#include "http/head_scan.h"

namespace http {
namespace {

constexpr std::string_view kPreface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";  // RFC 9113 §3.4

Sniffed tls_or_not(std::string_view bytes) noexcept {
  // RFC 8446 §5.1: handshake record, legacy version 3.x, a length that is possible.
  if (bytes.size() > 1 && bytes[1] != 3) return Sniffed::kOther;
  if (bytes.size() > 2 && static_cast<unsigned char>(bytes[2]) > 4) return Sniffed::kOther;
  if (bytes.size() < 5) return Sniffed::kNeedMore;
  const unsigned length = static_cast<unsigned char>(bytes[3]) * 256u + static_cast<unsigned char>(bytes[4]);
  return length >= 4 && length <= 16384 + 256 ? Sniffed::kTls : Sniffed::kOther;
}

// RFC 9112 §3 lets a server take these for the one SP between the parts of a request line. Our codec refuses them.
constexpr bool other_blank(char c) noexcept { return c == '\t' || c == '\v' || c == '\f'; }

}  // namespace

// The version decides: a whole line that says HTTP/1.0 is not ours on this port.
Sniffed Sniffer::version_of_line(std::string_view bytes, size_t begin) noexcept {
  bytes = bytes.substr(0, kMostSniffed);
  const size_t feed = bytes.find('\n', std::max(begin, searched_));
  searched_ = bytes.size();
  if (feed == bytes.npos) return bytes.size() == kMostSniffed ? Sniffed::kHttp1 : Sniffed::kNeedMore;
  auto line = bytes.substr(0, feed);
  if (line.ends_with('\r')) line.remove_suffix(1);
  return line.ends_with(" HTTP/1.0") ? Sniffed::kOther : Sniffed::kHttp1;
}

// Wherever the codec is stricter than servers are (bare line ends in front, too many of them, blanks that are no single SP), the
// bytes are HTTP/1 all the same and refused there: passed on as opaque ones they would be a request that nothing has routed,
// checked or logged.
Sniffed Sniffer::look(net::Slice slice) noexcept {
  const std::string_view all = net::text_of(slice);
  const size_t leading = std::min(all.substr(0, kLeadingBytes).find_first_not_of("\r\n"), all.size());
  if (leading >= kLeadingBytes) return Sniffed::kHttp1;
  const std::string_view bytes = all.substr(leading);
  began_ = !bytes.empty();
  if (bytes.empty()) return Sniffed::kNeedMore;
  if (leading == 0 && bytes.front() == 0x16) return tls_or_not(bytes);
  if (leading == 0 && kPreface.starts_with(bytes.substr(0, kPreface.size())))
    return bytes.size() >= kPreface.size() ? Sniffed::kHttp2Preface : Sniffed::kNeedMore;
  size_t method = 0;
  while (method < bytes.size() && is(bytes[method], kToken)) ++method;
  const auto name = bytes.substr(0, method);
  if (method == bytes.size()) return begins_method(name) ? Sniffed::kNeedMore : Sniffed::kOther;
  if (!known_method(name)) return Sniffed::kOther;
  if (other_blank(bytes[method])) return Sniffed::kHttp1;
  if (bytes[method] != ' ') return Sniffed::kOther;
  if (method + 1 == bytes.size()) return Sniffed::kNeedMore;
  const char target = bytes[method + 1];
  if (target == ' ' || other_blank(target)) return Sniffed::kHttp1;
  const bool absolute = (target >= 'a' && target <= 'z') || (target >= 'A' && target <= 'Z');
  if (target != '/' && target != '*' && !absolute && !(name == "CONNECT" && is(target, kTarget))) return Sniffed::kOther;
  in_request_line_ = true;
  return http10_ ? Sniffed::kHttp1 : version_of_line(all, leading);
}

namespace {

// A cursor over length-prefixed fields that remembers whether it ran out.
struct Cursor {
  std::string_view rest;
  bool ok = true;
  unsigned number(size_t width) noexcept {
    unsigned value = 0;
    for (const char c : take(width)) value = value * 256 + static_cast<unsigned char>(c);
    return value;
  }
  std::string_view take(size_t n) noexcept {
    if (rest.size() < n) {
      ok = false;
      n = rest.size();
    }
    const auto front = rest.substr(0, n);
    rest.remove_prefix(n);
    return front;
  }
};

// RFC 6066 §3: one name of type host_name.
std::string_view server_name(std::string_view extension, bool& valid) noexcept {
  Cursor in{extension};
  Cursor list{in.take(in.number(2))};
  const unsigned type = list.number(1);
  const auto name = list.take(list.number(2));
  valid = in.ok && list.ok && in.rest.empty() && list.rest.empty() && type == 0 && !name.empty() && name.size() <= 255;
  for (const char c : name) valid = valid && is(c, kHostName);
  return valid ? name : std::string_view{};
}

}  // namespace

// A hello that is spread over several records is none that any client library sends; it is refused, because a name that nobody
// sees would pass every check on names.
ClientHello client_hello(net::Slice slice) noexcept {
  ClientHello hello;
  const std::string_view bytes = net::text_of(slice);
  if (!bytes.empty() && (bytes.front() != 0x16 || tls_or_not(bytes) == Sniffed::kOther)) hello.valid = false;
  if (bytes.size() < 9 || !hello.valid) return hello;
  Cursor record{bytes.substr(3)};
  const unsigned length = record.number(2);
  Cursor message{record.rest};
  const unsigned type = message.number(1), size = message.number(3);
  if (type != 1 || size + 4 > length) {
    hello.valid = false;
    return hello;
  }
  if (message.rest.size() < size) return hello;
  hello.complete = true;
  Cursor body{message.take(size)};
  body.take(2 + 32);
  body.take(body.number(1));                       // session id
  body.take(body.number(2));                       // cipher suites
  body.take(body.number(1));                       // compression methods
  if (body.ok && body.rest.empty()) return hello;  // no extensions: TLS 1.2 and older may have none
  Cursor extensions{body.take(body.number(2))};
  bool named = false;
  while (extensions.ok && !extensions.rest.empty()) {
    const unsigned kind = extensions.number(2);
    const auto content = extensions.take(extensions.number(2));
    if (kind != 0 || !extensions.ok) continue;
    bool valid = false;
    hello.sni = server_name(content, valid);
    if (!valid || named) hello.valid = false;
    named = true;
  }
  if (!body.ok || !extensions.ok || !body.rest.empty()) hello.valid = false;
  if (!hello.valid) hello.sni = {};
  return hello;
}

}  // namespace http
