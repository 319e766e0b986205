#include "http/h2_session.h"

namespace http {

using namespace std::chrono_literals;

// RFC 9113 §3.4: the server's first frame is SETTINGS. §6.8: GOAWAY, last stream 0, error HTTP_1_1_REQUIRED (0xd).
constexpr std::string_view kRefusal{"\0\0\0\4\0\0\0\0\0"
                                    "\0\0\10\7\0\0\0\0\0\0\0\0\0\0\0\0\15", 26};

net::Task<> refuse_h2(net::Stream& stream) {
  const auto written = co_await stream.write(net::Borrowed::of_static(kRefusal));
  if (!written) co_return;
  co_await net::lingering_close(stream, 64 * 1024, 5s);
}

}  // namespace http
