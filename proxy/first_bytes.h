#pragma once

#include <chrono>
#include <optional>

#include "net/cancel.h"
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

}  // namespace proxy
