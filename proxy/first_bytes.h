#pragma once

#include <chrono>
#include <optional>

#include "http/detect.h"
#include "net/cancel.h"
#include "net/slab.h"
#include "net/stream.h"
#include "net/worker.h"

namespace proxy {

// Waits for the first bytes of one stream, or of either of two, for at most `patience` (0: for ever). What was read is put
// back, so whoever serves the connection next reads it again. The stream itself is never cancelled by the time running out.
class FirstBytes final : public net::Cancellable, private net::Op {
 public:
  enum class Who : uint8_t { kNobody, kDownstream, kUpstream };
  struct Outcome {
    Who who = Who::kNobody;            // kNobody: the patience is over
    Result<size_t> bytes = size_t{0};  // 0: that side has ended without a byte
  };
  FirstBytes(net::Stream& downstream, net::Stream* upstream, std::chrono::milliseconds patience) noexcept;
  ~FirstBytes();
  bool await_ready();
  void await_suspend(std::coroutine_handle<> h) noexcept { waiter_ = h; }
  Outcome await_resume() noexcept { return outcome_; }

 private:
  void on_cancel() noexcept override;
  bool take(Who who);                  // the operation of this side is finished
  void from_downstream();
  void from_upstream();
  void wake() noexcept;
  net::Stream& downstream_;
  net::Stream* upstream_;
  std::chrono::milliseconds patience_;
  std::optional<net::ReadOp> down_, up_;
  std::optional<net::Deadline> deadline_;
  std::coroutine_handle<> waiter_;
  Outcome outcome_;
  bool done_ = false;
};

// Reads one stream until its first bytes can be judged, it ends, or the time is over. What was read is put back when the awaiting
// coroutine goes on; until then it is http::kMostSniffed bytes and one read at most. The stream itself is never cancelled.
class Sniffing final : public net::Cancellable, private net::Op {
 public:
  enum class End : uint8_t { kDecided, kEnded, kBroken, kSilent, kTooSlow };
  struct Outcome {
    End end = End::kSilent;
    http::Sniffed says = http::Sniffed::kNeedMore;   // anything else with kDecided
    bool any = false;                                // at least one byte came
    bool in_request_line = false;                    // http::Sniffer
    std::chrono::milliseconds spent{0};              // since the first byte that was no line end
  };
  // `silence`: how long nothing may come, 0: for ever. `head_time`: how long the bytes may leave it open, from the first one
  // and, as the codec counts, anew from the first that is no line end.
  Sniffing(net::Stream& stream, bool http10, std::chrono::milliseconds silence, std::chrono::milliseconds head_time) noexcept;
  bool await_ready();
  void await_suspend(std::coroutine_handle<> h) noexcept { waiter_ = h; }
  Outcome await_resume();

 private:
  void on_cancel() noexcept override;
  bool read_on();                      // true: it is over
  bool take(Result<net::Borrowed> piece);
  bool finish(End end) noexcept;
  void on_read();
  net::Stream& stream_;
  http::Sniffer sniffer_;
  const std::chrono::milliseconds silence_, head_time_;
  std::optional<net::ReadOp> read_;
  net::Slab seen_;
  net::Deadline deadline_;
  std::chrono::steady_clock::time_point began_at_{};
  std::coroutine_handle<> waiter_;
  Outcome outcome_;
};

}  // namespace proxy
