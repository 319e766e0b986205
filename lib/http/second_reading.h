#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace http {

// llhttp's reading of a head. The guard must have read the same, else the message is refused (H20).
struct SecondReading {
  bool complete = false;  // the parser accepted the head and stopped exactly at its end
  std::string_view method, target;
  uint16_t status = 0;
  uint8_t major = 0, minor = 0;
  size_t fields = 0;
  bool chunked = false, has_length = false;
  uint64_t length = 0;
};
SecondReading read_request_again(std::string_view head) noexcept;
SecondReading read_response_again(std::string_view head) noexcept;

}  // namespace http
