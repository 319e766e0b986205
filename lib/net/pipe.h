#pragma once

#include <sys/types.h>

#include <cstddef>
#include <memory>
#include <span>
#include <utility>
#include <vector>

namespace net {

class Worker;

// A kernel pipe: bytes go through it from socket to socket and never enter the process (splice(2)).
class Pipe {
 public:
  // Null: no descriptors, the user's share of pipe memory is used up, or splice(2) is refused, which `refused` then says.
  static std::unique_ptr<Pipe> open(bool& refused) noexcept;
  ~Pipe();
  Pipe(const Pipe&) = delete;
  size_t held() const noexcept { return held_; }
  size_t capacity() const noexcept { return capacity_; }
  // As recv() and send() on a non-blocking socket: bytes moved, 0 at the end of the stream, or -1 and errno. `most` > 0, and
  // drain() only while something is held. Process-wide SIGPIPE must be ignored: splice() has no flag against it.
  ssize_t fill(int socket, size_t most) noexcept;
  ssize_t drain(int socket) noexcept;
  // What fill() does, by way of `through`, where the kernel does not splice; at most 64 KiB, and only while nothing is held.
  ssize_t put_from(int socket, std::span<std::byte> through) noexcept;
  // For streams that are no sockets: what fits of `bytes` goes in, what is held comes out, up to the size of `into`. How much it was.
  size_t put(std::span<const std::byte> bytes) noexcept;
  size_t take(std::span<std::byte> into) noexcept;

 private:
  Pipe(int read_end, int write_end, size_t capacity) noexcept : read_end_(read_end), write_end_(write_end), capacity_(capacity) {}
  const int read_end_, write_end_;
  const size_t capacity_;
  size_t held_ = 0;
};

// The pipes of one worker. Few, because each may hold a mebibyte of kernel memory and the kernel limits what one user's pipes
// hold together (fs.pipe-user-pages-soft, 64 MiB for all proxies of the node that run as one user).
class PipePool {
 public:
  std::unique_ptr<Pipe> take() noexcept;               // null: enough are lent, or the kernel gives none
  void give(std::unique_ptr<Pipe> pipe) noexcept;
  size_t lent() const noexcept { return lent_; }

 private:
  static constexpr size_t kMostLent = 32, kKept = 4;
  std::vector<std::unique_ptr<Pipe>> idle_;
  size_t lent_ = 0;
  bool refused_ = false;                               // for good: nobody lifts a seccomp filter
};

// A pipe on loan from its worker, given back when this ends; one that still holds bytes is closed with them.
class PipeLoan {
 public:
  PipeLoan() = default;
  PipeLoan(Worker& worker, std::unique_ptr<Pipe> pipe) noexcept : worker_(&worker), pipe_(std::move(pipe)) {}
  PipeLoan(PipeLoan&&) = default;
  PipeLoan& operator=(PipeLoan&& other) noexcept {
    end();
    worker_ = other.worker_;
    pipe_ = std::move(other.pipe_);
    return *this;
  }
  ~PipeLoan() { end(); }
  void end() noexcept;
  explicit operator bool() const noexcept { return pipe_ != nullptr; }
  Pipe& operator*() const noexcept { return *pipe_; }
  Pipe* operator->() const noexcept { return pipe_.get(); }

 private:
  Worker* worker_ = nullptr;
  std::unique_ptr<Pipe> pipe_;
};

}  // namespace net
