#include "net/sha256.h"

#include <gtest/gtest.h>

namespace net {
namespace {

// The examples of FIPS 180-4's test vectors.
TEST(Sha256, KnownAnswers) {
  EXPECT_EQ(Sha256().hex(), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  Sha256 abc;
  abc.add("abc");
  EXPECT_EQ(abc.hex(), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

TEST(Sha256, PiecesCountAsOne) {
  Sha256 whole, pieces;
  whole.add(std::string(1'000, 'a'));
  for (int i = 0; i < 100; ++i) pieces.add(std::string(10, 'a'));
  pieces.add("");
  EXPECT_EQ(whole.hex(), pieces.hex());
}

}  // namespace
}  // namespace net
