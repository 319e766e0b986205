#include <gtest/gtest.h>

#include <dirent.h>

#include <memory>
#include <random>
#include <string>
#include <vector>

#include "net/mem_stream.h"
#include "net/socket_testing.h"
#include "net/worker.h"

// Random ends of random streams at random moments. Nothing here checks what arrives: the sanitizers look for late use, and
// the test for tasks, blocks or descriptors that are left.
namespace net {
namespace {

using namespace std::chrono_literals;
using Random = std::mt19937;

size_t open_descriptors() {
  size_t count = 0;
  DIR* const listing = ::opendir("/proc/self/fd");
  while (::readdir(listing)) ++count;
  ::closedir(listing);
  return count;
}

Task<> read_some(Stream& stream, Random& random) {
  for (int left = random() % 200; left > 0; --left) {
    auto piece = co_await stream.read();
    if (!piece || piece->empty()) break;
    if (random() % 16 == 0) stream.unread(piece->bytes().first(piece->size() / 2));
  }
}

Task<> write_some(Worker& worker, Stream& stream, const std::string& text, Random& random) {
  for (int left = random() % 100; left > 0; --left) {
    const auto written = co_await stream.write(Borrowed::of_static(std::string_view(text).substr(0, random() % text.size())));
    if (!written) break;
    if (random() % 8 == 0) (void)co_await sleep(worker, std::chrono::milliseconds(random() % 3));
  }
}

// Begins operations as a state machine does, and drops them while they wait.
struct Fickle {
  explicit Fickle(Stream& stream) : read(stream.read()) { read.waiter = Waiter::to<&Fickle::told>(*this); }
  void told() {}
  ReadOp read;
};

Task<> watch_a_while(Worker& worker, Stream& stream, Random& random) {
  Sleep pause(worker, std::chrono::milliseconds(random() % 4));
  CloseWatch watch(stream, pause, {.code = base::Code::kEof}, std::chrono::milliseconds(random() % 2), random() % 2 == 0);
  (void)co_await pause;
}

Task<> end_somehow(Worker& worker, Stream& stream, Random& random) {
  (void)co_await sleep(worker, std::chrono::milliseconds(random() % 6));
  switch (random() % 4) {
    case 0: stream.reset(); break;
    case 1: stream.shutdown_write(); break;
    default: break;
  }
  (void)co_await sleep(worker, std::chrono::milliseconds(random() % 3));
  stream.cancel({.code = base::Code::kCancelled});       // in the end always: nobody may wait for ever
}

Task<> read_and_write(Worker& worker, Stream& stream, const std::string& text, Random& random) {
  Both directions = both(read_some(stream, random), write_some(worker, stream, text, random));
  co_await directions;
}

// One end of a stream from its first to its last moment.
Task<> live(Worker& worker, std::unique_ptr<Stream> stream, const std::string& text, Random& random) {
  if (random() % 4 == 0) {
    Fickle fickle(*stream);
    (void)fickle.read.start();
    if (random() % 2) (void)co_await sleep(worker, 1ms);
  }
  if (random() % 4 == 0) co_await watch_a_while(worker, *stream, random);
  if (random() % 8 == 0) co_return;
  Both work_and_end = both(read_and_write(worker, *stream, text, random), end_somehow(worker, *stream, random));
  co_await work_and_end;
}

struct Chaos {
  explicit Chaos(unsigned seed) : random(seed), text(40'000, 'x') {}
  Worker worker{{}};
  Random random;
  const std::string text;
};

Task<> serve(Worker& worker, std::unique_ptr<Stream> stream, void* context) {
  auto& chaos = *static_cast<Chaos*>(context);
  co_await live(worker, std::move(stream), chaos.text, chaos.random);
}

Task<> dial(Chaos& chaos, base::SocketAddress to) {
  Connector connector(chaos.worker, {.to = to, .within = std::chrono::milliseconds(1 + chaos.random() % 100)});
  if (chaos.random() % 8 == 0) connector.cancel({.code = base::Code::kCancelled});
  auto stream = co_await connector;
  if (!stream) co_return;
  co_await live(chaos.worker, std::move(*stream), chaos.text, chaos.random);
}

TEST(StreamChaos, RandomEnds_LeaveNothingBehind) {
  const size_t before = open_descriptors();
  for (unsigned seed = 0; seed < 30; ++seed) {
    {
      Chaos chaos(seed);
      Worker* const workers[] = {&chaos.worker};
      auto listener = Listener::open(workers, testing::loopback(), &serve, &chaos, {.max_connections = 8});
      ASSERT_TRUE(listener);
      (*listener)->start();
      for (int i = 0; i < 12; ++i) {
        chaos.worker.spawn(dial(chaos, (*listener)->address()));
        auto sockets = testing::socket_pair(chaos.worker);
        chaos.worker.spawn(live(chaos.worker, std::move(sockets.first), chaos.text, chaos.random));
        chaos.worker.spawn(live(chaos.worker, std::move(sockets.second), chaos.text, chaos.random));
        auto memory = mem_pipe(chaos.worker, {.capacity = 1 + chaos.random() % 50'000, .max_read = 1 + chaos.random() % 9'000});
        chaos.worker.spawn(live(chaos.worker, std::move(memory.first), chaos.text, chaos.random));
        chaos.worker.spawn(live(chaos.worker, std::move(memory.second), chaos.text, chaos.random));
      }
      testing::run_to_the_end(chaos.worker);
      (*listener)->close();
      testing::run_to_the_end(chaos.worker);
      EXPECT_EQ(chaos.worker.tasks(), 0u) << seed;
      EXPECT_EQ(chaos.worker.block_bytes(), 0u) << seed;
      EXPECT_EQ(chaos.worker.load(), 0u) << seed;
    }
    EXPECT_EQ(open_descriptors(), before) << seed;
  }
}

}  // namespace
}  // namespace net
