#pragma once

#include "net/cancel.h"
#include "net/stream.h"

namespace proxy {

// The side of a tunnel that has said its last. Nobody reads there any more, so this is who learns that it goes for good: by an
// RST, or by our keepalive (a peer that closes its socket behind its FIN says no word of it, but its kernel answers a later
// probe with an RST). Then the other side, whose bytes have no taker any more, ends with `why`, and the copy that reads from it
// sees that. It is reset, for what it said did not arrive; unless it has not yet got all that came from the side that ended,
// whose FIN said that this was whole.
class EndedSide final : private net::Cancellable {
 public:
  // `tunnel` is what is cancelled when both sides end for a reason of our own; then there is nothing left to do here.
  EndedSide(net::Stream& side, net::Stream& other, const net::Cancellable& tunnel, Error why) noexcept
      : side_(side), other_(other), tunnel_(tunnel), watch_(side, *this, why, net::CloseWatch::kNever) {}

 private:
  void on_cancel() noexcept override {
    if (tunnel_.cancelled() || other_.cancelled()) return;
    if (!other_.undelivered()) other_.reset();
    other_.cancel(side_.cancelled() ? side_.why() : why());
  }
  net::Stream& side_;
  net::Stream& other_;
  const net::Cancellable& tunnel_;
  const net::CloseWatch watch_;
};

}  // namespace proxy
