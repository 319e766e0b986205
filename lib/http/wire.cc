#include "http/wire.h"

#include <algorithm>
#include <charconv>

#include "net/pipe.h"

namespace http {

using namespace std::chrono_literals;
using base::Code;
using base::Detail;
using base::Origin;
using base::Retry;

namespace {

Error ours() noexcept { return {.code = Code::kProtocol, .origin = Origin::kLocal}; }

// The bytes of a Borrowed lie in the worker's scratch or in our slab: memory that is ours to change until the next read.
std::span<char> writable(net::Slice bytes) noexcept {
  return {const_cast<char*>(reinterpret_cast<const char*>(bytes.data())), bytes.size()};
}

// A transport's error as seen by an exchange: whose connection it was. A cancellation keeps the reason it came with.
Error seen_from(Side side, const net::Stream& stream, Error error, Detail upstream) noexcept {
  if (stream.cancelled()) return stream.why();
  error.origin = side == Side::kDownstream ? Origin::kDownstream : Origin::kUpstream;
  error.detail = side == Side::kDownstream ? Detail::kDownstreamDisconnect : upstream;
  error.retry = Retry::kNever;
  return error;
}

}  // namespace

// Long enough that a lossy link, which stalls for seconds and then delivers much, is no slow client.
constexpr std::chrono::milliseconds kPaceWindow = 30s;

void Pace::stop() noexcept {
  limits_ = nullptr;
  disarm();
}

void Pace::waits() noexcept {
  if (!limits_) return;
  const auto now = worker().now();
  if (!waiting_) silent_since_ = now;
  waiting_ = true;
  counted_until_ = now;
  arm_next();
}

void Pace::count_waiting() noexcept {
  const auto now = worker().now();
  if (bytes_ > 0) waited_ += std::chrono::duration_cast<std::chrono::milliseconds>(now - counted_until_);
  counted_until_ = now;
}

void Pace::came(size_t bytes) noexcept {
  if (!limits_) return;
  if (waiting_) {
    disarm();
    count_waiting();
    waiting_ = false;
  }
  bytes_ += bytes;
}

void Pace::arm_next() noexcept {
  auto next = std::chrono::milliseconds::max();
  if (limits_->body_idle_time > 0ms)
    next = limits_->body_idle_time - std::chrono::duration_cast<std::chrono::milliseconds>(worker().now() - silent_since_);
  if (limits_->body_bytes_per_second > 0 && bytes_ > 0) next = std::min(next, kPaceWindow - waited_);
  if (next != std::chrono::milliseconds::max()) arm(next);
}

void Pace::fire() noexcept {
  count_waiting();
  const bool silent = limits_->body_idle_time > 0ms && worker().now() - silent_since_ >= limits_->body_idle_time;
  const bool over = bytes_ > 0 && waited_ >= kPaceWindow;
  const uint64_t wanted = limits_->body_bytes_per_second * static_cast<uint64_t>(kPaceWindow / 1s);
  if (silent || (over && bytes_ < wanted)) return body_.too_slow();
  if (over) {
    waited_ = {};
    bytes_ = 0;
  }
  arm_next();
}

void Body::too_slow() noexcept { stop({.code = Code::kTimeout, .origin = Origin::kDownstream, .detail = Detail::kRequestBodyTimeout}); }

void Body::start(Framing framing, uint64_t length, const Limits& limits, std::pmr::memory_resource* arena) {
  decoder_.start(framing, length, limits, arena);
  if (side_ == Side::kDownstream) pace_.start(limits);
  prime();
}

void Body::open_tunnel() {
  unhurried();
  settle();
  static constexpr Limits kNoLimits{};
  decoder_.start(Framing::kUntilClose, 0, kNoLimits, nullptr);
  prime();
}

void Body::prime() {
  primed_ = {};
  if (surplus_.empty() || decoder_.ended()) return;
  if (const Detail fault = decoder_.decode(writable(surplus_.front()), primed_); fault != Detail::kNone) return fail(fault);
  if (primed_.size > 0) return;
  surplus_.consume(primed_.consumed);
  primed_ = {};
}

void Body::settle() noexcept {
  surplus_.consume(given_);
  given_ = 0;
}

std::optional<uint64_t> Body::remaining() const noexcept {
  const auto left = decoder_.remaining();
  return left ? std::optional(*left + primed_.size) : std::nullopt;
}

void Body::fail(Detail detail) noexcept {
  error_ = side_ == Side::kDownstream
               ? Error{.code = Code::kProtocol, .origin = Origin::kDownstream, .detail = detail}
               : Error{.code = Code::kProtocol, .origin = Origin::kUpstream, .detail = Detail::kUpstreamBrokenProtocol};
  primed_ = {};
}

Error Body::at_end_early() const noexcept {
  return side_ == Side::kDownstream ? Error{.code = Code::kEof, .origin = Origin::kDownstream, .detail = Detail::kHttp1BodyUnfinished}
                                    : Error{.code = Code::kEof, .origin = Origin::kUpstream, .detail = Detail::kUpstreamBroken};
}

bool Body::start_next(Next& next) {
  settle();
  if (error_) {
    next.result = std::unexpected(*error_);
    return true;
  }
  if (primed_.size > 0) {
    net::Borrowed piece = surplus_.borrow(primed_.begin + primed_.size);
    (void)piece.first(primed_.begin);
    given_ = primed_.consumed;
    received_ += primed_.size;
    primed_ = {};
    next.result = std::move(piece);
    return true;
  }
  if (decoder_.ended()) {
    next.result = net::Borrowed();
    return true;
  }
  for (;;) {
    if (!begin_read(next)) {
      next_ = &next;
      pace_.waits();
      return false;
    }
    Result<net::Borrowed> read = std::move(read_->result);
    read_.reset();
    if (take(next, std::move(read))) return true;
  }
}

bool Body::begin_read(Next& next) {
  const size_t most = next.pipe ? static_cast<size_t>(std::min<uint64_t>(next.pipe->capacity(), *decoder_.remaining())) : 0;
  read_.emplace(&stream_, next.pipe, most);
  read_->waiter = net::Waiter::to<&Body::on_read>(*this);
  return read_->start();
}

// Less than this the pipe does not pay (performance.md §8.6).
constexpr uint64_t kBulk = 256 * 1024;

bool Body::bulk() const noexcept {
  return decoder_.remaining().value_or(0) >= kBulk && primed_.size == 0 && given_ == 0 && surplus_.empty() && !error_ && stream_.splices();
}

bool Body::take(Next& next, Result<net::Borrowed> read) {
  const size_t came = !read ? 0 : next.pipe ? next.pipe->held() : read->size();
  pace_.came(came);
  if (read && next.pipe && came > 0) {
    decoder_.skip(came);
    received_ += came;
    next.result = net::Borrowed();
    return true;
  }
  if (!read) {
    error_ = seen_from(side_, stream_, read.error(), Detail::kUpstreamBroken);
  } else if (read->empty()) {
    if (decoder_.end_of_stream() == Detail::kNone) {
      next.result = net::Borrowed();
      return true;
    }
    error_ = at_end_early();
  } else {
    BodyDecoder::Piece piece;
    const auto bytes = writable(read->bytes());
    const Detail fault = decoder_.decode(bytes, piece);
    if (fault == Detail::kNone) {
      if (piece.consumed < bytes.size()) surplus_.append(std::as_bytes(bytes.subspan(piece.consumed)));
      if (piece.size == 0 && !decoder_.ended()) return false;
      (void)read->first(piece.begin);
      received_ += piece.size;
      next.result = read->first(piece.size);
      return true;
    }
    fail(fault);
  }
  next.result = std::unexpected(*error_);
  return true;
}

void Body::on_read() {
  Next* next = next_;
  for (;;) {
    Result<net::Borrowed> read = std::move(read_->result);
    read_.reset();
    if (take(*next, std::move(read))) break;
    if (!begin_read(*next)) return pace_.waits();
  }
  next_ = nullptr;
  next->waiter.wake();
}

void Body::stop(Error why) noexcept {
  pace_.stop();
  if (!error_) error_ = why;
  if (!next_ || queued) return;
  read_.reset();
  stream_.worker().ready(*this);
}

void Body::stopped() {
  Next* next = std::exchange(next_, nullptr);
  next->result = std::unexpected(*error_);
  next->waiter.wake();
}

bool Body::drain(size_t at_most) {
  const uint64_t until = received_ + at_most;
  while (!ended() && !error_ && received_ < until && (ready() || stream_.readable())) {
    Next next = this->next();
    if (start_next(next)) continue;
    read_.reset();
    next_ = nullptr;
    break;
  }
  return ended();
}

std::optional<uint64_t> Writer::declared_length(const base::Fields& fields) const noexcept {
  const auto* field = fields.find(base::FieldId::kContentLength);
  if (!field) return std::nullopt;
  uint64_t length = 0;
  const auto end = field->value.data() + field->value.size();
  const auto parsed = std::from_chars(field->value.data(), end, length);
  return parsed.ec == std::errc() && parsed.ptr == end ? std::optional(length) : std::nullopt;
}

// Up to here a piece is copied behind its head: that costs less than to gather two buffers in the kernel.
constexpr size_t kCopied = 4096;

// Everything of `send` that is not the piece itself goes into `out`. The piece does too where it is short, and in chunked
// messages always, since its CR LF stands behind it and one message part is one write. What was copied leaves `send`.
Result<> Writer::frame(Send& send, OutBuffer& out, bool& nothing) {
  const size_t size = send.pipe ? send.pipe->held() : send.piece.size();
  interim_ = false;
  if (send.request || send.response) {
    if (auto encoded = encode_head(send, out, size <= kCopied ? size + 64 : 64, interim_); !encoded) return encoded;
    if (interim_) {
      nothing = out.text().empty();
      return {};
    }
  } else if (!head_written_ || (complete_ && (size > 0 || send.trailers))) {
    return std::unexpected(ours());
  }
  switch (mode_) {
    case Mode::kNone:
      if (side_ == Side::kUpstream && size > 0) return std::unexpected(ours());  // e.g. bytes for a tunnel that is not open
      break;
    case Mode::kLength:
      if (size > left_ || (send.end && size < left_)) return std::unexpected(ours());  // the promise would be broken
      left_ -= size;
      break;
    case Mode::kChunked:
      out.reserve(size + 64);
      if (size > 0) {
        out.put_chunk_size(size);
        out.put(net::text_of(send.piece.bytes()));
        out.put("\r\n");
      }
      if (!send.end || complete_) break;
      out.put("0\r\n");
      if (!encode_trailers(send.trailers, false, out)) return std::unexpected(ours());
      break;
    case Mode::kUntilClose:
    case Mode::kTunnel:
      break;
  }
  sent_ += mode_ == Mode::kNone ? 0 : size;
  if (mode_ == Mode::kLength && !out.text().empty() && size <= kCopied && !send.pipe) {
    out.put(net::text_of(send.piece.bytes()));
    send.piece = {};
  } else if (mode_ == Mode::kNone || mode_ == Mode::kChunked) {
    send.piece = {};
  }
  nothing = out.text().empty() && (size == 0 || mode_ == Mode::kNone);
  return {};
}

bool Writer::start_send(Send& send) {
  if (failed_) {
    send.result = std::unexpected(stream_.cancelled() ? stream_.why() : Error{.code = Code::kReset, .origin = Origin::kLocal});
    return true;
  }
  OutBuffer out(stream_.worker());
  bool nothing = false;
  if (auto framed = frame(send, out, nothing); !framed) return finish_send(send, framed);
  if (nothing) return finish_send(send, {});
  if (!interim_) head_written_ = true;
  write_.emplace(&stream_, out.bytes(), std::move(send.piece), send.pipe);
  write_->waiter = net::Waiter::to<&Writer::on_written>(*this);
  if (!write_->start()) {
    send_ = &send;
    return false;
  }
  const Result<> result = write_->result;
  write_.reset();
  return finish_send(send, result);
}

void Writer::on_written() {
  Send* send = send_;
  send_ = nullptr;
  const Result<> result = write_->result;
  write_.reset();
  finish_send(*send, result);
  send->waiter.wake();
}

bool Writer::finish_send(Send& send, Result<> result) {
  if (!result) {
    failed_ = true;
    Error why = result.error();
    if (why != ours()) {
      why = seen_from(side_, stream_, why, Detail::kUpstreamTermination);
      // A kept connection may have died while it was idle; whether a byte of an answer came is for the reader of the head to say.
      if (side_ == Side::kUpstream && !stream_.cancelled()) why.retry = Retry::kIfReused;
    }
    send.result = std::unexpected(why);
    return true;
  }
  if (send.end && !interim_ && !complete_) {
    complete_ = true;
    if (mode_ == Mode::kTunnel) stream_.shutdown_write();
  }
  send.result = {};
  return true;
}

}  // namespace http
