#include "net/pipe.h"

#include <gtest/gtest.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include <cerrno>
#include <csignal>
#include <cstddef>
#include <iterator>
#include <string>
#include <thread>

#include "net/socket_testing.h"
#include "net/stream.h"
#include "net/worker.h"

namespace net {
namespace {

using testing::Reading;
using testing::TcpPair;
using testing::Writing;

std::string numbers(size_t n) {
  std::string text;
  text.reserve(n + 16);
  for (unsigned i = 0; text.size() < n; ++i) text += std::to_string(i) + ' ';
  text.resize(n);
  return text;
}

struct Relayed {
  uint64_t bytes = 0;
  bool end = false, broke = false;
};

// What the pumps do with bulk.
Task<> relay(Stream& from, Stream& to, Relayed& relayed) {
  PipeLoan pipe = from.worker().lend_pipe();
  while (pipe) {
    const auto got = co_await from.read_into(*pipe, pipe->capacity());
    if (!got) break;
    if (pipe->held() == 0) {
      to.shutdown_write();
      relayed.end = true;
      co_return;
    }
    relayed.bytes += pipe->held();
    if (!co_await to.write_from(*pipe)) break;
  }
  relayed.broke = true;
  from.reset();
  if (!to.cancelled()) to.reset();
}

class PipeRelay : public ::testing::Test {
 protected:
  PipeRelay() : client(worker), server(worker) { std::signal(SIGPIPE, SIG_IGN); }   // as every program of ours does
  Worker worker{{}};
  // Twenty megabytes are more than the kernel's buffers take: with nobody reading, the relay stands still.
  void begin() {
    worker.spawn(relay(*client.accepted, *server.connected, relayed));
    worker.spawn(testing::write_text(*client.connected, text, writing, true));
  }
  const std::string text = numbers(20'000'000);
  Reading reading;
  Writing writing;
  Relayed relayed;
  TcpPair client, server;                              // client.connected → [client.accepted → server.connected] → server.accepted
};

TEST_F(PipeRelay, EveryByteArrives_ThenTheEnd) {
  begin();
  worker.spawn(testing::read_all(*server.accepted, reading));
  testing::run_to_the_end(worker);
  EXPECT_TRUE(relayed.end);
  EXPECT_EQ(relayed.bytes, text.size());
  EXPECT_TRUE(reading.end && reading.bytes == text);
  EXPECT_EQ(worker.block_bytes(), 0u) << "bytes passed through the process";
}

TEST_F(PipeRelay, ReaderThatStartsLate_GetsEverything) {
  begin();
  worker.poll();
  ASSERT_FALSE(relayed.end) << "twenty megabytes fit into the kernel's buffers: nothing is tested";
  worker.spawn(testing::read_all(*server.accepted, reading));
  testing::run_to_the_end(worker);
  EXPECT_TRUE(reading.end && reading.bytes == text);
}

TEST_F(PipeRelay, ReaderThatResets_EndsIt) {
  begin();
  worker.poll();
  server.accepted->reset();
  testing::run_to_the_end(worker);
  EXPECT_TRUE(relayed.broke);
  EXPECT_FALSE(writing.end);
}

// What stood in the pipe is lost, so the reader must not take what it got for all.
TEST_F(PipeRelay, CancelledWithBytesInThePipe_LooksBrokenToTheReader) {
  begin();
  worker.poll();
  ASSERT_FALSE(relayed.end || relayed.broke);
  server.connected->cancel({.code = base::Code::kCancelled});
  worker.poll();
  EXPECT_TRUE(relayed.broke);
  server.connected.reset();
  worker.spawn(testing::read_all(*server.accepted, reading));
  testing::run_to_the_end(worker);
  EXPECT_TRUE(reading.over);
  EXPECT_FALSE(reading.end);
}

// splice stops at the mark and later takes it for the end; what was sent outside of the band is nobody's here, as in Envoy.
TEST_F(PipeRelay, UrgentData_IsPassedOver) {
  worker.spawn(relay(*client.accepted, *server.connected, relayed));
  worker.spawn(testing::read_all(*server.accepted, reading));
  worker.poll();
  const int fd = client.connected->raw_fd();
  ASSERT_EQ(::send(fd, "before ", 7, 0), 7);
  ASSERT_EQ(::send(fd, "!", 1, MSG_OOB), 1);
  ASSERT_EQ(::send(fd, "behind", 6, 0), 6);
  client.connected->shutdown_write();
  testing::run_to_the_end(worker);
  EXPECT_TRUE(relayed.end && reading.end);
  EXPECT_EQ(reading.bytes, "before behind");
}

TEST_F(PipeRelay, WriterThatResets_EndsIt) {
  worker.spawn(relay(*client.accepted, *server.connected, relayed));
  worker.spawn(testing::read_all(*server.accepted, reading));
  worker.spawn(testing::write_text(*client.connected, numbers(1'000), writing));
  worker.poll();
  client.connected->reset();
  testing::run_to_the_end(worker);
  EXPECT_TRUE(relayed.broke);
  EXPECT_FALSE(reading.end);
}

TEST(PipePool, LendsFew_AndKeepsThem) {
  Worker worker({});
  std::vector<PipeLoan> loans;
  for (int i = 0; i < 200; ++i) {
    PipeLoan loan = worker.lend_pipe();
    if (!loan) break;
    EXPECT_GE(loan->capacity(), size_t{64} << 10);
    loans.push_back(std::move(loan));
  }
  EXPECT_GE(loans.size(), 1u);
  EXPECT_LT(loans.size(), 200u);
  loans.clear();
  EXPECT_TRUE(worker.lend_pipe());
}

// From here on the kernel refuses splice(2) to this thread, as a container's seccomp profile may. It cannot be taken back.
bool forbid_splice(uint16_t error) {
  sock_filter filter[] = {BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)), BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_splice, 0, 1),
                          BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | error), BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)};
  const sock_fprog program{.len = std::size(filter), .filter = filter};
  return ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 && ::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
}

TEST(PipePool, SpliceIsRefused_LendsNothing) {
  for (const int error : {EPERM, ENOSYS}) {
    bool forbidden = false, lent = true;
    std::thread thread([&] {
      forbidden = forbid_splice(static_cast<uint16_t>(error));
      Worker worker({});
      lent = static_cast<bool>(worker.lend_pipe());
    });
    thread.join();
    ASSERT_TRUE(forbidden);
    EXPECT_FALSE(lent) << "whoever has a pipe splices, and the connection breaks";
  }
}

}  // namespace
}  // namespace net
