#pragma once

#include <chrono>
#include <coroutine>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string_view>
#include <utility>

#include "base/ip.h"
#include "base/result.h"
#include "net/cancel.h"
#include "net/checks.h"
#include "net/ready.h"

namespace net {

class Worker;
class Stream;
class CloseWatch;
class Pipe;

using Slice = std::span<const std::byte>;
inline Slice bytes_of(std::string_view text) noexcept { return std::as_bytes(std::span(text.data(), text.size())); }
inline std::string_view text_of(Slice bytes) noexcept { return {reinterpret_cast<const char*>(bytes.data()), bytes.size()}; }

// Bytes that belong to somebody else (the worker's scratch, a slab): good until this coroutine suspends or anybody reads
// again. Move-only; never a variable that lives across co_await except as the operation's own argument. Debug and sanitizer
// builds keep the owner's generation and abort on late use; the scratch itself is poisoned at the end of every turn.
class Borrowed {
 public:
  Borrowed() = default;
  Borrowed(Slice bytes, const uint32_t& generation) noexcept : bytes_(bytes), owner_(&generation), generation_(generation) {}
  // For bytes that outlive every suspension (literals, the message's own arena).
  static Borrowed of_static(std::string_view text) noexcept {
    Borrowed borrowed;
    borrowed.bytes_ = bytes_of(text);
    return borrowed;
  }
  Borrowed(Borrowed&& other) noexcept { swap(other); }
  Borrowed& operator=(Borrowed&& other) noexcept {
    Borrowed gone(std::move(other));
    swap(gone);
    return *this;
  }
  Slice bytes() const noexcept {
    check();
    return bytes_;
  }
  bool empty() const noexcept { return bytes_.empty(); }
  size_t size() const noexcept { return bytes_.size(); }
  Borrowed first(size_t n) noexcept;   // splits off the front; n <= size()

 private:
  void swap(Borrowed& other) noexcept {
    std::swap(bytes_, other.bytes_);
    std::swap(owner_, other.owner_);
    std::swap(generation_, other.generation_);
  }
  void check() const noexcept {
    if constexpr (kChecked) {
      if (owner_ && *owner_ != generation_) late_use();
    }
  }
  [[noreturn]] static void late_use() noexcept;   // says so on stderr and aborts
  Slice bytes_{};
  const uint32_t* owner_ = nullptr;
  uint32_t generation_ = 0;
};

// An awaiter in the caller's frame. `co_await stream.read()` yields the next bytes, empty at the end of the stream. State
// machines set `waiter` and call start() instead: true means `result` is there already and the waiter will not be called.
struct [[nodiscard]] ReadOp : Op {
  Stream* stream = nullptr;
  Waiter waiter;
  Result<Borrowed> result{};
  Pipe* pipe = nullptr;      // see Stream::read_into
  size_t most = 0;
  explicit ReadOp(Stream* s, Pipe* into = nullptr, size_t at_most = 0) noexcept : stream(s), pipe(into), most(at_most) {}
  ReadOp(ReadOp&& other) noexcept : Op(other), stream(other.stream), pipe(other.pipe), most(other.most) {}   // before start() only
  ~ReadOp();                                                             // detaches from the stream when it waits
  bool attached = false;
  bool start();
  // For stream implementations: detaches the operation and wakes its waiter; a cancelled stream's reason replaces the result.
  // Only in a turn of its own and as its last act, because the waiter may destroy the stream. It is also what `step` does
  // unless start_read() sets another one.
  void finish() noexcept;
  bool await_ready() { return start(); }
  void await_suspend(std::coroutine_handle<> h) noexcept { waiter = h; }
  Result<Borrowed> await_resume() { return std::move(result); }
};

// Writes head and piece with one system call and ends when the kernel has taken everything: what it refuses is moved into a
// slab first, so neither `head` nor `piece` is looked at again once the operation suspends.
struct [[nodiscard]] WriteOp : Op {
  Stream* stream = nullptr;
  Slice head;
  Borrowed piece;
  Waiter waiter;
  Result<> result{};
  Pipe* pipe = nullptr;      // see Stream::write_from
  WriteOp(Stream* s, Slice h, Borrowed p, Pipe* from = nullptr) noexcept : stream(s), head(h), piece(std::move(p)), pipe(from) {}
  WriteOp(WriteOp&& other) noexcept : Op(other), stream(other.stream), head(other.head), piece(std::move(other.piece)), pipe(other.pipe) {}
  ~WriteOp();
  bool attached = false;
  bool start();
  void finish() noexcept;                                                // as ReadOp's
  bool await_ready() { return start(); }
  void await_suspend(std::coroutine_handle<> h) noexcept { waiter = h; }
  Result<> await_resume() { return result; }
};

struct TlsFacts {
  std::string_view sni, alpn, peer_spiffe_id;
  bool resumed = false;
};

// A byte stream: a socket, TLS over a socket, memory. At most one read and one write in flight. Belongs to one worker and may
// be destroyed at any time no operation of it is being awaited. Cancelling it makes both waiting operations return the
// reason, and every later one too.
class Stream : public Cancellable {
 public:
  virtual ~Stream();

  // Errors: kReset (ECONNRESET and the like), the cancel reason. The end of the stream is an empty result, again and again.
  ReadOp read() noexcept { return ReadOp(this); }
  WriteOp write(Borrowed piece) noexcept { return WriteOp(this, {}, std::move(piece)); }
  WriteOp write(Slice head, Borrowed piece) noexcept { return WriteOp(this, head, std::move(piece)); }   // one sendmsg

  // Bulk bytes past the process, between two streams that both say splices(). read_into() ends when `pipe` holds something; it
  // holds nothing at the end of the stream, and the result's bytes are always empty. write_from() ends when it is empty. The pipe
  // outlives both operations.
  ReadOp read_into(Pipe& pipe, size_t at_most) noexcept { return ReadOp(this, &pipe, at_most); }
  WriteOp write_from(Pipe& pipe) noexcept { return WriteOp(this, {}, {}, &pipe); }
  virtual bool splices() const noexcept { return false; }      // false while unread bytes stand in front

  // Puts bytes that were read too far in front of what is still to come; they are copied. May be called several times; the
  // last call's bytes come first. Never while a read waits.
  virtual void unread(Slice bytes) = 0;
  // Bytes are there that no read has taken yet (unread or in the kernel), or the stream has ended. Costs a system call at most.
  virtual bool readable() noexcept = 0;
  // The same as far as is known without asking the kernel: false also for what came after a read that emptied the socket.
  virtual bool known_readable() noexcept { return readable(); }
  // When the peer last took something of a write that it keeps, or kept, waiting; long ago when it never did. A slow reader moves
  // without anybody being told, so who is about to give up for lack of progress asks here. Costs a system call at most.
  virtual std::chrono::steady_clock::time_point last_drained() noexcept { return drained_; }
  // Bytes, or the FIN, of a write that is over are still on their way: a reset would destroy them. Costs a system call.
  virtual bool undelivered() noexcept { return false; }
  // See CloseWatch. At most one watch at a time; a watch and a waiting read exclude each other.
  CloseWatch closed(Cancellable& target, Error why, std::chrono::milliseconds after_fin) noexcept;

  virtual void shutdown_write() noexcept = 0;   // FIN after everything written; reading goes on
  virtual void reset() noexcept = 0;            // the peer sees RST; reads and writes fail from now on
  virtual base::SocketAddress local() const noexcept = 0;
  virtual base::SocketAddress peer() const noexcept = 0;
  // Where this connection was going before iptables turned it to us; memory streams say what the test set.
  virtual Result<base::OriginalDst> original_dst() const noexcept = 0;
  virtual int raw_fd() const noexcept { return -1; }           // plaintext sockets only
  virtual const TlsFacts* tls() const noexcept { return nullptr; }
  Worker& worker() const noexcept { return worker_; }

 protected:
  explicit Stream(Worker& worker) noexcept : worker_(worker) {}
  // The operations a subclass completes. An operation is attached when start_read() or start_write() returned false, and stays
  // so until it finishes; a waiter that dies earlier detaches it. To end one from any stack: set `result`, then
  // Worker::ready(op). Bytes of the scratch live for one turn only, so a read that lends them sets `step` to a function that
  // fetches them in the operation's own turn and then calls op.finish().
  ReadOp* reading_ = nullptr;
  WriteOp* writing_ = nullptr;
  CloseWatch* watch_ = nullptr;
  std::chrono::steady_clock::time_point drained_{};   // what last_drained() knows without asking

 private:
  friend ReadOp;
  friend WriteOp;
  friend CloseWatch;
  virtual bool start_read(ReadOp& op) = 0;      // true = result is there already; false = op is attached
  virtual bool start_write(WriteOp& op) = 0;
  virtual void watch_changed() noexcept = 0;    // watch_ was set or cleared (also by the watch's end, never by ~Stream)
  Worker& worker_;
};

// While it lives, the end of the stream cancels `target` with `why`: an RST or error at once, a FIN or TLS close `after_fin`
// later (a client that shut down its sending side may still wait for its answer), counted from the last byte that this client
// took: that of a write that waits, or what progress() tells. Consumes no byte. When bytes stand before
// the end (pipelining), only an error counts as leaving. The pump puts one on the client while it waits upstream, the pool
// puts one on every idle connection (after_fin 0; there, unexpected bytes count as the end too: `or_bytes`).
class CloseWatch final : private Timer {
 public:
  static constexpr auto kNever = std::chrono::milliseconds::max();   // as after_fin: the FIN has been read or does not matter
  CloseWatch(Stream& stream, Cancellable& target, Error why, std::chrono::milliseconds after_fin, bool or_bytes = false) noexcept;
  CloseWatch(const CloseWatch&) = delete;
  ~CloseWatch();
  bool or_bytes() const noexcept { return or_bytes_; }
  // A write to the stream has ended well. The kernel may have taken it for a peer that is gone, but then an RST follows.
  void progress() noexcept {
    if (armed()) arm(after_fin_);
  }
  void saw_error() noexcept;   // for stream implementations
  void saw_fin() noexcept;
  void saw_bytes() noexcept;

 private:
  void fire() noexcept override;
  friend Stream;
  Stream* stream_;                              // null once the stream is gone
  Cancellable& target_;
  Error why_;
  std::chrono::milliseconds after_fin_;
  bool or_bytes_;
};
inline CloseWatch Stream::closed(Cancellable& target, Error why, std::chrono::milliseconds after_fin) noexcept {
  return {*this, target, why, after_fin};
}

}  // namespace net
