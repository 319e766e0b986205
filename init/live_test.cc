#include "init/live.h"

#include <gtest/gtest.h>

namespace init {
namespace {

constexpr std::string_view kFour =
    "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
    "   0: 00000000:3A9E 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1337        0 1 1 0 100 0 0 10 0\n"
    "   1: 0A4DF40A:3A9E 0B4DF40A:C350 01 00000000:00000000 00:00000000 00000000  1337        0 2 1 0 20 4 30 10 -1\n"
    "   2: 0A4DF40A:C351 0B4DF40A:2378 06 00000000:00000000 03:00000000 00000000     0        0 0 3 0\n"
    "   3: 0100007F:C352 0600007F:2378 01 00000000:00000000 00:00000000 00000000  1000        0 3 1 0 20 4 30 10 -1\n"
    "   4: 0A4DF40A:C353 0B4DF40A:2378 02 00000000:00000000 00:00000000 00000000  1000        0 4 1 0 20 4 30 10 -1\n";

TEST(Connections, ListeningOnesAreNoneAndEndedOnesAsWanted) {
  const auto live = tcp_connections(kFour, Ended::kLeftOut);
  EXPECT_EQ(live, (std::set<std::string>{"0A4DF40A:3A9E 0B4DF40A:C350", "0100007F:C352 0600007F:2378", "0A4DF40A:C353 0B4DF40A:2378"}));
  const uint16_t ports[] = {15001, 15006};
  EXPECT_EQ(with_own_port(live, ports), std::set<std::string>{"0A4DF40A:3A9E 0B4DF40A:C350"});
  EXPECT_EQ(tcp_connections(kFour, Ended::kCounted).size(), live.size() + 1);
  EXPECT_TRUE(tcp_connections("", Ended::kCounted).empty());
  EXPECT_TRUE(tcp_connections("x", Ended::kCounted).empty());
}

}  // namespace
}  // namespace init
