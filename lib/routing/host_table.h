#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace routing {

// Finds a virtual host for a request's authority: exact name, then the longest `*.suffix`, then the longest `prefix.*`, then
// `*` (traffic.md §1.2). Ports are ignored, letters compared without case. Built once, read by any thread.
class HostTable {
 public:
  static constexpr uint32_t kNone = ~0u;
  // False when another virtual host holds this domain already: the first one declared owns it.
  bool add(std::string_view domain, uint32_t host);
  uint32_t find(std::string_view authority) const;

 private:
  struct Hash {
    using is_transparent = void;
    size_t operator()(std::string_view text) const noexcept { return std::hash<std::string_view>{}(text); }
  };
  using Names = std::unordered_map<std::string, uint32_t, Hash, std::equal_to<>>;
  struct Wildcards {
    size_t length;                       // of the fixed part
    Names names;
  };
  uint32_t find_lower(std::string_view host) const noexcept;
  static bool add_wildcard(std::vector<Wildcards>& list, std::string_view fixed, uint32_t host);

  Names exact_;
  std::vector<Wildcards> suffixes_, prefixes_;   // longest first
  uint32_t any_ = kNone;
};

}  // namespace routing
