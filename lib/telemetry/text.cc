#include "telemetry/text.h"

#include <arpa/inet.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <ctime>

#include "telemetry/access_log.h"

namespace telemetry {
namespace {

constexpr char kHex[] = "0123456789abcdef";

// Writes `number` with leading zeros into `digits` characters.
void append_padded(std::string& out, uint64_t number, int digits) {
  std::array<char, 20> text;
  for (int i = digits - 1; i >= 0; --i, number /= 10) text[static_cast<size_t>(i)] = static_cast<char>('0' + number % 10);
  out.append(text.data(), static_cast<size_t>(digits));
}

// Length of the UTF-8 sequence that begins `text`, 0 when it is none (RFC 3629: no overlong forms, surrogates, above U+10FFFF).
size_t utf8_length(std::string_view text) noexcept {
  const auto byte = [&](size_t i) { return static_cast<unsigned char>(text[i]); };
  const auto follows = [&](size_t n) {
    if (text.size() < n) return false;
    for (size_t i = 1; i < n; ++i) {
      if ((byte(i) & 0xc0) != 0x80) return false;
    }
    return true;
  };
  const unsigned char first = byte(0);
  if (first < 0x80) return 1;
  if (first >= 0xc2 && first < 0xe0) return follows(2) ? 2 : 0;
  if (first >= 0xe0 && first < 0xf0) {
    if (!follows(3) || (first == 0xe0 && byte(1) < 0xa0) || (first == 0xed && byte(1) > 0x9f)) return 0;
    return 3;
  }
  if (first >= 0xf0 && first < 0xf5) {
    if (!follows(4) || (first == 0xf0 && byte(1) < 0x90) || (first == 0xf4 && byte(1) > 0x8f)) return 0;
    return 4;
  }
  return 0;
}

// By hand: four addresses are in every line, and inet_ntop formats with printf.
char* write_v4(char* at, const base::Ip& ip) noexcept {
  for (size_t i = 0; i < 4; ++i) {
    const unsigned byte = ip.bytes[i];
    if (i) *at++ = '.';
    if (byte >= 100) *at++ = static_cast<char>('0' + byte / 100);
    if (byte >= 10) *at++ = static_cast<char>('0' + byte / 10 % 10);
    *at++ = static_cast<char>('0' + byte % 10);
  }
  return at;
}

// Which bytes go into a line as they are: no control bytes, quotes or backslashes. JSON looks at those above ASCII too.
struct PlainBytes {
  bool line[256], json[256];
  constexpr PlainBytes() : line(), json() {
    for (unsigned byte = 0; byte < 256; ++byte) {
      line[byte] = byte >= 0x20 && byte != 0x7f && byte != '"' && byte != '\\';
      json[byte] = line[byte] && byte < 0x80;
    }
  }
};
constexpr PlainBytes kPlain;

size_t plain_length(std::string_view text, const bool (&plain)[256]) noexcept {
  size_t n = 0;
  while (n < text.size() && plain[static_cast<unsigned char>(text[n])]) ++n;
  return n;
}

void append_hex(std::string& out, std::string_view prefix, unsigned char byte) {
  out += prefix;
  out += kHex[byte >> 4];
  out += kHex[byte & 15];
}

// Digits of the second's fraction, cut.
void append_fraction(std::string& out, std::chrono::nanoseconds fraction, int digits) {
  auto value = static_cast<uint64_t>(fraction.count());
  for (int i = 9; i > digits; --i) value /= 10;
  append_padded(out, value, digits);
}

void append_strftime(std::string& out, const std::tm& fields, const char (&format)[3]) {
  std::array<char, 64> text;
  out.append(text.data(), std::strftime(text.data(), text.size(), format, &fields));
}

void append_custom_time(std::string& out, std::chrono::sys_seconds second, std::chrono::nanoseconds fraction, const std::string& format) {
  const std::time_t seconds = std::chrono::system_clock::to_time_t(second);
  std::tm fields{};
  gmtime_r(&seconds, &fields);
  for (size_t i = 0; i < format.size(); ++i) {
    const std::string_view rest = std::string_view(format).substr(i);
    const char next = rest.size() > 1 ? rest[1] : '\0';
    const char third = rest.size() > 2 ? rest[2] : '\0';
    if (rest[0] != '%' || next == '\0') {
      append_line_text(out, rest.substr(0, 1));
    } else if (next == 'f') {
      append_fraction(out, fraction, 9);
      i += 1;
    } else if (next >= '1' && next <= '9' && third == 'f') {
      append_fraction(out, fraction, next - '0');
      i += 2;
    } else if (next == 'E' && third >= '1' && third <= '9' && rest.size() > 3 && rest[3] == 'S') {
      append_padded(out, static_cast<uint64_t>(fields.tm_sec), 2);
      out += '.';
      append_fraction(out, fraction, third - '0');
      i += 3;
    } else if (next == 's') {
      append_number(out, static_cast<uint64_t>(std::max<std::time_t>(seconds, 0)));
      i += 1;
    } else {
      append_strftime(out, fields, {'%', next, '\0'});
      i += 1;
    }
  }
}

}  // namespace

void append_number(std::string& out, uint64_t number) {
  std::array<char, 20> digits;
  const auto end = std::to_chars(digits.data(), digits.data() + digits.size(), number).ptr;
  out.append(digits.data(), end);
}

void append_ip(std::string& out, const base::Ip& ip) {
  std::array<char, INET6_ADDRSTRLEN> text;
  if (ip.v4) {
    out.append(text.data(), write_v4(text.data(), ip));
  } else if (inet_ntop(AF_INET6, ip.bytes.data(), text.data(), text.size())) {
    out += text.data();
  }
}

void append_address(std::string& out, const base::SocketAddress& address) {
  std::array<char, 24> text;
  char* end = text.data();
  if (address.ip.v4) {
    end = write_v4(end, address.ip);
  } else {
    out += '[';
    append_ip(out, address.ip);
    *end++ = ']';
  }
  *end++ = ':';
  end = std::to_chars(end, text.data() + text.size(), address.port).ptr;
  out.append(text.data(), end);
}

void append_line_text(std::string& out, std::string_view text) {
  for (;;) {
    const size_t plain = plain_length(text, kPlain.line);
    out += text.substr(0, plain);
    if (plain == text.size()) return;
    const auto byte = static_cast<unsigned char>(text[plain]);
    if (byte == '"' || byte == '\\') {
      out += '\\';
      out += text[plain];
    } else {
      append_hex(out, "\\x", byte);
    }
    text.remove_prefix(plain + 1);
  }
}

void append_json_text(std::string& out, std::string_view text) {
  for (;;) {
    const size_t plain = plain_length(text, kPlain.json);
    out += text.substr(0, plain);
    if (plain == text.size()) return;
    text.remove_prefix(plain);
    const auto byte = static_cast<unsigned char>(text.front());
    const size_t length = std::max<size_t>(utf8_length(text), 1);
    if (byte == '"' || byte == '\\') {
      out += '\\';
      out += text.front();
    } else if (byte < 0x80) {
      append_hex(out, "\\u00", byte);
    } else if (length > 1) {
      out += text.substr(0, length);
    } else {
      append_hex(out, "\\\\x", byte);
    }
    text.remove_prefix(length);
  }
}

void append_host_name(std::string& out, std::string_view text) {
  for (const char c : text) {
    const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' || c == '-' || c == '*' || c == ':';
    out += plain ? c : '_';
  }
}

void append_time(std::string& out, std::chrono::system_clock::time_point at, const std::string& format) {
  using namespace std::chrono;
  const auto second = floor<seconds>(at);
  const auto fraction = duration_cast<nanoseconds>(at - second);
  if (!format.empty()) return append_custom_time(out, second, fraction, format);
  const auto day = floor<days>(second);
  const year_month_day date(day);
  const hh_mm_ss time(second - day);
  append_padded(out, static_cast<uint64_t>(std::max(static_cast<int>(date.year()), 0)), 4);
  out += '-';
  append_padded(out, static_cast<unsigned>(date.month()), 2);
  out += '-';
  append_padded(out, static_cast<unsigned>(date.day()), 2);
  out += 'T';
  append_padded(out, static_cast<uint64_t>(time.hours().count()), 2);
  out += ':';
  append_padded(out, static_cast<uint64_t>(time.minutes().count()), 2);
  out += ':';
  append_padded(out, static_cast<uint64_t>(time.seconds().count()), 2);
  out += '.';
  append_fraction(out, fraction, 3);
  out += 'Z';
}

}  // namespace telemetry
