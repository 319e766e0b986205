#include "http/encode.h"

#include <string>

#include <gtest/gtest.h>

namespace http {
namespace {

// Every length takes its own way through the moves, and none may touch a byte behind the text.
TEST(Copy, EveryLength_IsCopiedWhole_AndNothingElse) {
  std::string from(80, ' ');
  for (size_t i = 0; i < from.size(); ++i) from[i] = static_cast<char>('!' + i % 90);
  for (size_t size = 0; size <= 70; ++size) {
    std::string to(80, '#');
    EXPECT_EQ(copy(to.data(), std::string_view(from).substr(3, size)), to.data() + size);
    EXPECT_EQ(to, from.substr(3, size) + std::string(80 - size, '#')) << size;
  }
}

}  // namespace
}  // namespace http
