#include "http/message.h"

namespace http {

std::string_view name_of(Version version) noexcept {
  switch (version) {
    case Version::kHttp10:
      return "HTTP/1.0";
    case Version::kHttp11:
      return "HTTP/1.1";
    case Version::kHttp2:
      return "HTTP/2";
  }
  return "-";
}

}  // namespace http
