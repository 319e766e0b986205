#pragma once

#include <coroutine>
#include <memory>

#include "base/result.h"
#include "net/cancel.h"
#include "net/ready.h"
#include "net/stream.h"
#include "net/worker.h"

namespace upstream {

// One attempt to connect: `co_await dial` yields the stream or net::Connector's errors. May be cancelled at any time, and
// destroyed whenever nobody awaits it.
class Dial : public net::Cancellable {
 public:
  virtual ~Dial() = default;
  bool await_ready() { return start(); }
  void await_suspend(std::coroutine_handle<> h) noexcept { wait(h); }
  Result<std::unique_ptr<net::Stream>> await_resume() { return take(); }

 private:
  virtual bool start() = 0;                            // true: the result is there already
  virtual void wait(net::Waiter waiter) noexcept = 0;  // whom to wake, in a turn of its own
  virtual Result<std::unique_ptr<net::Stream>> take() = 0;
};

// How connections are made: sockets, or what a test puts in their place.
class Dialer {
 public:
  virtual std::unique_ptr<Dial> dial(net::Worker& worker, const net::ConnectTo& to) = 0;

 protected:
  ~Dialer() = default;
};
Dialer& socket_dialer() noexcept;                      // net::Connector; stateless, of the process

}  // namespace upstream
