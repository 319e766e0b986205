// Any bytes as answers of an upstream. The first byte chooses what was asked. The outcome must not depend on how the bytes are
// cut, and a message that was not whole is never reported as whole.

#include <cstdio>
#include <cstdlib>

#include "http/testing.h"

namespace {

using namespace http;

void must(bool condition, const char* what) {
  if (condition) return;
  std::fprintf(stderr, "violated: %s\n", what);
  std::abort();
}

testing::Outcome answer(std::string_view input, const testing::Ask& ask, size_t max_read) {
  testing::ClientPipe pipe({.capacity = 1 << 20, .max_read = max_read});
  testing::Outcome& out = pipe.ask(ask);
  pipe.answer(std::string(input));
  pipe.end();
  must(out.done, "the exchange hangs");
  return out;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0 || size > 8192) return 0;
  const std::string_view input(reinterpret_cast<const char*>(data) + 1, size - 1);
  testing::Ask ask;
  if (data[0] & 1)
    ask.method = "HEAD";
  else if (data[0] & 2)
    ask.upgrade = "websocket";
  if (data[0] & 4) ask.fields = {{"expect", "100-continue"}};
  const auto whole = answer(input, ask, 1 << 20), bytewise = answer(input, ask, 1);
  must(whole.status == bytewise.status && whole.fields == bytewise.fields && whole.upgrade == bytewise.upgrade, "head depends on cutting");
  must(whole.interims == bytewise.interims && whole.error == bytewise.error && whole.body_error == bytewise.body_error,
       "outcome depends on cutting");
  must(whole.trailers == bytewise.trailers, "trailers depend on cutting");
  if (whole.body_error == Error{}) must(whole.body == bytewise.body, "body depends on cutting");
  must(!whole.again || (whole.error == Error{} && whole.body_error == Error{}), "a broken exchange keeps its connection");
  return 0;
}
