#include "proxy/canary.h"

#include <gtest/gtest.h>

#include "net/mem_stream.h"

namespace proxy {
namespace {

bool is_canary_from(const char* peer, const char* dst, bool redirected) {
  net::Worker worker({});
  net::MemPipe pipe;
  pipe.b_address = *base::SocketAddress::parse(peer);
  pipe.original_dst = {*base::SocketAddress::parse(dst), redirected};
  const auto [ours, theirs] = net::mem_pipe(worker, pipe);
  return is_canary(*ours);
}

TEST(Canary, OnlyOurOwnRedirectedConnectionToTheProbeAddress) {
  EXPECT_TRUE(is_canary_from("127.0.0.1:40000", "127.0.0.6:15002", true));
  EXPECT_FALSE(is_canary_from("127.0.0.1:40000", "127.0.0.6:15002", false));   // dialled the inbound port itself
  EXPECT_FALSE(is_canary_from("127.0.0.1:40000", "127.0.0.6:15003", true));
  EXPECT_FALSE(is_canary_from("127.0.0.1:40000", "10.0.0.1:15002", true));
  EXPECT_FALSE(is_canary_from("10.0.0.9:40000", "127.0.0.6:15002", true));     // nobody else may count as one
  EXPECT_TRUE(is_canary_from("[fd00::5]:40000", "[fd00::5]:15002", true));
  EXPECT_FALSE(is_canary_from("[fd00::5]:40000", "[fd00::5]:15002", false));
  EXPECT_FALSE(is_canary_from("[fd00::5]:40000", "[fd00::5]:15003", true));
  EXPECT_FALSE(is_canary_from("[fd00::6]:40000", "[fd00::5]:15002", true));
  EXPECT_FALSE(is_canary_from("10.0.0.1:40000", "10.0.0.1:15002", true));      // IPv4 has the probe address
}

}  // namespace
}  // namespace proxy
