#pragma once

// Whether this build looks for late use of borrowed bytes (debug and sanitizer builds), and whether frames and blocks come
// from plain malloc so that a sanitizer sees each one's end of life.
namespace net {
#ifndef __has_feature
#define __has_feature(x) 0
#endif
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) || defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
inline constexpr bool kSanitized = true;
#else
inline constexpr bool kSanitized = false;
#endif
#ifdef NDEBUG
inline constexpr bool kChecked = kSanitized;
#else
inline constexpr bool kChecked = true;
#endif
}  // namespace net
