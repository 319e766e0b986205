#pragma once

#include <optional>

#include "http/arena.h"
#include "http/body.h"
#include "http/encode.h"
#include "http/exchange.h"
#include "net/slab.h"

namespace http {

enum class Side : uint8_t { kDownstream, kUpstream };  // which neighbour of ours this connection leads to

class Body;

// Tells the body that its peer sends too slowly (Limits::body_idle_time, body_bytes_per_second): a client that holds a request
// open with a byte now and then holds an upstream connection too (CVE-2007-6750's other half).
class Pace final : private net::Timer {
 public:
  Pace(Body& body, net::Worker& worker) noexcept : Timer(worker), body_(body) {}
  void start(const Limits& limits) noexcept {
    limits_ = limits.body_idle_time.count() > 0 || limits.body_bytes_per_second > 0 ? &limits : nullptr;
  }
  void stop() noexcept;
  void waits() noexcept;                // a read waits for the peer
  void came(size_t bytes) noexcept;     // and has these bytes now

 private:
  void fire() noexcept override;
  void count_waiting() noexcept;
  void arm_next() noexcept;
  Body& body_;
  const Limits* limits_ = nullptr;      // null: no hurry
  bool waiting_ = false;
  std::chrono::steady_clock::time_point silent_since_{}, counted_until_{};
  std::chrono::milliseconds waited_{};  // in this window, which began with a byte
  uint64_t bytes_ = 0;                  // in this window; 0: none is open
};

// The readable half of an HTTP/1 message: bytes that came behind its head (they stand in `surplus`), then the stream. No frame
// of its own. What follows the body goes back to `surplus`.
class Body final : public BodySource, private net::Op {
 public:
  Body(Side side, net::Stream& stream, net::Slab& surplus) noexcept
      : Op([](Op& op) noexcept { static_cast<Body&>(op).stopped(); }),
        side_(side),
        stream_(stream),
        surplus_(surplus),
        pace_(*this, stream.worker()) {}
  void start(Framing framing, uint64_t length, const Limits& limits, std::pmr::memory_resource* arena);
  void open_tunnel();  // from here on every byte up to the end of the stream
  // Gives back what the last piece held; afterwards `surplus` begins with what follows the body. Pieces are gone.
  void settle() noexcept;
  // Reads and drops what is there already, without waiting, at most about `at_most` bytes. True: the body ended in it.
  bool drain(size_t at_most);
  // Nobody wants the rest: whoever waits for it gets `why` in a turn of its own, and the stream lives on.
  void stop(Error why) noexcept;
  void unhurried() noexcept { pace_.stop(); }  // the answer has begun: an upload may now last as long as the answer
  void too_slow() noexcept;
  bool failed() const noexcept { return error_.has_value(); }
  uint64_t received() const noexcept { return received_; }

  bool ended() const noexcept override { return decoder_.ended() && primed_.size == 0 && !error_; }
  bool ready() const noexcept override { return error_ || primed_.size > 0 || decoder_.ended(); }
  std::optional<uint64_t> remaining() const noexcept override;
  bool bulk() const noexcept override;
  const base::Fields* trailers() const noexcept override { return decoder_.trailers(); }

 private:
  bool start_next(Next& next) override;
  void prime();
  bool take(Next& next, Result<net::Borrowed> read);  // true: next has its result
  bool begin_read(Next& next);                        // true: the read is over
  void on_read();
  void stopped();
  void fail(base::Detail detail) noexcept;
  Error at_end_early() const noexcept;
  Side side_;
  net::Stream& stream_;
  net::Slab& surplus_;
  BodyDecoder decoder_;
  BodyDecoder::Piece primed_;  // decoded in front of the surplus, not handed out yet
  size_t given_ = 0;           // bytes of the surplus that the last piece came from
  uint64_t received_ = 0;
  std::optional<Error> error_;
  std::optional<net::ReadOp> read_;
  Next* next_ = nullptr;
  Pace pace_;
};

// The writable half: frames body pieces as the head promised and keeps the promise (content-length to the byte). A message
// piece and its framing are one write. Subclasses encode heads.
class Writer : public Sender {
 public:
  bool complete() const noexcept { return complete_; }  // the end was written
  bool failed() const noexcept { return failed_; }
  bool head_written() const noexcept { return head_written_; }
  uint64_t sent() const noexcept { return sent_; }
  bool takes_pipes() const noexcept override { return head_written_ && !failed_ && mode_ == Mode::kLength && stream_.splices(); }

 protected:
  Writer(Side side, net::Stream& stream) noexcept : side_(side), stream_(stream) {}
  ~Writer() = default;
  enum class Mode : uint8_t { kNone, kLength, kChunked, kUntilClose, kTunnel };
  void framing(Mode mode, uint64_t length = 0) noexcept {
    mode_ = mode;
    left_ = length;
  }
  Mode mode() const noexcept { return mode_; }
  void reopen() noexcept { complete_ = false; }  // a tunnel begins where a message without body had ended
  net::Worker& worker() const noexcept { return stream_.worker(); }
  std::optional<uint64_t> declared_length(const base::Fields& fields) const noexcept;

 private:
  // Puts the head of `send` into `out` and chooses the framing; `extra` bytes must stay free behind it. An interim head says so.
  virtual Result<> encode_head(const Send& send, OutBuffer& out, size_t extra, bool& interim) = 0;
  bool start_send(Send& send) final;
  Result<> frame(Send& send, OutBuffer& out, bool& nothing);
  void on_written();
  bool finish_send(Send& send, Result<> result);
  Side side_;
  Mode mode_ = Mode::kNone;
  bool complete_ = false, failed_ = false, head_written_ = false, interim_ = false;
  uint64_t left_ = 0, sent_ = 0;
  net::Stream& stream_;
  std::optional<net::WriteOp> write_;
  Send* send_ = nullptr;
};

}  // namespace http
