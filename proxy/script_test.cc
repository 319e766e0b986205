#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <sstream>

#include "proxy/pump_script.h"

namespace proxy::in_memory {
namespace {

// The corpus of pump_fuzz: our own cases, and whatever the fuzzer found once.
TEST(Script, EveryProgramOfTheCorpus_KeepsTheInvariants) {
  size_t count = 0;
  for (const auto& file : std::filesystem::directory_iterator(SLUICE_SOURCE_DIR "/proxy/testdata/fuzz/pump_fuzz")) {
    std::ifstream in(file.path(), std::ios::binary);
    std::stringstream text;
    text << in.rdbuf();
    EXPECT_EQ(Script::run(text.str()), "") << file.path().filename();
    ++count;
  }
  EXPECT_GT(count, 30u);
}

}  // namespace
}  // namespace proxy::in_memory
