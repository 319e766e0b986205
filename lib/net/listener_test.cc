#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <thread>
#include <vector>

#include "log/log.h"
#include "net/socket_testing.h"
#include "net/worker.h"

namespace net {
namespace {

using namespace std::chrono_literals;
using testing::loopback;

struct Attempt {
  Result<std::unique_ptr<Stream>> result;
  bool over = false;
};
Task<> attempt(Connector& connector, Attempt& into) {
  into.result = co_await connector;
  into.over = true;
}

// A listening socket whose queue is full drops what knocks: connecting neither succeeds nor fails.
class FullListener {
 public:
  FullListener() : listener_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    socklen_t length = sizeof name_;
    name_.sin_family = AF_INET;
    name_.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    EXPECT_EQ(::bind(listener_, address(), sizeof name_), 0);
    EXPECT_EQ(::listen(listener_, 0), 0);
    EXPECT_EQ(::getsockname(listener_, address(), &length), 0);
    for (int& fd : fillers_) {
      fd = ::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
      (void)::connect(fd, address(), sizeof name_);
    }
  }
  ~FullListener() {
    for (const int fd : fillers_) ::close(fd);
    ::close(listener_);
  }
  base::SocketAddress at() const { return {base::Ip::loopback(true), ntohs(name_.sin_port)}; }

 private:
  sockaddr* address() { return reinterpret_cast<sockaddr*>(&name_); }
  sockaddr_in name_{};
  int listener_;
  std::array<int, 3> fillers_{};
};

uint16_t closed_port() {
  Worker worker({.manual_clock = true});
  Worker* const workers[] = {&worker};
  auto listener = Listener::open(workers, loopback(), nullptr, nullptr, {});
  return (*listener)->address().port;
}

TEST(Connector, NobodyListens_IsRefusedWithEverythingARetryNeeds) {
  Worker worker({});
  Connector connector(worker, {.to = {base::Ip::loopback(true), closed_port()}});
  Attempt outcome;
  worker.spawn(attempt(connector, outcome));
  testing::run_to_the_end(worker);
  ASSERT_FALSE(outcome.result);
  const Error expected{.code = base::Code::kConnect, .origin = base::Origin::kUpstream, .retry = base::Retry::kAlways,
                       .detail = base::Detail::kUpstreamConnectFailure, .sys = ECONNREFUSED};
  EXPECT_EQ(outcome.result.error(), expected);
}

struct Dialling {
  Dialling(Worker& worker, const ConnectTo& to) : connector(worker, to) { connector.waiter = Waiter::to<&Dialling::told>(*this); }
  void told() { ++times; }
  Connector connector;
  int times = 0;
};

TEST(Connector, EndsOnce_TheDeadlineOfAFailedAttemptIsOver) {
  Worker worker({.manual_clock = true});
  Dialling dialling(worker, {.to = {base::Ip::loopback(true), closed_port()}, .within = 50ms});
  if (!dialling.connector.start()) {
    while (dialling.times == 0) worker.poll();
    worker.advance(1s);
    dialling.connector.cancel({.code = base::Code::kCancelled});
    worker.poll();
    EXPECT_EQ(dialling.times, 1);
  }
  const auto result = dialling.connector.take();
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().sys, ECONNREFUSED);
}

TEST(Connector, NoAnswer_TimesOutOnItsMillisecond) {
  const FullListener full;
  Worker worker({.manual_clock = true});
  Connector connector(worker, {.to = full.at(), .within = 50ms});
  Attempt outcome;
  worker.spawn(attempt(connector, outcome));
  worker.advance(49ms);
  EXPECT_FALSE(outcome.over);
  worker.advance(1ms);
  ASSERT_TRUE(outcome.over && !outcome.result);
  EXPECT_EQ(outcome.result.error().code, base::Code::kTimeout);
  EXPECT_EQ(outcome.result.error().detail, base::Detail::kUpstreamConnectTimeout);
  EXPECT_EQ(outcome.result.error().retry, base::Retry::kAlways);
}

TEST(Connector, Cancelled_EndsWithTheReasonBeforeAndDuringTheWait) {
  const FullListener full;
  for (const bool before : {true, false}) {
    Worker worker({.manual_clock = true});
    Connector connector(worker, {.to = full.at()});
    Attempt outcome;
    if (before) connector.cancel({.code = base::Code::kDraining});
    worker.spawn(attempt(connector, outcome));
    worker.poll();
    connector.cancel({.code = base::Code::kDraining});
    worker.poll();
    ASSERT_TRUE(outcome.over && !outcome.result);
    EXPECT_EQ(outcome.result.error().code, base::Code::kDraining);
  }
}

TEST(Connector, DestroyedWhileItWaits_NobodyIsTold) {
  const FullListener full;
  Worker worker({.manual_clock = true});
  {
    Connector connector(worker, {.to = full.at()});
    EXPECT_FALSE(connector.start());
  }
  worker.advance(1min);
}

TEST(Connector, FromTheInboundAddress_ThePeerSeesIt) {
  Worker worker({});
  testing::TcpPair pair(worker);
  pair.accepted.reset();
  Connector connector(worker, {.to = pair.listener->address(), .from_inbound_address = true});
  Attempt outcome;
  worker.spawn(attempt(connector, outcome));
  testing::run_to_the_end(worker);
  ASSERT_TRUE(outcome.result);
  EXPECT_EQ((*outcome.result)->local().ip, *base::Ip::parse("127.0.0.6"));
}

struct Served {
  std::array<std::atomic<int>, 2> on_worker{};
  std::atomic<int> open{0};
};

Task<> count_and_wait_for_the_end(Worker& worker, std::unique_ptr<Stream> stream, void* context) {
  auto& served = *static_cast<Served*>(context);
  ++served.on_worker[worker.index()];
  ++served.open;
  for (;;) {
    auto piece = co_await stream->read();
    if (!piece || piece->empty()) break;
  }
  stream.reset();
  --served.open;
}

Task<> connect_all(Worker& worker, base::SocketAddress to, int count, std::vector<std::unique_ptr<Stream>>& into) {
  for (int i = 0; i < count; ++i) {
    Connector connector(worker, {.to = to});
    auto stream = co_await connector;
    EXPECT_TRUE(stream);
    if (stream) into.push_back(std::move(*stream));
  }
}

// Two workers on threads of their own; clients on the test's. Ends when every served connection has ended.
struct TwoWorkers {
  TwoWorkers() {
    for (Worker* worker : all) threads.emplace_back([worker] { worker->run(); });
  }
  ~TwoWorkers() {
    for (Worker* worker : all) {
      worker->post([worker] { worker->when_idle([worker] { worker->stop(); }); });
    }
    for (auto& thread : threads) thread.join();
  }
  template <class Condition> void wait_until(Condition condition) {
    while (!condition()) std::this_thread::yield();
  }
  Worker first{{.index = 0}}, second{{.index = 1}};
  std::array<Worker*, 2> all{&first, &second};
  std::vector<std::thread> threads;
};

TEST(Listener, LongConnections_AreSharedEvenly_AndTheirLoadEndsWithThem) {
  Served served;
  std::unique_ptr<Listener> listener;
  {
    TwoWorkers workers;
    Worker clients({});
    auto opened = Listener::open(workers.all, loopback(), &count_and_wait_for_the_end, &served, {});
    ASSERT_TRUE(opened);
    listener = std::move(*opened);
    listener->start();
    std::vector<std::unique_ptr<Stream>> streams;
    clients.spawn(connect_all(clients, listener->address(), 40, streams));
    testing::run_to_the_end(clients);
    workers.wait_until([&] { return served.open == 40; });
    EXPECT_EQ(served.on_worker[0], 20);
    EXPECT_EQ(served.on_worker[1], 20);
    EXPECT_EQ(workers.first.load(), 20u);
    EXPECT_EQ(workers.second.load(), 20u);
    EXPECT_EQ(listener->connections(), 40u);
    streams.clear();
    workers.wait_until([&] { return listener->connections() == 0; });
    workers.wait_until([&] { return workers.first.load() + workers.second.load() == 0; });
    listener->close();
  }
}

TEST(Listener, MaxConnections_PausesUntilOneEnds) {
  Served served;
  Worker worker({});
  Worker* const workers[] = {&worker};
  auto listener = Listener::open(workers, loopback(), &count_and_wait_for_the_end, &served, {.max_connections = 2});
  ASSERT_TRUE(listener);
  (*listener)->start();
  std::vector<std::unique_ptr<Stream>> streams;
  worker.spawn(connect_all(worker, (*listener)->address(), 4, streams));
  while (streams.size() < 4) worker.poll();               // the kernel's queue takes what we do not
  worker.poll();
  EXPECT_EQ(served.open, 2);
  EXPECT_EQ((*listener)->connections(), 2u);
  streams.erase(streams.begin());
  while (served.on_worker[0] < 3) worker.poll();
  EXPECT_LE(served.open, 2);
  streams.clear();
  while (served.on_worker[0] < 4) worker.poll();
  testing::run_to_the_end(worker);
  EXPECT_EQ((*listener)->connections(), 0u);
}

TEST(Listener, Close_TakesWhatIsQueuedFirst) {
  Served served;
  Worker worker({});
  Worker* const workers[] = {&worker};
  auto listener = Listener::open(workers, loopback(), &count_and_wait_for_the_end, &served, {});
  ASSERT_TRUE(listener);
  const base::SocketAddress at = (*listener)->address();
  std::vector<std::unique_ptr<Stream>> streams;
  worker.spawn(connect_all(worker, at, 100, streams));
  testing::run_to_the_end(worker);
  EXPECT_EQ(served.open, 0) << "accepting begins with start()";
  (*listener)->start();
  (*listener)->close();
  worker.poll();
  EXPECT_EQ(served.on_worker[0], 100);
  Connector late(worker, {.to = at});
  Attempt outcome;
  worker.spawn(attempt(late, outcome));
  while (!outcome.over) worker.poll();
  EXPECT_FALSE(outcome.result);
  streams.clear();
  testing::run_to_the_end(worker);
  EXPECT_EQ((*listener)->connections(), 0u);
}

TEST(Listener, ConnectionsOutliveTheirListener) {
  Served served;
  Worker worker({});
  Worker* const workers[] = {&worker};
  auto listener = Listener::open(workers, loopback(), &count_and_wait_for_the_end, &served, {.max_connections = 1});
  ASSERT_TRUE(listener);
  (*listener)->start();
  std::vector<std::unique_ptr<Stream>> streams;
  worker.spawn(connect_all(worker, (*listener)->address(), 1, streams));
  while (served.open == 0) worker.poll();
  listener->reset();
  streams.clear();
  testing::run_to_the_end(worker);
  EXPECT_EQ(served.open, 0);
  EXPECT_EQ(worker.load(), 0u);
}

TEST(Listener, AddressInUse_SaysSo_AndV6WildcardTakesBothFamilies) {
  Served served;
  Worker worker({});
  Worker* const workers[] = {&worker};
  auto listener = Listener::open(workers, {.ip = base::Ip::any(false)}, &count_and_wait_for_the_end, &served, {});
  ASSERT_TRUE(listener);
  const uint16_t port = (*listener)->address().port;
  const auto second = Listener::open(workers, {base::Ip::any(false), port}, &count_and_wait_for_the_end, &served, {});
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().sys, EADDRINUSE);
  (*listener)->start();
  std::vector<std::unique_ptr<Stream>> streams;
  worker.spawn(connect_all(worker, {base::Ip::loopback(true), port}, 1, streams));
  worker.spawn(connect_all(worker, {base::Ip::loopback(false), port}, 1, streams));
  while (served.open < 2) worker.poll();
  streams.clear();
  testing::run_to_the_end(worker);
}

// Takes every descriptor the process may have, but a few.
class FewDescriptors {
 public:
  explicit FewDescriptors(size_t left) {
    EXPECT_EQ(::getrlimit(RLIMIT_NOFILE, &before_), 0);
    rlimit less = before_;
    less.rlim_cur = std::min<rlim_t>(256, before_.rlim_cur);
    EXPECT_EQ(::setrlimit(RLIMIT_NOFILE, &less), 0);
    for (int fd = ::dup(0); fd >= 0; fd = ::dup(0)) taken_.push_back(fd);
    for (size_t i = 0; i < left && !taken_.empty(); ++i) give_one();
  }
  ~FewDescriptors() {
    while (!taken_.empty()) give_one();
    EXPECT_EQ(::setrlimit(RLIMIT_NOFILE, &before_), 0);
  }
  void give_one() {
    ::close(taken_.back());
    taken_.pop_back();
  }

 private:
  rlimit before_{};
  std::vector<int> taken_;
};

TEST(Listener, OutOfDescriptors_RefusesAtOnceAndGoesOnAfterAPause) {
  // UBSan opens a pipe to look at an object of a class it has not met yet; without descriptors it takes fmt's for a wild one.
  const logs::Level before = logs::level(logs::Component::kNet);
  logs::set_level(logs::Component::kNet, logs::Level::kOff);
  Served served;
  Worker worker({.manual_clock = true});
  Worker* const workers[] = {&worker};
  auto listener = Listener::open(workers, loopback(), &count_and_wait_for_the_end, &served, {});
  ASSERT_TRUE(listener);
  (*listener)->start();
  worker.poll();
  std::vector<std::unique_ptr<Stream>> streams;
  // For the same reason every class that takes part is met once while there are descriptors.
  worker.spawn(connect_all(worker, (*listener)->address(), 1, streams));
  while (streams.empty() || served.open == 0) worker.poll();
  streams.clear();
  while (served.open > 0) worker.poll();
  {
    FewDescriptors few(1);                               // enough for the client's end only
    worker.spawn(connect_all(worker, (*listener)->address(), 1, streams));
    while (streams.empty()) worker.poll();
    testing::Reading reading;
    worker.spawn(testing::read_all(*streams[0], reading));
    while (!reading.over) worker.poll();                 // the other end is closed by hand
    EXPECT_EQ(served.open, 0);
    streams.clear();
    worker.spawn(connect_all(worker, (*listener)->address(), 1, streams));
    while (streams.empty()) worker.poll();
    few.give_one();
    worker.poll();
    EXPECT_EQ(served.open, 0) << "accepting pauses";
    worker.advance(100ms);
    EXPECT_EQ(served.open, 1);
  }
  streams.clear();
  while (worker.tasks() > 0) worker.poll();
  logs::set_level(logs::Component::kNet, before);
}

TEST(Listener, OutOfDescriptors_SpareThatWasLostComesBackFirst) {
  const logs::Level before = logs::level(logs::Component::kNet);
  logs::set_level(logs::Component::kNet, logs::Level::kOff);
  Served served;
  Worker worker({.manual_clock = true});
  Worker* const workers[] = {&worker};
  std::vector<std::unique_ptr<Stream>> streams;
  {   // as above: every class is met once before
    auto first = Listener::open(workers, loopback(), &count_and_wait_for_the_end, &served, {});
    ASSERT_TRUE(first);
    (*first)->start();
    worker.spawn(connect_all(worker, (*first)->address(), 1, streams));
    while (streams.empty() || served.open == 0) worker.poll();
    streams.clear();
    while (served.open > 0) worker.poll();
  }
  {
    FewDescriptors few(1);                               // the listener takes it and has no spare one
    auto listener = Listener::open(workers, loopback(), &count_and_wait_for_the_end, &served, {});
    ASSERT_TRUE(listener);
    (*listener)->start();
    few.give_one();                                      // the client's end
    worker.spawn(connect_all(worker, (*listener)->address(), 1, streams));
    while (streams.empty()) worker.poll();
    testing::Reading reading;
    worker.spawn(testing::read_all(*streams[0], reading));
    worker.poll();
    EXPECT_FALSE(reading.over) << "nothing to refuse it with";
    few.give_one();
    worker.advance(100ms);                               // becomes the spare one, and the client learns that it is not served
    while (!reading.over) worker.poll();
    EXPECT_EQ(served.open, 0);
    streams.clear();
    worker.spawn(connect_all(worker, (*listener)->address(), 1, streams));
    while (streams.empty()) worker.poll();
    few.give_one();
    worker.advance(100ms);
    EXPECT_EQ(served.open, 1);
    streams.clear();
    while (worker.tasks() > 0) worker.poll();
  }
  logs::set_level(logs::Component::kNet, before);
}

TEST(FdLimit, IsRaisedToTheHardOne) {
  rlimit before{};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &before), 0);
  EXPECT_EQ(raise_fd_limit(), before.rlim_max);
  EXPECT_EQ(::setrlimit(RLIMIT_NOFILE, &before), 0);
}

// A relay of many connections through small send buffers: each connection carries its id, and every byte that comes back is
// recomputed from the id. A third of the readers is slow, so that both slabs of each relay fill.
struct RelayLoad {
  static constexpr int kConnections = 60, kBytes = 300'000;
  base::SocketAddress sink;
  std::atomic<int> finished{0};
  std::atomic<long> wrong{0};
};

unsigned char byte_of(uint32_t id, uint32_t at) { return static_cast<unsigned char>((id * 2654435761u + at * 40503u) >> 13); }

void shrink_buffers(Stream& stream) {
  const int size = 8 * 1024;
  ::setsockopt(stream.raw_fd(), SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
}

Task<> copy(Stream& from, Stream& to) {
  for (;;) {
    auto piece = co_await from.read();
    if (!piece || piece->empty()) break;
    const auto written = co_await to.write(std::move(*piece));
    if (!written) break;
  }
  to.shutdown_write();
}

Task<> relay(Worker& worker, std::unique_ptr<Stream> downstream, void* context) {
  auto& load = *static_cast<RelayLoad*>(context);
  Connector connector(worker, {.to = load.sink});
  auto upstream = co_await connector;
  EXPECT_TRUE(upstream);
  if (!upstream) co_return;
  shrink_buffers(*downstream);
  shrink_buffers(**upstream);
  Both directions = both(copy(*downstream, **upstream), copy(**upstream, *downstream));
  co_await directions;
}

Task<> echo_back(Worker&, std::unique_ptr<Stream> stream, void*) {
  shrink_buffers(*stream);
  co_await copy(*stream, *stream);
}

Task<> send_pattern(Stream& stream, uint32_t id) {
  std::vector<unsigned char> piece;
  uint32_t at = 0;
  while (at < RelayLoad::kBytes) {
    piece.resize(std::min<size_t>(1 + (at * 7 + id) % 9'000, RelayLoad::kBytes - at));
    for (size_t i = 0; i < piece.size(); ++i) piece[i] = byte_of(id, at + static_cast<uint32_t>(i));
    at += static_cast<uint32_t>(piece.size());
    const std::string_view text(reinterpret_cast<const char*>(piece.data()), piece.size());
    const auto written = co_await stream.write(Borrowed::of_static(text));
    EXPECT_TRUE(written);
    if (!written) break;
  }
  stream.shutdown_write();
}

Task<> check_pattern(Worker& worker, Stream& stream, uint32_t id, RelayLoad& load) {
  uint32_t at = 0, reads = 0;
  for (;;) {
    if (id % 3 == 0 && ++reads % 8 == 0) (void)co_await sleep(worker, std::chrono::milliseconds(1));
    auto piece = co_await stream.read();
    if (!piece || piece->empty()) break;
    long wrong = 0;
    for (const std::byte b : piece->bytes()) wrong += b != std::byte{byte_of(id, at++)};
    load.wrong += wrong;
  }
  if (at != RelayLoad::kBytes) ++load.wrong;
  ++load.finished;
}

Task<> client(Worker& worker, base::SocketAddress to, uint32_t id, RelayLoad& load) {
  Connector connector(worker, {.to = to});
  auto stream = co_await connector;
  EXPECT_TRUE(stream);
  if (!stream) co_return;
  shrink_buffers(**stream);
  Both directions = both(send_pattern(**stream, id), check_pattern(worker, **stream, id, load));
  co_await directions;
}

TEST(Relay, ManyConnectionsThroughSmallBuffers_EveryByteIsItsOwn) {
  RelayLoad load;
  std::unique_ptr<Listener> relays, sinks;
  {
    TwoWorkers workers;
    Worker clients({});
    auto sink = Listener::open(workers.all, loopback(), &echo_back, nullptr, {});
    auto front = Listener::open(workers.all, loopback(), &relay, &load, {});
    ASSERT_TRUE(sink && front);
    sinks = std::move(*sink);
    relays = std::move(*front);
    load.sink = sinks->address();
    sinks->start();
    relays->start();
    for (uint32_t id = 0; id < RelayLoad::kConnections; ++id) clients.spawn(client(clients, relays->address(), id, load));
    testing::run_to_the_end(clients);
    workers.wait_until([&] { return relays->connections() + sinks->connections() == 0; });
    sinks->close();
    relays->close();
  }
  EXPECT_EQ(load.finished, RelayLoad::kConnections);
  EXPECT_EQ(load.wrong, 0);
}

}  // namespace
}  // namespace net
