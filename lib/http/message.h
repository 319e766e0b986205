#pragma once

#include <cstdint>
#include <memory_resource>
#include <string_view>

#include "base/fields.h"

namespace http {

enum class Version : uint8_t { kHttp10, kHttp11, kHttp2 };
std::string_view name_of(Version version) noexcept;   // "HTTP/1.1", as %PROTOCOL% prints it

// Text of a head lives in the arena of its message (Fields::arena); whoever changes it puts new text there with Fields::keep.
// The codec has taken out what belongs to one hop (RFC 9110 §7.6.1): connection, what it names, keep-alive, proxy-connection,
// te except trailers, transfer-encoding, upgrade (except where `upgrade` below says otherwise). content-length stays when the
// body has a known length, in canonical form. `host` is not among the fields: it is `authority`.
struct RequestHead {
  std::string_view method, scheme, authority, path;   // path: as it goes upstream, normalised, query included, no fragment
  base::Fields fields;
  std::string_view original_path{};                    // as the client sent it, for the access log
  std::string_view upgrade{};                          // "websocket" when the client asks for it and may; else empty
  Version version = Version::kHttp11;
  explicit RequestHead(std::pmr::memory_resource* arena) : fields(arena) {}
};
struct ResponseHead {
  uint16_t status = 0;
  base::Fields fields;
  std::string_view upgrade{};                          // of a 101
  Version version = Version::kHttp11;
  explicit ResponseHead(std::pmr::memory_resource* arena) : fields(arena) {}
};

// path without query.
inline std::string_view path_only(std::string_view path) noexcept { return path.substr(0, path.find('?')); }

}  // namespace http
