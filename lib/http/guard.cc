#include "http/guard.h"

#include <array>
#include <cstring>

#include "base/ip.h"
#include "http/chars.h"
#include "http/path.h"
#include "http/second_reading.h"

namespace http {
namespace {

using base::Detail;
using base::Field;
using base::FieldId;

// H9: the methods of RFC 9110, PATCH and WebDAV; those of other protocols that llhttp knows (SOURCE, DESCRIBE …) are refused.
constexpr std::string_view kMethods[] = {
    "GET",        "POST",     "PUT",      "HEAD",      "DELETE", "OPTIONS",   "PATCH",       "CONNECT", "TRACE",      "COPY", "LOCK",
    "MKCOL",      "MOVE",     "PROPFIND", "PROPPATCH", "SEARCH", "UNLOCK",    "BIND",        "REBIND",  "UNBIND",     "ACL",  "REPORT",
    "MKACTIVITY", "CHECKOUT", "MERGE",    "M-SEARCH",  "NOTIFY", "SUBSCRIBE", "UNSUBSCRIBE", "PURGE",   "MKCALENDAR", "LINK", "UNLINK"};

// What a Connection field may never take out: what frames or routes the message, or what the next hop believes about us
// (CVE-2022-31813: nominated X-Forwarded-* vanished before the backend saw them).
bool never_nominated(std::string_view name) noexcept {
  constexpr std::string_view kKept[] = {"host", "content-length", "content-type", "authorization", "cookie",
                                        "te",   "x-request-id",   "via",          "forwarded",     "expect",
                                        "date", "traceparent",    "tracestate",   "baggage",       "x-real-ip"};
  for (const auto kept : kKept)
    if (name == kept) return true;
  return name.starts_with("x-forwarded-") || name.starts_with("x-envoy-") || name.starts_with("x-b3-") ||
         name.starts_with("sec-websocket-");
}

// RFC 9110 §7.6.1 sets no bound, and each member that a Connection field names costs a search through all fields: a head of
// 60 KiB could ask for tens of thousands. Real messages name two or three.
constexpr size_t kMostConnectionMembers = 32;

// Rows that a proxy usually adds to a message (request id, forwarded-*, server, date, times): with room for them the table is
// allocated once.
constexpr size_t kAdded = 6;

// One pass over field lines whose line ends HeadScan has judged.
struct FieldReader {
  char* at;
  char* end;
  base::Fields& out;
  bool preserve_case;
  std::string_view host{}, upgrade{}, length_text{};
  size_t read = 0, hosts = 0, lengths = 0, codings = 0, connection_members = 0;
  bool length_valid = true, chunked = false, other_coding = false;
  bool close = false, keep_alive = false, connection_upgrade = false, expects_continue = false;
  uint64_t length = 0;
  std::pmr::vector<std::string_view> nominated{out.arena()};

  Detail next_field(Field& row);
  void note(const Field& row);
  void note_length(std::string_view value);
  void note_connection(std::string_view value);
  void note_te(const Field& row);
  Detail read_all(bool hop);
  void drop_nominated();
};

Detail FieldReader::next_field(Field& row) {
  char* const name = at;
  if (*name == ' ' || *name == '\t') return Detail::kHttp1Fold;  // H2: obsolete line folding
  if (preserve_case) {
    char* p = name;
    bool upper = false;
    for (; lower_token(*p) != 0; ++p) upper |= lower_token(*p) != *p;
    if (upper) row.raw = out.keep({name, static_cast<size_t>(p - name)}).data();
  }
  uint32_t hash = base::kNameHashSeed;
  char* p = name;
  for (char c; (c = lower_token(*p)) != 0; ++p) {
    *p = c;
    hash = base::name_hash_step(hash, c);
  }
  if (*p != ':' || p == name) return Detail::kHttp1FieldName;  // H3: empty name; H4: no colon, blank before it, no token
  row.name = {name, static_cast<size_t>(p - name)};
  row.hash = row.name.size() <= base::kHashedBytes ? hash : base::name_hash(row.name);
  row.id = base::field_id(row.name, row.hash);
  const char* begin = p + 1;
  auto* feed = static_cast<char*>(std::memchr(p, '\n', static_cast<size_t>(end - p)));  // HeadScan saw it
  const char* last = feed - 1;
  while (begin != last && (*begin == ' ' || *begin == '\t')) ++begin;
  while (last != begin && (last[-1] == ' ' || last[-1] == '\t')) --last;
  row.value = {begin, static_cast<size_t>(last - begin)};
  at = feed + 1;
  ++read;
  return Detail::kNone;
}

void FieldReader::note_length(std::string_view value) {
  ++lengths;
  uint64_t number = 0;
  if (value.empty()) length_valid = false;
  for (const char c : value) {
    if (!is(c, kDigit) || number > (UINT64_MAX / 2 - 9) / 10) {  // 63 bits: sums of lengths must not wrap either
      length_valid = false;
      return;
    }
    number = number * 10 + static_cast<uint64_t>(c - '0');
  }
  length = number;
  while (value.size() > 1 && value.front() == '0') value.remove_prefix(1);
  length_text = value;
}

void FieldReader::note_connection(std::string_view value) {
  for_each_member(value, [this](std::string_view member) {
    // Behind the bound nothing is kept: the head is refused once all of it has been read.
    if (!member.empty() && ++connection_members > kMostConnectionMembers) return;
    if (equal_ignoring_case(member, "close")) {
      close = true;
    } else if (equal_ignoring_case(member, "keep-alive")) {
      keep_alive = true;
    } else if (equal_ignoring_case(member, "upgrade")) {
      connection_upgrade = true;
    } else if (!member.empty()) {
      char* name = static_cast<char*>(out.arena()->allocate(member.size(), 1));
      for (size_t i = 0; i < member.size(); ++i) name[i] = lower(member[i]);
      nominated.emplace_back(name, member.size());
    }
  });
}

void FieldReader::note_te(const Field& row) {
  bool trailers = false;
  for_each_member(row.value, [&](std::string_view member) {
    trailers |= equal_ignoring_case(without_blanks(member.substr(0, member.find(';'))), "trailers");
  });
  if (!trailers || out.find(FieldId::kTe)) return;
  Field kept = row;
  kept.value = "trailers";
  out.add(kept);
}

// Sorts a field into what belongs to this hop and what goes on (RFC 9110 §7.6.1).
void FieldReader::note(const Field& row) {
  switch (row.id) {
    case FieldId::kHost:
      ++hosts;
      host = row.value;
      return;
    case FieldId::kContentLength: {
      note_length(row.value);
      Field canonical = row;
      canonical.value = length_text;
      out.add(canonical);
      return;
    }
    case FieldId::kTransferEncoding:
      ++codings;
      if (equal_ignoring_case(row.value, "chunked")) {
        chunked = true;
      } else {
        other_coding = true;
      }
      return;
    case FieldId::kConnection:
      return note_connection(row.value);
    case FieldId::kKeepAlive:
    case FieldId::kProxyConnection:
      return;
    case FieldId::kTe:
      return note_te(row);
    case FieldId::kUpgrade:
      upgrade = row.value;
      for_each_member(row.value, [this](std::string_view member) {
        if (equal_ignoring_case(member, "websocket")) upgrade = "websocket";
      });
      return;
    case FieldId::kExpect:
      expects_continue |= equal_ignoring_case(row.value, "100-continue");
      out.add(row);
      return;
    default:
      out.add(row);
  }
}

Detail FieldReader::read_all(bool hop) {
  while (*at != '\r') {
    Field row;
    if (const Detail fault = next_field(row); fault != Detail::kNone) return fault;
    if (hop) {
      note(row);
    } else {
      out.add(row);
    }
  }
  return connection_members > kMostConnectionMembers ? Detail::kHttp1FieldValue : Detail::kNone;
}

void FieldReader::drop_nominated() {
  for (const auto name : nominated)
    if (!never_nominated(name)) out.remove(name);
}

bool valid_port(std::string_view port) noexcept {
  unsigned number = 0;
  if (port.size() > 5) return false;
  for (const char c : port) {
    if (!is(c, kDigit)) return false;
    number = number * 10 + static_cast<unsigned>(c - '0');
  }
  return number <= 65535;
}

// H9: uri-host [":" port] of RFC 3986 §3.2.2 without userinfo; percent-encoding is refused, a name must have one spelling.
bool valid_authority(std::string_view text) noexcept {
  if (text.empty() || text.size() > 255) return false;
  if (text.front() == '[') {
    const size_t close = text.find(']');
    if (close == text.npos) return false;
    const auto ip = base::Ip::parse(text.substr(1, close - 1));
    const auto rest = text.substr(close + 1);
    return ip && (!ip->v4 || text.find(':') < close) && (rest.empty() || (rest.front() == ':' && valid_port(rest.substr(1))));
  }
  size_t i = 0;
  while (i < text.size() && is(text[i], kHostName)) ++i;
  return i > 0 && (i == text.size() || (text[i] == ':' && valid_port(text.substr(i + 1))));
}

// H10: method SP target SP version CR LF, each exactly once. Leaves `at` behind the line.
Detail read_request_line(char*& at, RequestHead& out) noexcept {
  char* p = at;
  while (lower_token(*p) != 0) ++p;
  out.method = {at, static_cast<size_t>(p - at)};
  if (out.method.empty() || *p != ' ') return Detail::kHttp1RequestLine;
  if (!known_method(out.method)) return Detail::kHttp1Method;  // H9
  const char* const target = ++p;
  while (is(*p, kTarget)) ++p;
  out.original_path = {target, static_cast<size_t>(p - target)};
  if (out.original_path.empty()) return Detail::kHttp1RequestLine;
  if (*p != ' ')
    return static_cast<unsigned char>(*p) >= 0x80 ? Detail::kHttp1Target : Detail::kHttp1RequestLine;  // H11: 8-bit; H10: two parts only
  const char* const version = ++p;
  while (*p != '\r') ++p;
  const std::string_view text(version, static_cast<size_t>(p - version));
  if (text != "HTTP/1.1" && text != "HTTP/1.0")
    return text.starts_with("HTTP/") && text.find(' ') == text.npos ? Detail::kHttp1Version : Detail::kHttp1RequestLine;
  out.version = text.back() == '1' ? Version::kHttp11 : Version::kHttp10;  // H9
  at = p + 2;
  return Detail::kNone;
}

// H5–H8 for both directions; kNone and `hop` set when the framing is unambiguous.
Detail read_framing(const FieldReader& reader, Version version, Hop& hop) noexcept {
  if (reader.codings > 0) {
    if (reader.lengths > 0) return Detail::kHttp1LengthAndEncoding;
    if (version == Version::kHttp10) return Detail::kHttp1TransferEncoding;  // H7
    if (reader.other_coding)
      return reader.chunked || reader.codings > 1 ? Detail::kHttp1TransferEncoding : Detail::kNotImplemented;  // H5, H6
    if (reader.codings > 1) return Detail::kHttp1TransferEncoding;                                             // H5: chunked twice
    hop.framing = Framing::kChunked;
    return Detail::kNone;
  }
  if (reader.lengths > 1 || !reader.length_valid) return Detail::kHttp1ContentLength;  // H8
  if (reader.lengths == 1) {
    hop.framing = Framing::kLength;
    hop.length = reader.length;
  }
  return Detail::kNone;
}

// H9, H11: the four forms of RFC 9112 §3.2. Sets authority and path (not normalised, fragment cut).
Detail read_target(const FieldReader& reader, RequestHead& out) {
  if (reader.hosts > 1 || (reader.hosts == 0 && out.version != Version::kHttp10)) return Detail::kHttp1Host;
  if (reader.hosts == 1 && !valid_authority(reader.host)) return Detail::kHttp1Host;
  out.authority = reader.host;
  std::string_view target = out.original_path;
  target = target.substr(0, target.find('#'));  // H11
  out.path = target;
  if (out.method == "CONNECT") {
    if (valid_authority(target)) out.authority = target;
    return Detail::kNone;
  }
  if (target.starts_with('/')) return Detail::kNone;
  if (target == "*") return out.method == "OPTIONS" ? Detail::kNone : Detail::kHttp1Target;
  const size_t scheme = target.find("://");
  if (scheme == target.npos ||
      !(equal_ignoring_case(target.substr(0, scheme), "http") || equal_ignoring_case(target.substr(0, scheme), "https")))
    return Detail::kHttp1Target;
  target.remove_prefix(scheme + 3);
  const auto authority = target.substr(0, target.find_first_of("/?"));
  if (!valid_authority(authority)) return Detail::kHttp1Host;
  out.authority = authority;  // RFC 9112 §3.2.2: it replaces Host
  target.remove_prefix(authority.size());
  if (target.empty()) {
    out.path = out.method == "OPTIONS" ? "*" : "/";
  } else if (target.front() == '?') {
    char* text = static_cast<char*>(out.fields.arena()->allocate(target.size() + 1, 1));
    text[0] = '/';
    std::memcpy(text + 1, target.data(), target.size());
    out.path = {text, target.size() + 1};
  } else {
    out.path = target;
  }
  return Detail::kNone;
}

// H15: what a request to change protocols comes to is decided here and not by the parser. Only WebSocket survives; h2c and all
// others are dropped with their fields, and the message is an ordinary one. A WebSocket handshake has no body.
Detail read_upgrade(const FieldReader& reader, const Hop& hop, RequestHead& out) {
  if (reader.upgrade.empty()) return Detail::kNone;
  out.fields.remove("http2-settings");
  if (reader.upgrade != "websocket" || !reader.connection_upgrade || out.version != Version::kHttp11 || out.method != "GET")
    return Detail::kNone;
  if (hop.framing == Framing::kChunked || hop.length > 0) return Detail::kHttp1Syntax;
  out.upgrade = "websocket";
  return Detail::kNone;
}

bool same_fields(const SecondReading& again, const FieldReader& reader, Version version) noexcept {
  return again.complete && again.fields == reader.read && again.major == 1 && again.minor == (version == Version::kHttp11 ? 1 : 0) &&
         again.chunked == reader.chunked && again.has_length == (reader.lengths > 0) &&
         (reader.lengths == 0 || again.length == reader.length);
}

bool trailer_may_pass(std::string_view name) noexcept {
  constexpr std::string_view kAllowed[] = {"server-timing", "digest", "content-digest", "repr-digest", "etag"};
  for (const auto allowed : kAllowed)
    if (name == allowed) return true;
  return name.starts_with("grpc-");
}

}  // namespace

bool known_method(std::string_view method) noexcept {
  for (const auto known : kMethods)
    if (known == method) return true;
  return false;
}

bool begins_method(std::string_view bytes) noexcept {
  for (const auto known : kMethods)
    if (known.starts_with(bytes)) return true;
  return false;
}

Detail judge_request(std::span<char> head, size_t fields, const RequestRules& rules, RequestHead& out, Hop& hop) {
  const SecondReading again = read_request_again({head.data(), head.size()});
  char* at = head.data();
  out.scheme = rules.secure ? "https" : "http";
  if (const Detail fault = read_request_line(at, out); fault != Detail::kNone) return fault;
  out.path = out.original_path;
  FieldReader reader{.at = at, .end = head.data() + head.size(), .out = out.fields, .preserve_case = rules.preserve_case};
  out.fields.reserve(fields + kAdded);
  if (const Detail fault = reader.read_all(true); fault != Detail::kNone) return fault;
  if (const Detail fault = read_framing(reader, out.version, hop); fault != Detail::kNone) return fault;
  if (const Detail fault = read_target(reader, out); fault != Detail::kNone) return fault;
  if (again.method != out.method || again.target != out.original_path || !same_fields(again, reader, out.version))
    return Detail::kHttp1ParserDisagrees;  // H20
  hop.keep_alive = !reader.close && (out.version == Version::kHttp11 || reader.keep_alive);
  hop.expects_continue = reader.expects_continue && out.version == Version::kHttp11;
  reader.drop_nominated();
  if (const Detail fault = read_upgrade(reader, hop, out); fault != Detail::kNone) return fault;
  if (out.version == Version::kHttp10 && !rules.http10) return Detail::kLowVersion;
  if (out.method == "CONNECT") return Detail::kConnectRefused;
  if (out.path == "*") return Detail::kNone;
  const auto path = normal_path(out.path, rules.path, out.fields.arena());
  if (!path) return Detail::kPathNormalization;
  out.path = *path;
  return Detail::kNone;
}

namespace {

Detail read_status_line(std::string_view head, char*& at, ResponseHead& out) noexcept {
  const std::string_view line = head.substr(0, head.find('\r'));
  if (line.size() < 12 || (!line.starts_with("HTTP/1.1 ") && !line.starts_with("HTTP/1.0 "))) return Detail::kHttp1Version;  // H9
  out.version = line[7] == '1' ? Version::kHttp11 : Version::kHttp10;
  for (const char c : line.substr(9, 3))
    if (!is(c, kDigit)) return Detail::kHttp1Syntax;
  out.status = static_cast<uint16_t>((line[9] - '0') * 100 + (line[10] - '0') * 10 + (line[11] - '0'));
  if (out.status < 100 || (line.size() > 12 && line[12] != ' ')) return Detail::kHttp1Syntax;
  at += line.size() + 2;
  return Detail::kNone;
}

// RFC 9112 §6.3 for answers.
Detail read_response_framing(const FieldReader& reader, const ResponseRules& rules, ResponseHead& out, Hop& hop) {
  if (out.status == 101) {  // H17: only if asked for, and into the same protocol
    if (!rules.upgrade_asked || reader.upgrade != "websocket" || !reader.connection_upgrade) return Detail::kUpgradeRefused;
    out.upgrade = "websocket";
    out.fields.remove(FieldId::kContentLength);  // RFC 9110 §15.2.2: what follows is the tunnel
    return Detail::kNone;
  }
  const bool bodyless = rules.to_head || out.status == 204 || out.status == 304 || out.status < 200;
  if (const Detail fault = read_framing(reader, out.version, hop); fault != Detail::kNone) return fault;
  if (out.status < 200 && hop.framing != Framing::kNone) return Detail::kHttp1Syntax;  // H17: a length of a 1xx must not swallow the answer
  hop.keep_alive = !reader.close && (out.version == Version::kHttp11 || reader.keep_alive);
  if (out.status == 204) {
    if (hop.framing == Framing::kChunked || hop.length > 0) hop.keep_alive = false;  // H17: bytes that must not be there may follow
    out.fields.remove(FieldId::kContentLength);
  }
  if (bodyless) {
    hop.framing = Framing::kNone;
  } else if (hop.framing == Framing::kNone) {
    hop.framing = Framing::kUntilClose;
    hop.keep_alive = false;
  }
  return Detail::kNone;
}

}  // namespace

Detail judge_response(std::span<char> head, size_t fields, const ResponseRules& rules, ResponseHead& out, Hop& hop) {
  const SecondReading again = read_response_again({head.data(), head.size()});
  char* at = head.data();
  if (const Detail fault = read_status_line({head.data(), head.size()}, at, out); fault != Detail::kNone) return fault;
  FieldReader reader{.at = at, .end = head.data() + head.size(), .out = out.fields, .preserve_case = rules.preserve_case};
  out.fields.reserve(fields + kAdded);
  if (const Detail fault = reader.read_all(true); fault != Detail::kNone) return fault;
  if (const Detail fault = read_response_framing(reader, rules, out, hop); fault != Detail::kNone) return fault;
  if (again.status != out.status || (out.status != 101 && !same_fields(again, reader, out.version)))
    return Detail::kHttp1ParserDisagrees;  // H17, H20
  reader.drop_nominated();
  return Detail::kNone;
}

Detail judge_trailers(std::span<char> section, size_t fields, base::Fields& out) {
  FieldReader reader{.at = section.data(), .end = section.data() + section.size(), .out = out, .preserve_case = false};
  out.reserve(fields);
  if (reader.read_all(false) != Detail::kNone) return Detail::kHttp1Trailer;
  out.remove_if([](const Field& row) { return !trailer_may_pass(row.name); });  // H13
  return Detail::kNone;
}

void salvage_request_line(std::string_view bytes, RequestHead& out) {
  constexpr size_t kShown = 1024;  // a log line needs no more
  bytes = bytes.substr(0, std::min(bytes.find_first_of("\r\n"), kShown));
  size_t i = 0;
  while (i < bytes.size() && is(bytes[i], kToken)) ++i;
  if (i == 0 || i == bytes.size() || bytes[i] != ' ') return;
  size_t end = i + 1;
  while (end < bytes.size() && is(bytes[end], kTarget)) ++end;
  const auto text = out.fields.keep(bytes.substr(0, end));
  out.method = text.substr(0, i);
  out.path = out.original_path = text.substr(i + 1);
}

}  // namespace http
