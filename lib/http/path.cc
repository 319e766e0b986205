#include "http/path.h"

#include "http/chars.h"

namespace http {
namespace {

// The byte that an escape at `text[i]` stands for, -1 when there is none.
int escaped(std::string_view text, size_t i) noexcept {
  if (text[i] != '%' || i + 2 >= text.size()) return -1;
  const int high = hex_value(text[i + 1]), low = hex_value(text[i + 2]);
  return high < 0 || low < 0 ? -1 : high * 16 + low;
}

// Most paths are normal already: no escape, backslash, dot segment or, where they are merged, double slash.
bool is_normal(std::string_view path, bool merge) noexcept {
  char before = 0;
  for (const char c : path) {
    if (c == '%' || c == '\\' || (before == '/' && (c == '.' || (merge && c == '/')))) return false;
    before = c;
  }
  return true;
}

bool has_nul(std::string_view path) noexcept { return path.find("%00") != path.npos; }

// Decodes what the mode decodes; one pass, so that nothing is decoded twice. Returns the new length.
size_t decode(std::string_view path, bool slashes, char* out) noexcept {
  char* end = out;
  for (size_t i = 0; i < path.size(); ++i) {
    char c = path[i];
    if (const int byte = escaped(path, i); byte >= 0) {
      const char decoded = static_cast<char>(byte);
      if (is(decoded, kUnreserved) || (slashes && (decoded == '/' || decoded == '\\'))) {
        c = decoded;
        i += 2;
      }
    }
    *end++ = c == '\\' ? '/' : c;
  }
  return static_cast<size_t>(end - out);
}

// RFC 3986 §5.2.4 on a path that begins with a slash, in place. Empty segments count as segments.
size_t without_dots(char* path, size_t size) noexcept {
  size_t out = 0, in = 0;
  while (in < size) {  // path[in] is a slash
    size_t end = in + 1;
    while (end < size && path[end] != '/') ++end;
    const std::string_view segment(path + in + 1, end - in - 1);
    if (segment == ".." || segment == ".") {
      if (segment == "..")
        while (out > 0 && path[--out] != '/') {
        }
      if (end == size) path[out++] = '/';  // "/a/." is the directory /a/
    } else {
      for (size_t i = in; i < end; ++i) path[out++] = path[i];
    }
    in = end;
  }
  if (out == 0) path[out++] = '/';
  return out;
}

size_t with_single_slashes(char* path, size_t size) noexcept {
  size_t out = 0;
  for (size_t i = 0; i < size; ++i)
    if (path[i] != '/' || out == 0 || path[out - 1] != '/') path[out++] = path[i];
  return out;
}

}  // namespace

std::optional<std::string_view> normal_path(std::string_view target, PathMode mode, std::pmr::memory_resource* arena) {
  if (mode == PathMode::kNone) return target;
  const std::string_view path = target.substr(0, target.find('?'));
  const bool merge = mode != PathMode::kBase;
  if (is_normal(path, merge)) return target;
  if (has_nul(path)) return std::nullopt;
  const std::string_view query = target.substr(path.size());
  char* text = static_cast<char*>(arena->allocate(target.size(), 1));
  size_t size = decode(path, mode == PathMode::kDecodeAndMergeSlashes, text);
  size = without_dots(text, size);
  if (merge) size = with_single_slashes(text, size);
  for (const char c : query) text[size++] = c;
  return std::string_view(text, size);
}

}  // namespace http
