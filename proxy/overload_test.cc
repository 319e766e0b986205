#include "proxy/overload.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

namespace proxy {
namespace {

class Memory : public testing::Test {
 protected:
  bool at(uint64_t used) {
    use_ = MemoryUse{used, 1'000'000};
    return overload_.look();
  }
  uint64_t value(const char* name) { return shard_.gauge(name).value(); }
  stats::Registry registry_;
  stats::Shard& shard_ = registry_.make_shard();
  std::optional<MemoryUse> use_;
  Overload overload_{[this] { return use_; }, shard_};
};

TEST_F(Memory, ShedsFrom90Percent_UntilBelow85) {
  EXPECT_FALSE(at(100'000));
  EXPECT_FALSE(at(899'999));
  EXPECT_TRUE(at(900'000));
  EXPECT_EQ(value("sluice_overload_active"), 1u);
  EXPECT_EQ(value("sluice_memory_used_bytes"), 900'000u);
  EXPECT_EQ(value("sluice_memory_limit_bytes"), 1'000'000u);
  EXPECT_TRUE(at(870'000)) << "no flapping at the edge";
  EXPECT_TRUE(at(850'000));
  EXPECT_FALSE(at(849'999));
  EXPECT_EQ(value("sluice_overload_active"), 0u);
  EXPECT_FALSE(at(880'000));
  EXPECT_TRUE(at(2'000'000));
  EXPECT_EQ(shard_.counter("sluice_overload_total").value(), 2u);
}

TEST_F(Memory, ReadingThatFails_KeepsTheDecision) {
  use_ = {};
  EXPECT_FALSE(overload_.look());
  EXPECT_TRUE(at(950'000));
  use_ = {};
  EXPECT_TRUE(overload_.look());
}

// The files of control groups below a folder of the test.
class Cgroup : public testing::Test {
 protected:
  Cgroup() {
    char name[] = "/tmp/sluice-cgroup-XXXXXX";
    root_ = mkdtemp(name);
  }
  ~Cgroup() override { std::filesystem::remove_all(root_); }
  void write(const std::string& path, const std::string& text) {
    std::filesystem::create_directories((root_ + "/" + path).substr(0, (root_ + "/" + path).rfind('/')));
    std::ofstream(root_ + "/" + path) << text;
  }
  void group(const std::string& folder, const std::string& used, const std::string& limit, const std::string& inactive) {
    write(folder + "/memory.current", used + "\n");
    write(folder + "/memory.max", limit + "\n");
    write(folder + "/memory.stat", "anon 1\nfile 2\ninactive_file " + inactive + "\n");
  }
  CgroupMemory memory() const { return CgroupMemory(root_, root_ + "/self"); }
  std::string root_;
};

TEST_F(Cgroup, V2_UseWithoutWhatTheKernelWouldDropFirst) {
  write("self", "0::/\n");
  group("", "700", "1000", "100");
  const auto use = memory().read();
  ASSERT_TRUE(use);
  EXPECT_EQ(use->used, 600u);
  EXPECT_EQ(use->limit, 1000u);
}

TEST_F(Cgroup, V2_LimitOfAParentCounts_NearestToItsLimitFirst) {
  write("self", "0::/pods/mine/proxy\n");
  group("pods/mine/proxy", "100", "max", "0");
  group("pods/mine", "800", "1000", "0");
  group("pods", "1000", "8000", "0");
  const auto use = memory().read();
  ASSERT_TRUE(use);
  EXPECT_EQ(use->used, 800u);
  group("pods", "7900", "8000", "0");
  EXPECT_EQ(memory().read()->limit, 8000u);
}

TEST_F(Cgroup, LimitChangedUnderUs_IsSeenAtTheNextReading) {
  write("self", "0::/a\n");
  group("a", "800", "1000", "0");
  const CgroupMemory memory(root_, root_ + "/self");
  EXPECT_EQ(memory.read()->limit, 1000u);
  group("a", "800", "4000", "0");
  EXPECT_EQ(memory.read()->limit, 4000u);
  group("a", "800", "max", "0");
  EXPECT_FALSE(memory.read());
}

TEST_F(Cgroup, V1_PathOfTheHost_FallsBackToTheMount) {
  write("self", "5:devices:/x\n4:memory,hugetlb:/kubepods/pod7/c1\n1:name=systemd:/\n0::/\n");
  write("memory/memory.usage_in_bytes", "500\n");
  write("memory/memory.limit_in_bytes", "1000\n");
  write("memory/memory.stat", "inactive_file 1\ntotal_inactive_file 200\n");
  const auto use = memory().read();
  ASSERT_TRUE(use);
  EXPECT_EQ(use->used, 300u);
}

TEST_F(Cgroup, V1_NoLimit_IsNoReading) {
  write("self", "4:memory:/\n");
  write("memory/memory.usage_in_bytes", "500\n");
  write("memory/memory.limit_in_bytes", "9223372036854771712\n");
  EXPECT_FALSE(memory().read());
}

TEST_F(Cgroup, NothingThere_IsNoReading) {
  EXPECT_FALSE(memory().read());
  write("self", "garbage\n::\n4:memory\n");
  EXPECT_FALSE(memory().read());
}

}  // namespace
}  // namespace proxy
