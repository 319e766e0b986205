// The writer thread of a sink and the rings that feed it.
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <new>
#include <thread>
#include <utility>
#include <vector>

#include "log/log.h"
#include "log/output.h"
#include "log/ring.h"

namespace logs {
namespace {

using Clock = std::chrono::steady_clock;

// How long the writer rests after a batch before it looks again without having been woken. While lines flow it therefore runs
// at most 200 times a second and producers never pay for waking it; a line is visible after 5 ms at the latest.
constexpr int kRestMs = 5;
constexpr std::chrono::seconds kFlushAtEnd{1};

// Everything writer and producers share. Held by the sink, by its writer and, weakly, by each thread that has written: a
// writer that hangs in a dead file system outlives the sink.
struct State {
  explicit State(std::string path, size_t bytes) : ring_bytes(bytes), output(std::move(path)), wake(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {}
  ~State() {
    for (Ring* ring = rings.load(std::memory_order_acquire); ring;) delete std::exchange(ring, ring->next);
    ::close(wake);
  }

  Ring* claim() {
    for (Ring* ring = rings.load(std::memory_order_acquire); ring; ring = ring->next)
      if (ring->claim()) return ring;
    auto* ring = new Ring(ring_bytes);
    ring->next = rings.load(std::memory_order_relaxed);
    while (!rings.compare_exchange_weak(ring->next, ring, std::memory_order_release, std::memory_order_relaxed)) {}
    return ring;
  }
  void notify() noexcept {
    const uint64_t one = 1;
    [[maybe_unused]] const ssize_t ignored = ::write(wake, &one, sizeof one);   // fails only when plenty of wakes are pending
  }
  bool all_empty() const noexcept {
    for (const Ring* ring = rings.load(std::memory_order_acquire); ring; ring = ring->next)
      if (!ring->empty()) return false;
    return true;
  }

  const size_t ring_bytes;
  std::atomic<Ring*> rings{nullptr};     // push-only; release by who pushes, acquire by who walks
  std::atomic<bool> asleep{false};       // seq_cst: see Ring::put
  std::atomic<bool> stopping{false}, reopen{false};        // release and acquire; the eventfd orders them anyway
  std::atomic<uint64_t> written{0}, lost{0};               // lines; written by the writer, relaxed tallies
  std::atomic<uint64_t> lost_at_thread_end{0};
  Output output;                         // writer only
  const int wake;
  std::mutex mutex;                      // of `ended`
  std::condition_variable at_end;
  bool ended = false;
};

// The writer thread of one sink.
class Writer {
 public:
  explicit Writer(std::shared_ptr<State> state) : state_(std::move(state)) {}

  void run() {
    state_->output.prepare();
    while (true) {
      if (state_->reopen.exchange(false, std::memory_order_acquire)) state_->output.reopen();
      const bool wrote = drain();
      if (!wrote && state_->stopping.load(std::memory_order_acquire) && state_->all_empty()) return;
      if (late()) return give_up();
      if (wrote)
        wait(kRestMs, -1);
      else
        sleep();
    }
  }

 private:
  // A batch from every ring that has something. False when there was nothing.
  bool drain() {
    bool any = false;
    for (Ring* ring = state_->rings.load(std::memory_order_acquire); ring && !late(); ring = ring->next) any |= drain(*ring);
    return any;
  }

  // Whole lines only, to their end: bytes of two rings never mix. What cannot be written is lost and counted.
  bool drain(Ring& ring) {
    iovec pieces[2];
    size_t count = ring.pieces(pieces);
    if (count == 0) return false;
    size_t at = 0;
    while (at < count) {
      if (cut_) mend();
      size_t written = 0;
      switch (state_->output.write(pieces + at, static_cast<int>(count - at), written)) {
        case Output::Outcome::kWritten: advance(ring, pieces, at, count, written); break;
        case Output::Outcome::kWait:
          if (late()) return true;
          wait(-1, state_->output.fd());
          break;
        case Output::Outcome::kFailed: lose(ring, pieces, at, count); return true;
      }
      if (state_->reopen.load(std::memory_order_relaxed) && !inside_line_) break;   // the rest goes to the new file
    }
    return true;
  }

  void advance(Ring& ring, iovec* pieces, size_t& at, size_t count, size_t written) {
    while (at < count && written > 0) {
      const size_t step = std::min(written, pieces[at].iov_len);
      char* const begin = static_cast<char*>(pieces[at].iov_base);
      add(state_->written, begin, step);
      inside_line_ = begin[step - 1] != '\n';
      ring.consume(step);
      written -= step;
      pieces[at] = {begin + step, pieces[at].iov_len - step};
      if (pieces[at].iov_len == 0) ++at;
    }
  }

  void lose(Ring& ring, const iovec* pieces, size_t at, size_t count) {
    for (; at < count; ++at) {
      add(state_->lost, static_cast<const char*>(pieces[at].iov_base), pieces[at].iov_len);
      ring.consume(pieces[at].iov_len);
    }
    cut_ = inside_line_;                 // half a line stands in the file: the next one must not continue it
    inside_line_ = false;
  }

  void mend() {
    char newline = '\n';
    iovec piece{&newline, 1};
    size_t written = 0;
    if (state_->output.write(&piece, 1, written) == Output::Outcome::kWritten && written == 1) cut_ = false;
  }

  static void add(std::atomic<uint64_t>& tally, const char* begin, size_t size) noexcept {
    const auto lines = static_cast<uint64_t>(std::count(begin, begin + size, '\n'));
    tally.store(tally.load(std::memory_order_relaxed) + lines, std::memory_order_relaxed);   // one writer
  }

  // Until a producer writes. The flag is set before the rings are looked at once more: see Ring::put.
  void sleep() {
    state_->asleep.store(true, std::memory_order_seq_cst);
    if (state_->all_empty() && !state_->stopping.load(std::memory_order_acquire)) wait(-1, -1);
    state_->asleep.store(false, std::memory_order_seq_cst);
  }

  // Until `output` has room (-1: not asked), somebody notifies, or the time is over; -1: no limit.
  void wait(int ms, int output) {
    if (state_->stopping.load(std::memory_order_acquire)) {
      if (ms >= 0) return;               // no rest at the end
      ms = static_cast<int>(std::chrono::duration_cast<std::chrono::milliseconds>(end() - Clock::now()).count()) + 1;
      if (ms <= 0) return;
    }
    pollfd wanted[2] = {{state_->wake, POLLIN, 0}, {output, POLLOUT, 0}};
    ::poll(wanted, 2, ms);
    uint64_t count = 0;
    if (wanted[0].revents & POLLIN) [[maybe_unused]] const ssize_t ignored = ::read(state_->wake, &count, sizeof count);
  }

  Clock::time_point end() noexcept {
    if (end_ == Clock::time_point::max()) end_ = Clock::now() + kFlushAtEnd;
    return end_;
  }
  bool late() noexcept { return state_->stopping.load(std::memory_order_acquire) && Clock::now() >= end(); }

  void give_up() {
    for (Ring* ring = state_->rings.load(std::memory_order_acquire); ring; ring = ring->next) {
      iovec pieces[2];
      const size_t count = ring->pieces(pieces);
      if (count) lose(*ring, pieces, 0, count);
    }
  }

  const std::shared_ptr<State> state_;
  Clock::time_point end_ = Clock::time_point::max();
  bool inside_line_ = false, cut_ = false;
};

// The rings of this thread, one per sink it has written to. Sinks have numbers that are never used twice, so an entry of a
// sink that is gone is never found by mistake.
struct Mine {
  struct Entry {
    uint64_t sink;
    Ring* ring;
    std::weak_ptr<State> state;
  };
  std::vector<Entry> entries;
  ~Mine();
};
thread_local bool thread_ends = false;   // trivially destructible: still readable by destructors that log after ~Mine
thread_local Mine mine;
Mine::~Mine() {
  thread_ends = true;
  for (const Entry& entry : entries)
    if (const auto state = entry.state.lock()) entry.ring->abandon();
}

class RingSink final : public Sink {
 public:
  RingSink(const std::string& path, size_t ring_bytes) : state_(std::make_shared<State>(path, ring_bytes)) {
    sigset_t all, before;
    ::sigfillset(&all);
    ::pthread_sigmask(SIG_SETMASK, &all, &before);   // signals are main's; SIGPIPE becomes EPIPE
    writer_ = std::thread([state = state_] {
      Writer(state).run();
      const std::lock_guard lock(state->mutex);
      state->ended = true;
      state->at_end.notify_all();
    });
    ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  }

  ~RingSink() override { finish(); }

  // The writer is waited for, but not longer than it may flush: a write into a file system that hangs cannot be interrupted.
  void finish() noexcept override {
    if (!writer_.joinable()) return;
    state_->stopping.store(true, std::memory_order_release);
    state_->notify();
    std::unique_lock lock(state_->mutex);
    const bool ended = state_->at_end.wait_for(lock, kFlushAtEnd + std::chrono::milliseconds(200), [this] { return state_->ended; });
    lock.unlock();
    if (ended)
      writer_.join();
    else
      writer_.detach();
  }

  void write(std::string_view line) noexcept override {
    if (thread_ends) {
      state_->lost_at_thread_end.fetch_add(1, std::memory_order_relaxed);
      return;
    }
    const Ring::Put put = ring().put(line);
    // The exchange makes one of several producers pay for the wake.
    if ((put != Ring::Put::kFull && state_->asleep.load(std::memory_order_seq_cst) && state_->asleep.exchange(false, std::memory_order_seq_cst)) ||
        put == Ring::Put::kHalfFull)
      state_->notify();
  }

  uint64_t dropped() const noexcept override {
    uint64_t all = state_->lost.load(std::memory_order_relaxed) + state_->lost_at_thread_end.load(std::memory_order_relaxed);
    for (const Ring* ring = state_->rings.load(std::memory_order_acquire); ring; ring = ring->next) all += ring->dropped();
    return all;
  }
  uint64_t written() const noexcept override { return state_->written.load(std::memory_order_relaxed); }
  void reopen() noexcept override {
    state_->reopen.store(true, std::memory_order_release);
    state_->notify();
  }

 private:
  Ring& ring() {
    for (const Mine::Entry& entry : mine.entries)
      if (entry.sink == number_) return *entry.ring;
    std::erase_if(mine.entries, [](const Mine::Entry& entry) { return entry.state.expired(); });
    return *mine.entries.emplace_back(number_, state_->claim(), state_).ring;
  }

  static uint64_t next_number() noexcept {
    static std::atomic<uint64_t> last{0};
    return last.fetch_add(1, std::memory_order_relaxed) + 1;
  }
  const uint64_t number_ = next_number();
  const std::shared_ptr<State> state_;
  std::thread writer_;
};

}  // namespace

std::unique_ptr<Sink> Sink::open(const std::string& path, size_t ring_bytes) { return std::make_unique<RingSink>(path, ring_bytes); }

}  // namespace logs
