#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>

namespace net {

class Worker;

// The loop: epoll, edge-triggered, one timer, the wake-up from other threads. No other file knows how the kernel tells what is
// ready. Everything but notify() is for the thread that runs the loop. A library's loop (Boost.Asio's) stood here before; it
// asks the kernel anew for each wait, which was two of seven system calls of a proxied request (docs/performance.md).
class Reactor {
 public:
  class Client {
   public:
    virtual void on_timer() noexcept = 0;              // wake_at() came true
    virtual void on_notify() noexcept = 0;             // at least one notify() since the last call
    virtual void on_again() noexcept = 0;              // again() was called, and descriptors had their chance
   protected:
    ~Client() = default;
  };
  explicit Reactor(Client& client);
  ~Reactor();
  Reactor(const Reactor&) = delete;
  void run();                                          // until stop()
  void stop() noexcept;
  bool poll();                                         // what can be done without waiting; true when there was something
  void wake_at(std::chrono::steady_clock::time_point at) noexcept;   // replaces the moment before
  void again() noexcept;
  void notify() noexcept;                              // any thread

  struct Loop;
  Loop& loop() noexcept { return *loop_; }

 private:
  std::unique_ptr<Loop> loop_;
};

enum class Wait : uint8_t { kRead, kWrite, kError };

// Told in a turn of its own that a wait is over. For kError: the descriptor failed or hung up. A failed or hung-up descriptor
// ends the other waits too; whoever is told tries the operation and sees why.
class DescriptorOwner {
 public:
  virtual void on_wait_over(Wait wait) noexcept = 0;

 protected:
  ~DescriptorOwner() = default;
};

// A descriptor on the loop of one worker. A wait, once started, is never taken back: at most one per kind is outstanding and
// whoever comes later attaches to it. The descriptor is closed when this object dies, at once; a small block stays behind
// until the loop has finished its pass, and nobody hears of it.
//
// The kernel reports changes, not states. wait() is therefore for whoever has just been refused (EAGAIN), has read less than
// he asked for, or connects: it ends with the next change. What came while nobody waited is remembered for kRead and kError
// and ends the wait in the next pass, and so does the end of the stream, which comes once and stays.
class Descriptor {
 public:
  Descriptor(Worker& worker, int fd, DescriptorOwner& owner);   // takes fd
  Descriptor(Descriptor&& other, DescriptorOwner& owner) noexcept;   // from now on `owner` is told; `other` is closed
  ~Descriptor() { close(); }
  Descriptor(const Descriptor&) = delete;
  // False: closed, also because the loop could not take it at the first wait (out of memory or of watches).
  bool usable() const noexcept { return fd() >= 0; }
  int fd() const noexcept;                             // -1 when not usable
  void wait(Wait wait) noexcept;
  // A wait that ends in the next pass, for who stopped before he was refused: others get their turn first.
  void again(Wait wait) noexcept;
  bool urgent() const noexcept;                        // the peer has sent urgent data at some time
  bool came() const noexcept;                          // something to read came while nobody waited for it
  void close() noexcept;

 private:
  friend Reactor;
  struct Block;
  Block* block_;
};

}  // namespace net
