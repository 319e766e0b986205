#include "http/encode.h"

#include <charconv>
#include <cstring>

#include "http/chars.h"

namespace http {
namespace {

using base::FieldId;

struct Reason {
  uint16_t status;
  std::string_view text;
};
constexpr Reason kReasons[] = {{100, "Continue"},
                               {101, "Switching Protocols"},
                               {102, "Processing"},
                               {103, "Early Hints"},
                               {200, "OK"},
                               {201, "Created"},
                               {202, "Accepted"},
                               {203, "Non-Authoritative Information"},
                               {204, "No Content"},
                               {205, "Reset Content"},
                               {206, "Partial Content"},
                               {207, "Multi-Status"},
                               {208, "Already Reported"},
                               {226, "IM Used"},
                               {300, "Multiple Choices"},
                               {301, "Moved Permanently"},
                               {302, "Found"},
                               {303, "See Other"},
                               {304, "Not Modified"},
                               {305, "Use Proxy"},
                               {307, "Temporary Redirect"},
                               {308, "Permanent Redirect"},
                               {400, "Bad Request"},
                               {401, "Unauthorized"},
                               {402, "Payment Required"},
                               {403, "Forbidden"},
                               {404, "Not Found"},
                               {405, "Method Not Allowed"},
                               {406, "Not Acceptable"},
                               {407, "Proxy Authentication Required"},
                               {408, "Request Timeout"},
                               {409, "Conflict"},
                               {410, "Gone"},
                               {411, "Length Required"},
                               {412, "Precondition Failed"},
                               {413, "Payload Too Large"},
                               {414, "URI Too Long"},
                               {415, "Unsupported Media Type"},
                               {416, "Range Not Satisfiable"},
                               {417, "Expectation Failed"},
                               {421, "Misdirected Request"},
                               {422, "Unprocessable Entity"},
                               {423, "Locked"},
                               {424, "Failed Dependency"},
                               {425, "Too Early"},
                               {426, "Upgrade Required"},
                               {428, "Precondition Required"},
                               {429, "Too Many Requests"},
                               {431, "Request Header Fields Too Large"},
                               {451, "Unavailable For Legal Reasons"},
                               {500, "Internal Server Error"},
                               {501, "Not Implemented"},
                               {502, "Bad Gateway"},
                               {503, "Service Unavailable"},
                               {504, "Gateway Timeout"},
                               {505, "HTTP Version Not Supported"},
                               {506, "Variant Also Negotiates"},
                               {507, "Insufficient Storage"},
                               {508, "Loop Detected"},
                               {510, "Not Extended"},
                               {511, "Network Authentication Required"}};

constexpr size_t kSlack = 256;  // start line words and everything Hopwise can add

size_t size_of(const base::Fields& fields) noexcept {
  size_t size = 0;
  for (const auto& field : fields.all()) size += field.name.size() + field.value.size() + 4;
  return size;
}

inline char* put_field(std::string_view name, std::string_view value, char* at) noexcept {
  at = copy(at, name);
  *at++ = ':';
  *at++ = ' ';
  at = copy(at, value);
  *at++ = '\r';
  *at++ = '\n';
  return at;
}
inline void put_field(std::string_view name, std::string_view value, OutBuffer& out) noexcept {
  out.end_at(put_field(name, value, out.end()));
}

// What frames a message or belongs to one hop is written by put_hop alone, so that no rule of a configuration can add a second
// framing; Host is written first.
bool belongs_to_hop(FieldId id) noexcept {
  switch (id) {
    case FieldId::kHost:
    case FieldId::kTransferEncoding:
    case FieldId::kConnection:
    case FieldId::kKeepAlive:
    case FieldId::kProxyConnection:
    case FieldId::kUpgrade:
      return true;
    default:
      return false;
  }
}

size_t put_fields(const base::Fields& fields, bool preserve_case, bool no_length, OutBuffer& out) noexcept {
  size_t lines = 0;
  char* at = out.end();
  for (const auto& field : fields.all()) {
    if (belongs_to_hop(field.id) || (no_length && field.id == FieldId::kContentLength)) continue;
    const bool raw = preserve_case && field.raw != nullptr;
    at = put_field(raw ? std::string_view(field.raw, field.name.size()) : field.name, field.value, at);
    ++lines;
  }
  out.end_at(at);
  return lines;
}

size_t put_hop(const Hopwise& hop, std::string_view upgrade, OutBuffer& out) noexcept {
  size_t lines = 0;
  if (hop.length != nullptr) {
    char digits[20];
    const auto end = std::to_chars(digits, digits + sizeof digits, *hop.length);
    put_field("content-length", {digits, static_cast<size_t>(end.ptr - digits)}, out);
    ++lines;
  }
  if (hop.chunked) {
    put_field("transfer-encoding", "chunked", out);
    ++lines;
  }
  if (!upgrade.empty()) {
    put_field("connection", "upgrade", out);
    put_field("upgrade", upgrade, out);
    lines += 2;
  } else if (hop.close || hop.keep_alive) {
    put_field("connection", hop.close ? "close" : "keep-alive", out);
    ++lines;
  }
  out.put("\r\n");
  return lines;
}

// Header rules and rewrites of a configuration, or a defect of ours, could have put a line end into a value.
bool sound(const OutBuffer& out, size_t lines) noexcept { return count_controls(out.text()) == 2 * lines; }

}  // namespace

OutBuffer::~OutBuffer() {
  if (begin_ != local_) worker_.give_block(reinterpret_cast<std::byte*>(begin_), capacity_);
}

void OutBuffer::reserve(size_t more) {
  if (capacity_ - size_ >= more) return;
  auto capacity = static_cast<uint32_t>(size_ + more);
  char* bigger = reinterpret_cast<char*>(worker_.take_block(capacity));
  std::memcpy(bigger, begin_, size_);
  if (begin_ != local_) worker_.give_block(reinterpret_cast<std::byte*>(begin_), capacity_);
  begin_ = bigger;
  capacity_ = capacity;
}

void OutBuffer::put_chunk_size(size_t size) noexcept {
  char digits[16];
  const auto end = std::to_chars(digits, digits + sizeof digits, size, 16);
  put({digits, static_cast<size_t>(end.ptr - digits)});
  put("\r\n");
}

std::string_view reason_of(uint16_t status) noexcept {
  for (const Reason& reason : kReasons)
    if (reason.status == status) return reason.text;
  return "Unknown";
}

bool encode_request(const RequestHead& head, const Hopwise& hop, OutBuffer& out, size_t extra) {
  for (const char c : head.path)
    if (!is(c, kTarget)) return false;
  if (head.path.empty() || head.method.empty()) return false;
  out.reserve(size_of(head.fields) + head.method.size() + head.path.size() + head.authority.size() + head.upgrade.size() + kSlack + extra);
  out.put(head.method);
  out.put(' ');
  out.put(head.path);
  out.put(" HTTP/1.1\r\n");
  put_field(hop.preserve_case ? "Host" : "host", head.authority, out);
  size_t lines = put_fields(head.fields, hop.preserve_case, hop.no_length, out);
  lines += put_hop(hop, head.upgrade, out);
  return sound(out, lines + 3);
}

bool encode_response(const ResponseHead& head, const Hopwise& hop, OutBuffer& out, size_t extra) {
  if (head.status < 100 || head.status > 999) return false;
  out.reserve(size_of(head.fields) + head.upgrade.size() + kSlack + extra);
  out.put("HTTP/1.1 ");
  out.put(static_cast<char>('0' + head.status / 100));
  out.put(static_cast<char>('0' + head.status / 10 % 10));
  out.put(static_cast<char>('0' + head.status % 10));
  out.put(' ');
  out.put(head.status == 200 ? std::string_view("OK") : reason_of(head.status));
  out.put("\r\n");
  size_t lines = put_fields(head.fields, hop.preserve_case, hop.no_length, out);
  lines += put_hop(hop, head.status == 101 ? head.upgrade : std::string_view(), out);
  return sound(out, lines + 2);
}

bool encode_trailers(const base::Fields* trailers, bool preserve_case, OutBuffer& out) {
  const size_t before = out.text().size();
  out.reserve((trailers ? size_of(*trailers) : 0) + 2);
  const size_t lines = trailers ? put_fields(*trailers, preserve_case, true, out) : 0;
  out.put("\r\n");
  return count_controls(out.text().substr(before)) == 2 * (lines + 1);
}

}  // namespace http
