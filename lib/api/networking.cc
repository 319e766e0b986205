#include "api/networking.h"

namespace api {

bool StringMatch::matches(std::string_view text) const {
  switch (kind) {
    case Kind::kExact: return text == value;
    case Kind::kPrefix: return text.starts_with(value);
    case Kind::kRegex: return regex && regex->full_match(text);
    case Kind::kPresent: return true;
  }
  return false;
}

}  // namespace api
