#pragma once

#include <coroutine>
#include <cstdint>
#include <optional>
#include <utility>

#include "base/result.h"
#include "http/message.h"
#include "net/stream.h"

namespace http {

// A message body, pulled: one piece in flight. A piece is good until the next suspension; an empty piece is the end, and
// every later call gives the end again. Errors are final.
class BodySource {
 public:
  struct [[nodiscard]] Next {
    BodySource& body;
    net::Pipe* pipe = nullptr;
    net::Waiter waiter{};
    Result<net::Borrowed> result{};
    bool await_ready() { return body.start_next(*this); }
    void await_suspend(std::coroutine_handle<> h) noexcept { waiter = h; }
    Result<net::Borrowed> await_resume() { return std::move(result); }
  };
  virtual ~BodySource() = default;
  Next next() noexcept { return {*this}; }
  // Only while bulk(): the next bytes go into `pipe` instead, and the result's piece is empty.
  Next next(net::Pipe& pipe) noexcept { return {*this, &pipe}; }
  // Much is still to come, its length is known, none of it has been read, and it may pass through a pipe.
  virtual bool bulk() const noexcept { return false; }
  // True when it is known now, without reading, that nothing more comes: a message without body, or the last byte was given.
  // The pump then sends head (or piece) and end in one.
  virtual bool ended() const noexcept = 0;
  // next() would not suspend: a piece, the end or an error is there. Lets the pump send a head together with the first piece
  // when that is there already, and alone at once when it is not (server-sent events).
  virtual bool ready() const noexcept = 0;
  // Bytes that are still to come when the message says so (content-length); nullopt for chunked, until-close, tunnels.
  virtual std::optional<uint64_t> remaining() const noexcept = 0;
  virtual const base::Fields* trailers() const noexcept = 0;   // after the end; null when there were none

 private:
  virtual bool start_next(Next& next) = 0;   // true = result is there; else the source wakes next.waiter later
};

// The writing half of an exchange: head, pieces, trailers. Each operation ends when the bytes are with the kernel (or, behind
// a slow peer, when they have left our slab); only then the next may start. The framing follows from the head: content-length
// among the fields means that length (more or fewer bytes are an error), none means chunked (until close towards HTTP/1.0).
class Sender {
 public:
  struct [[nodiscard]] Send {
    Sender& to;
    const RequestHead* request = nullptr;
    const ResponseHead* response = nullptr;
    const base::Fields* trailers = nullptr;
    net::Borrowed piece{};
    bool end = false;
    net::Pipe* pipe = nullptr;
    net::Waiter waiter{};
    Result<> result{};
    bool await_ready() { return to.start_send(*this); }
    void await_suspend(std::coroutine_handle<> h) noexcept { waiter = h; }
    Result<> await_resume() { return result; }
  };
  virtual ~Sender() = default;
  Send head(const RequestHead& head, net::Borrowed first, bool end) noexcept { return {*this, &head, nullptr, nullptr, std::move(first), end}; }
  // A 1xx head may come before the final one, any number of times; it has no piece and no end. 101 opens the tunnel.
  Send head(const ResponseHead& head, net::Borrowed first, bool end) noexcept { return {*this, nullptr, &head, nullptr, std::move(first), end}; }
  Send body(net::Borrowed piece, bool end) noexcept { return {*this, nullptr, nullptr, nullptr, std::move(piece), end}; }
  // Everything that `pipe` holds. Only while takes_pipes().
  Send body(net::Pipe& pipe, bool end) noexcept { return {*this, nullptr, nullptr, nullptr, {}, end, &pipe}; }
  virtual bool takes_pipes() const noexcept { return false; }
  Send finish(const base::Fields* trailers) noexcept { return {*this, nullptr, nullptr, trailers, {}, true}; }

 private:
  virtual bool start_send(Send& send) = 0;
};

// One request from downstream, HTTP/1 and HTTP/2 alike. It lives from the first byte of the request to the last of the
// answer. Cancelling it ends what waits on it and, when the answer is not complete, aborts it towards the client.
class DownstreamExchange : public net::Cancellable {
 public:
  virtual ~DownstreamExchange() = default;
  virtual RequestHead& request() noexcept = 0;
  virtual BodySource& request_body() noexcept = 0;
  virtual Sender& response() noexcept = 0;
  virtual net::Stream& connection() noexcept = 0;
  // Set: the codec refused the request (syntax, limits, timeout). `request()` holds what could be read. Only the local reply
  // of error()->detail may be sent; the connection ends behind it, lingering (RFC 9112 §9.6).
  virtual const Error* error() const noexcept = 0;
  virtual void close_after() noexcept = 0;        // the answer says `Connection: close`, nothing further is read
  virtual void abort() noexcept = 0;              // an answer that cannot be completed: the client sees a reset or a broken body
  virtual bool response_started() const noexcept = 0;   // bytes of a final head were handed out
  virtual uint64_t bytes_received() const noexcept = 0; // body bytes so far
  virtual uint64_t bytes_sent() const noexcept = 0;
  virtual std::pmr::memory_resource* arena() noexcept = 0;   // freed at the end of the exchange
};

// The mirror image towards upstream: one request on one connection.
class UpstreamExchange : public net::Cancellable {
 public:
  struct [[nodiscard]] Head {
    UpstreamExchange& from;
    net::Waiter waiter{};
    Result<ResponseHead*> result{};
    bool await_ready() { return from.start_head(*this); }
    void await_suspend(std::coroutine_handle<> h) noexcept { waiter = h; }
    Result<ResponseHead*> await_resume() { return result; }
  };
  virtual ~UpstreamExchange() = default;
  virtual Sender& request() noexcept = 0;
  // The next head: 1xx come first, loop until the final one (at most 16 of them, and 101 only if asked for). The head lives
  // until the next read_head or the end of the exchange. Errors carry Retry: kIfReused when the connection ended before any
  // byte of an answer, kNever when bytes came and were broken.
  Head read_head() noexcept { return {*this}; }
  virtual BodySource& response_body() noexcept = 0;
  virtual net::Stream& connection() noexcept = 0;

 private:
  virtual bool start_head(Head& head) = 0;
};

}  // namespace http
