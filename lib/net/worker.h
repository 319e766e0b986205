#pragma once

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "base/ip.h"
#include "base/result.h"
#include "net/cancel.h"
#include "net/pipe.h"
#include "net/ready.h"
#include "net/stream.h"
#include "net/task.h"

namespace net {

// One thread's world: loop, timer wheel, scratch, slabs. Share nothing: everything but post(), stop(), load() and turns() is
// for the thread that runs it. A **turn** is one resume from the loop or from the ready queue; after it the scratch is dead.
// The ready queue is empty before the loop waits again.
class Worker {
 public:
  struct Options {
    unsigned index = 0;
    bool manual_clock = false;         // tests: time stands still until advance()
    size_t scratch = 128 * 1024;       // bytes of one read (performance.md §8.5)
    // Other threads of this process start programs. Between fork and exec the child holds a copy of every descriptor, and with
    // it the kernel holds what the loop was told to watch: a descriptor closed just then would go on to report. With this each
    // is taken off the loop before it is closed, a system call that a proxy, which starts nothing, need not make.
    bool starts_programs = false;
  };
  explicit Worker(const Options& options);
  ~Worker();                           // no task may be left
  Worker(const Worker&) = delete;

  void run();                                          // until stop(); the calling thread is the worker from now on
  void stop() noexcept;                                // any thread
  size_t poll();                                       // tests: turns run until nothing is left to do without waiting
  void advance(std::chrono::milliseconds by);          // tests: moves the manual clock and polls

  void post(std::move_only_function<void()> f);        // any thread; runs in a turn of its own, in order
  void ready(Op& op) noexcept;                         // op.step runs after the current turn, never inside it
  void spawn(Task<> task);                             // starts it in a turn of its own; the worker owns it and counts it
  size_t tasks() const noexcept;                       // spawned and not ended
  // `f` runs in a turn of its own as soon as no spawned task is left (at once when none is). One at a time.
  void when_idle(std::move_only_function<void()> f);

  std::chrono::steady_clock::time_point now() const noexcept;   // taken once per turn
  std::chrono::system_clock::time_point wall() const noexcept;  // of the same moment; for dates and logs only

  unsigned index() const noexcept;
  uint32_t load() const noexcept;                      // any thread: connections this worker serves
  uint64_t turns() const noexcept;                     // any thread: for the watchdog
  std::chrono::steady_clock::time_point turn_started() const noexcept;   // any thread; epoch while it waits for events

  // Whatever the program attaches to this worker (its pools, snapshot, counters); not owned.
  template <class T> void attach(T* context) noexcept { context_ = context; }
  template <class T> T& context() const noexcept { return *static_cast<T*>(context_); }

  // A pipe for a stretch of bulk bytes; empty when there is none to lend, and the bytes are copied then. Hold it while bytes flow,
  // not while a connection idles.
  PipeLoan lend_pipe() noexcept;

  // For the rooms of net/ only.
  struct Impl;
  Impl& impl() noexcept { return *impl_; }
  std::span<std::byte> scratch() noexcept;
  Borrowed borrow_scratch(size_t n) noexcept;          // first n bytes of the scratch, good for this turn
  std::byte* take_block(uint32_t& capacity);           // capacity in: wanted, out: what it got (4, 16, 64, 128 KiB, or exact above)
  void give_block(std::byte* block, uint32_t capacity) noexcept;
  size_t block_bytes() const noexcept;                 // in use by slabs
  void add_load(int change) noexcept;

 private:
  std::unique_ptr<Impl> impl_;
  void* context_ = nullptr;
};

// How often listeners stopped accepting for a while. Written by their first worker, read by any thread; relaxed, for figures.
struct ListenerTally {
  std::atomic<uint64_t> at_limit{0}, out_of_descriptors{0};
};

// Accepts on the first worker until EAGAIN and hands each connection to the worker with the least load. An IPv6 wildcard
// address listens for both families.
class Listener {
 public:
  struct Options {
    int backlog = 1024;
    bool transparent = false;          // IP_TRANSPARENT (TPROXY); needs CAP_NET_ADMIN or CAP_NET_RAW
    uint32_t max_connections = ~0u;    // of this listener; accepting pauses there
    ListenerTally* tally = nullptr;    // not owned, outlives the listener
  };
  // Runs as a spawned task on the worker that owns the stream.
  using Serve = Task<> (*)(Worker&, std::unique_ptr<Stream>, void* context);

  // Binds and listens at once (call it on any thread before the workers run, or on worker 0); accepting begins with start().
  // Errors: kConnect with errno (EADDRINUSE, EACCES, EADDRNOTAVAIL …).
  static Result<std::unique_ptr<Listener>> open(std::span<Worker* const> workers, base::SocketAddress at, Serve serve, void* context,
                                                const Options& options);
  virtual ~Listener() = default;       // on worker 0, or when the workers stand still; before they are destroyed
  virtual void start() = 0;            // any thread
  // IP_TRANSPARENT after the fact, for whoever learns from its configuration that TPROXY is wanted. Before start(). Until then
  // the kernel drops what TPROXY brings, and the clients' next SYN finds the door open. Errors: kConnect with errno (EPERM).
  virtual Result<> make_transparent() = 0;
  virtual void close() = 0;            // any thread: takes what is queued in the kernel, then stops listening
  virtual base::SocketAddress address() const noexcept = 0;   // with the port the kernel chose for port 0
  virtual uint32_t connections() const noexcept = 0;          // open ones that it accepted; any thread
};

struct ConnectTo {
  base::SocketAddress to;
  std::chrono::milliseconds within{10'000};
  bool from_inbound_address = false;   // bind 127.0.0.6 or ::6 first (init.md §2.1 rule 8)
  // Bind this address, whoever owns it, and mark the packets for the TPROXY rules (init.md §2.2); goes before
  // from_inbound_address. Needs CAP_NET_RAW or CAP_NET_ADMIN; of the family of `to`.
  std::optional<base::Ip> source{};
};

// One attempt to connect; `co_await connector` yields the stream. Errors: kConnect (origin upstream, retry always, errno,
// detail UpstreamConnectFailure), kTimeout (UpstreamConnectTimeout), the cancel reason. Lives in the caller's frame; may be
// cancelled at any time. State machines set `waiter` and call start().
class Connector final : public Cancellable {
 public:
  Connector(Worker& worker, const ConnectTo& to);
  ~Connector();
  Waiter waiter;
  bool start();                        // true = the result is there already
  bool await_ready() { return start(); }
  void await_suspend(std::coroutine_handle<> h) noexcept { waiter = h; }
  Result<std::unique_ptr<Stream>> await_resume() { return take(); }
  Result<std::unique_ptr<Stream>> take();

 private:
  void on_cancel() noexcept override;
  struct State;
  std::unique_ptr<State> state_;
};

// Wraps a connected non-blocking socket; takes the fd. TCP_NODELAY and keepalive are set.
std::unique_ptr<Stream> adopt_socket(Worker& worker, int fd);
// SO_ORIGINAL_DST, then its IPv6 twin, then the local name (TPROXY, or not redirected). IPv4-mapped addresses become IPv4.
Result<base::OriginalDst> original_dst(int fd) noexcept;

// Reads and drops what the peer still sends, at most `bytes` and for at most `time`, so that the peer sees our last answer
// instead of an RST (RFC 9112 §9.6). Sends FIN first. Suspends.
Task<> lingering_close(Stream& stream, size_t bytes, std::chrono::milliseconds time);

// Raises the fd limit to its hard value; returns it. Call once at start.
size_t raise_fd_limit() noexcept;

}  // namespace net
