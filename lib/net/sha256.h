#pragma once

#include <memory>
#include <string>
#include <string_view>

namespace net {

// SHA-256 piece by piece. (It stands in this room because OpenSSL does.)
class Sha256 {
 public:
  Sha256();
  ~Sha256();
  void add(std::string_view bytes);
  std::string hex();                   // 64 lower-case digits; call once, at the end

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace net
