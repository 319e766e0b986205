#pragma once

#include <charconv>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

// A second, simple reading of HTTP/1 for tests: what a peer that got these bytes must believe about the messages in them. It
// knows only what the proxy writes (lower-case names, no blanks before the colon), so that it can judge the proxy's codec.
namespace proxy::in_memory {

struct Message {
  std::string_view first_line, head;       // head: with first line and blank line
  std::string body;
  uint16_t status = 0;                     // of an answer
  bool complete = false;
  bool tunnel = false;                     // 101: what follows is no message, and stands in `body`
  bool has(std::string_view line) const { return head.find(line) != head.npos; }
  std::string_view field(std::string_view name) const {
    const auto at = head.find("\r\n" + std::string(name) + ": ");
    if (at == head.npos) return {};
    const auto begin = at + 4 + name.size();
    return head.substr(begin, head.find("\r\n", begin) - begin);
  }
};

namespace reading {
// Takes one chunked body off the front of `rest`; false: it is not whole, and what there is of it stands in `body`.
inline bool chunks(std::string_view& rest, std::string& body) {
  for (;;) {
    const auto line = rest.find("\r\n");
    if (line == rest.npos) return false;
    size_t size = 0;
    const auto parsed = std::from_chars(rest.data(), rest.data() + line, size, 16);
    if (parsed.ec != std::errc() || parsed.ptr != rest.data() + line) return false;
    rest.remove_prefix(line + 2);
    if (size == 0) break;
    body += rest.substr(0, size);
    if (rest.size() < size + 2) return false;
    rest.remove_prefix(size + 2);
  }
  while (!rest.starts_with("\r\n")) {      // trailers
    const auto line = rest.find("\r\n");
    if (line == rest.npos) return false;
    rest.remove_prefix(line + 2);
  }
  rest.remove_prefix(2);
  return true;
}
}  // namespace reading

// How the end of the bytes came about, as the reader saw it.
enum class Ending : uint8_t { kOpen, kClean, kBroken };

// The messages in `bytes`, one after the other; the last may be incomplete. Interim answers stand in the list too. `methods`
// are those of the requests that answers belong to, in order (HEAD has no body); requests are read without it.
inline std::vector<Message> messages(std::string_view bytes, Ending ending, bool answers, const std::vector<std::string>& methods = {}) {
  std::vector<Message> all;
  size_t answered = 0;
  while (!bytes.empty()) {
    Message& m = all.emplace_back();
    const auto end = bytes.find("\r\n\r\n");
    m.first_line = bytes.substr(0, bytes.find("\r\n"));
    m.head = end == bytes.npos ? bytes : bytes.substr(0, end + 4);
    if (end == bytes.npos) break;
    bytes.remove_prefix(end + 4);
    if (answers && m.first_line.size() > 12) std::from_chars(m.first_line.data() + 9, m.first_line.data() + 12, m.status);
    if (answers && m.status == 101) {
      m.tunnel = m.complete = true;
      m.body = bytes;
      break;
    }
    if (answers && m.status < 200) {
      m.complete = true;
      continue;
    }
    const bool to_head = answers && answered < methods.size() && methods[answered] == "HEAD";
    if (answers) ++answered;
    const auto length = m.field("content-length");
    if (to_head || m.status == 204 || m.status == 304) {
      m.complete = true;
    } else if (m.has("\r\ntransfer-encoding: chunked\r\n")) {
      m.complete = reading::chunks(bytes, m.body);
    } else if (!length.empty() || !answers) {
      uint64_t size = 0;
      std::from_chars(length.data(), length.data() + length.size(), size);
      m.body = bytes.substr(0, size);
      m.complete = m.body.size() == size;
      bytes.remove_prefix(m.body.size());
    } else {
      m.body = bytes;
      m.complete = ending == Ending::kClean;
      break;
    }
    if (!m.complete) break;
  }
  return all;
}

}  // namespace proxy::in_memory
