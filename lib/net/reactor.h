#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>

namespace net {

class Worker;

// Asio's place: the loop, its one timer, the wake-up from other threads, and waiting for descriptors. No other file of the
// project knows the library, so it can be replaced here. Everything but notify() is for the thread that runs the loop.
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

// Told in a turn of its own that a wait is over. For kError: the descriptor failed or hung up. A failed or closed descriptor
// ends the other waits too; whoever is told tries the operation and sees why.
class DescriptorOwner {
 public:
  virtual void on_wait_over(Wait wait) noexcept = 0;

 protected:
  ~DescriptorOwner() = default;
};

// A descriptor on the loop of one worker. A wait, once started, is never taken back: at most one per kind is outstanding and
// whoever comes later attaches to it. The descriptor is closed when this object dies, at once; a small counted block stays
// behind until the loop has let go of the waits, and nobody hears of them.
class Descriptor {
 public:
  Descriptor(Worker& worker, int fd, DescriptorOwner& owner);   // takes fd
  Descriptor(Descriptor&& other, DescriptorOwner& owner) noexcept;   // from now on `owner` is told; `other` is closed
  ~Descriptor() { close(); }
  Descriptor(const Descriptor&) = delete;
  // False: closed, or the loop could not take the descriptor (out of memory or of watches). It never gets ready.
  bool usable() const noexcept { return fd() >= 0; }
  int fd() const noexcept;                             // -1 when not usable
  void wait(Wait wait) noexcept;
  void close() noexcept;

 private:
  struct Block;
  Block* block_;
};

}  // namespace net
