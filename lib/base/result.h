#pragma once

#include <cstdint>
#include <expected>
#include <type_traits>

#include "base/detail.h"

namespace base {

enum class Code : uint8_t {
  kInternal, kEof, kReset, kTimeout, kConnect, kTls, kProtocol, kTooLarge, kOverflow,
  kNoRoute, kNoHealthyUpstream, kDraining, kCancelled,
};
enum class Origin : uint8_t { kLocal, kDownstream, kUpstream };   // whose fault
// May the pump try again? kIfReused: only when the connection had served before, i.e. it may have died while idle.
enum class Retry : uint8_t { kNever, kIfReused, kAlways };

// A failure as codes: what, whose fault, may it be tried again. Eight bytes, copied freely; words for users come from `detail`.
struct Error {
  Code code = Code::kInternal;
  Origin origin = Origin::kLocal;
  Retry retry = Retry::kNever;
  uint8_t unused = 0;
  Detail detail = Detail::kNone;
  uint16_t sys = 0;   // errno or TLS alert, 0 when there is none
  friend bool operator==(const Error&, const Error&) = default;
};
static_assert(sizeof(Error) == 8 && std::is_trivially_copyable_v<Error>);

template <class T = void>
using Result = std::expected<T, Error>;

}  // namespace base

using base::Error;    // the only two names lifted out of a room
using base::Result;
