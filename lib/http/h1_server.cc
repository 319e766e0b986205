#include <coroutine>
#include <cstring>

#include "http/arena.h"
#include "http/guard.h"
#include "http/h1.h"
#include "http/head_scan.h"
#include "http/wire.h"

namespace http {

using base::Code;
using base::Detail;
using base::Origin;
using namespace std::chrono_literals;

namespace {

// H19 and RFC 9112 §9.6: what a peer may still send after our last answer before it gets an RST.
constexpr size_t kLingerBytes = 64 * 1024;
constexpr auto kLingerTime = 5s;

struct Connection {  // what exchange and connection tell each other
  net::Stream& stream;
  const H1Options& options;
  bool draining = false;
};

class ResponseWriter final : public Writer {
 public:
  ResponseWriter(Connection& connection, const RequestHead& request, const Hop& hop, Body& body) noexcept
      : Writer(Side::kDownstream, connection.stream), connection_(connection), request_(request), hop_(hop), body_(body) {}
  bool closes() const noexcept { return closes_; }
  void close_after() noexcept { closes_ = true; }
  bool tunnel() const noexcept { return mode() == Mode::kTunnel; }
  bool ends_with_connection() const noexcept { return mode() == Mode::kUntilClose || tunnel(); }

 private:
  Result<> encode_head(const Send& send, OutBuffer& out, size_t extra, bool& interim) override;
  bool choose_framing(const Send& send, Hopwise& hop);
  Connection& connection_;
  const RequestHead& request_;
  const Hop& hop_;
  Body& body_;
  uint64_t length_ = 0;
  bool closes_ = false, continued_ = false;
};

// RFC 9112 §6.3, as the sender. False: the fields contradict themselves.
bool ResponseWriter::choose_framing(const Send& send, Hopwise& hop) {
  const ResponseHead& head = *send.response;
  if (request_.method == "HEAD" || head.status == 204 || head.status == 304) {
    hop.no_length = head.status == 204;
    framing(Mode::kNone);
    return true;
  }
  if (const auto declared = declared_length(head.fields)) {
    framing(Mode::kLength, *declared);
  } else if (head.fields.find(base::FieldId::kContentLength)) {
    return false;
  } else if (send.end) {
    length_ = send.piece.size();
    hop.length = &length_;
    framing(Mode::kLength, length_);
  } else if (request_.version == Version::kHttp10) {
    closes_ = true;
    framing(Mode::kUntilClose);
  } else {
    hop.chunked = true;
    framing(Mode::kChunked);
  }
  return true;
}

Result<> ResponseWriter::encode_head(const Send& send, OutBuffer& out, size_t extra, bool& interim) {
  const Error broken{.code = Code::kProtocol, .origin = Origin::kLocal};
  if (!send.response || head_written()) return std::unexpected(broken);
  const ResponseHead& head = *send.response;
  Hopwise hop{.preserve_case = connection_.options.preserve_case};
  if (head.status == 101) {
    if (request_.upgrade.empty() || head.upgrade.empty()) return std::unexpected(broken);
    hop.no_length = true;
    framing(Mode::kTunnel);
    closes_ = true;
    body_.open_tunnel();
  } else if (head.status < 200) {
    interim = hop.no_length = true;
    continued_ |= head.status == 100;
    if (request_.version == Version::kHttp10) return {};  // RFC 9110 §15.2: an HTTP/1.0 client knows no interim answers
  } else {
    if (!choose_framing(send, hop)) return std::unexpected(broken);
    body_.unhurried();
    // A client that still waits for 100 may or may not send its body now: nobody can tell, so the connection cannot go on.
    closes_ |=
        !hop_.keep_alive || connection_.draining || (hop_.expects_continue && !continued_ && !body_.ended() && body_.received() == 0);
    hop.close = closes_;
    hop.keep_alive = !closes_ && request_.version == Version::kHttp10;
  }
  if (!encode_response(head, hop, out, extra)) return std::unexpected(broken);
  return {};
}

class ServerExchange final : public DownstreamExchange {
 public:
  ServerExchange(Connection& connection, net::Slab& surplus, Arena& arena) noexcept
      : connection_(connection),
        arena_(arena),
        head_(&arena),
        body_(Side::kDownstream, connection.stream, surplus),
        response_(connection, head_, hop_, body_) {}

  RequestHead& request() noexcept override { return head_; }
  BodySource& request_body() noexcept override { return body_; }
  Sender& response() noexcept override { return response_; }
  net::Stream& connection() noexcept override { return connection_.stream; }
  const Error* error() const noexcept override { return error_.detail == Detail::kNone ? nullptr : &error_; }
  void close_after() noexcept override { response_.close_after(); }
  void abort() noexcept override { cancel({.code = Code::kReset, .origin = Origin::kLocal, .detail = Detail::kDownstreamLocalDisconnect}); }
  bool response_started() const noexcept override { return response_.head_written(); }
  uint64_t bytes_received() const noexcept override { return body_.received(); }
  uint64_t bytes_sent() const noexcept override { return response_.sent(); }
  std::pmr::memory_resource* arena() noexcept override { return &arena_; }

  void judge(std::span<char> head, size_t fields);
  void refuse(Detail detail) noexcept;
  void salvage(std::string_view bytes) { salvage_request_line(bytes, head_); }
  enum class After : uint8_t { kNextRequest, kLinger, kClose };
  After finish();

 private:
  void on_cancel() noexcept override;
  Connection& connection_;
  Arena& arena_;
  RequestHead head_;
  Hop hop_;
  Body body_;
  ResponseWriter response_;
  Error error_{};
};

void ServerExchange::judge(std::span<char> head, size_t fields) {
  const H1Options& options = connection_.options;
  const RequestRules rules{
      .path = options.path, .http10 = options.http10, .preserve_case = options.preserve_case, .secure = options.secure};
  const Detail fault = judge_request(head, fields, rules, head_, hop_);
  if (fault != Detail::kNone) return refuse(fault);
  body_.start(hop_.framing, hop_.length, options.limits, &arena_);
}

void ServerExchange::refuse(Detail detail) noexcept {
  error_ = {
      .code = detail == Detail::kRequestHeadTimeout ? Code::kTimeout : Code::kProtocol, .origin = Origin::kDownstream, .detail = detail};
  hop_.keep_alive = false;  // H19: one answer, nothing else is parsed
}

void ServerExchange::on_cancel() noexcept {
  // An early answer is whole: only the rest of the request is not wanted any more.
  if (response_.complete() && !response_.tunnel()) return body_.stop(why());
  // What was sent reaches the client, and a broken chunked or counted body shows by itself; the rest needs an RST.
  if (response_.head_written() && !response_.ends_with_connection()) {
    connection_.stream.shutdown_write();
  } else {
    connection_.stream.reset();
  }
  connection_.stream.cancel(why());
}

ServerExchange::After ServerExchange::finish() {
  if (!response_.complete() && !cancelled()) abort();
  if (connection_.stream.cancelled() || response_.tunnel()) return After::kClose;
  const bool read = !error() && !cancelled() && !body_.failed() && body_.drain(kLingerBytes);
  body_.settle();
  return read && !response_.closes() && !connection_.draining ? After::kNextRequest : After::kLinger;
}

}  // namespace

// One connection. While it waits for a request it holds this object and the frame of serve(); the exchange lies in the arena.
class H1Server::Impl final : private net::Timer, private net::Op {
 public:
  Impl(net::Worker& worker, net::Stream& stream, const H1Options& options) noexcept
      : Timer(worker),
        Op([](Op& op) noexcept { static_cast<Impl&>(op).wake(); }),
        connection_{stream, options},
        surplus_(worker),
        arena_(worker) {}
  ~Impl() { assert(!waiting_); }

  net::Task<> serve(Handle handle, void* context);
  void spend(std::chrono::milliseconds of_head) noexcept { head_spent_ = of_head; }
  void drain() noexcept;
  bool idle() const noexcept { return waiting_ && !scan_.began(); }
  uint64_t requests() const noexcept { return requests_; }

 private:
  struct NextRequest {  // ends with exchange_ set, or null: the connection is over
    Impl& server;
    bool await_ready() { return server.find_request(); }
    void await_suspend(std::coroutine_handle<> h) const noexcept { server.waiting_ = h; }
    void await_resume() const noexcept {}
  };
  bool find_request();
  bool read_more();  // true: decided
  bool take(Result<net::Borrowed> read);
  bool look(std::string_view bytes, bool in_surplus);
  ServerExchange& begin();
  void on_read();
  void fire() noexcept override;
  void wake() noexcept { std::exchange(waiting_, {}).resume(); }
  void end_exchange() noexcept;

  Connection connection_;
  net::Slab surplus_;  // read, but not of the request in hand; a head that is still arriving
  Arena arena_;
  HeadScan scan_;
  ServerExchange* exchange_ = nullptr;
  std::coroutine_handle<> waiting_;
  std::optional<net::ReadOp> read_;
  uint64_t requests_ = 0;
  std::chrono::milliseconds head_spent_{0};  // of the first head's time
  bool timing_head_ = false;
};

ServerExchange& H1Server::Impl::begin() {
  disarm();
  exchange_ = new (arena_.take(sizeof(ServerExchange), alignof(ServerExchange))) ServerExchange(connection_, surplus_, arena_);
  return *exchange_;
}

void H1Server::Impl::end_exchange() noexcept {
  exchange_->~ServerExchange();
  exchange_ = nullptr;
  arena_.release();
  scan_ = HeadScan{};
  timing_head_ = false;
  head_spent_ = {};
}

bool H1Server::Impl::look(std::string_view bytes, bool in_surplus) {
  using Kind = HeadScan::Verdict::Kind;
  const auto verdict = scan_.scan(bytes, connection_.options.limits);
  if (verdict.kind == Kind::kMore) {
    if (!in_surplus) surplus_.append(net::bytes_of(bytes));
    return false;
  }
  ServerExchange& exchange = begin();
  if (verdict.kind == Kind::kRefused) {
    exchange.salvage(bytes.substr(verdict.skip));
    exchange.refuse(verdict.refused);
    return true;
  }
  const size_t size = verdict.end - verdict.skip;
  char* text = static_cast<char*>(arena_.take(size, 1));
  std::memcpy(text, bytes.data() + verdict.skip, size);
  if (in_surplus) {
    surplus_.consume(verdict.end);
  } else {
    surplus_.append(net::bytes_of(bytes.substr(verdict.end)));
  }
  exchange.judge({text, size}, scan_.fields());
  return true;
}

bool H1Server::Impl::take(Result<net::Borrowed> read) {
  if (!read || read->empty()) return true;  // the peer left; half a head deserves no answer
  if (surplus_.empty()) return look(net::text_of(read->bytes()), false);
  surplus_.append(read->bytes());
  return look(net::text_of(surplus_.front()), true);
}

bool H1Server::Impl::read_more() {
  for (;;) {
    read_.emplace(&connection_.stream);
    read_->waiter = net::Waiter::to<&Impl::on_read>(*this);
    if (!read_->start()) {
      // H14: the time for the head runs from its first byte and no progress prolongs it.
      if (scan_.began() && !timing_head_) {
        timing_head_ = true;
        arm(connection_.options.limits.head_time - head_spent_);
      } else if (!armed()) {
        arm(connection_.options.limits.idle_time);
      }
      return false;
    }
    Result<net::Borrowed> read = std::move(read_->result);
    read_.reset();
    if (take(std::move(read))) return true;
  }
}

bool H1Server::Impl::find_request() {
  if (connection_.draining) return true;
  if (!surplus_.empty() && look(net::text_of(surplus_.front()), true)) return true;
  return read_more();
}

void H1Server::Impl::on_read() {
  Result<net::Borrowed> read = std::move(read_->result);
  read_.reset();
  if (take(std::move(read)) || read_more()) {
    disarm();
    wake();
  }
}

void H1Server::Impl::fire() noexcept {
  read_.reset();
  if (timing_head_) {
    ServerExchange& exchange = begin();
    exchange.salvage(net::text_of(surplus_.front()));
    exchange.refuse(Detail::kRequestHeadTimeout);
  }
  wake();  // an idle connection ends in silence
}

void H1Server::Impl::drain() noexcept {
  connection_.draining = true;
  if (!idle() || queued) return;
  read_.reset();
  disarm();
  worker().ready(*this);
}

net::Task<> H1Server::Impl::serve(Handle handle, void* context) {
  for (;;) {
    co_await NextRequest{*this};
    if (!exchange_) co_return;
    ++requests_;
    co_await handle(*exchange_, context);
    const auto after = exchange_->finish();
    end_exchange();
    if (after == ServerExchange::After::kClose) co_return;
    if (after == ServerExchange::After::kLinger) break;
  }
  surplus_.clear();
  co_await net::lingering_close(connection_.stream, kLingerBytes, kLingerTime);
}

H1Server::H1Server(net::Worker& worker, net::Stream& stream, const H1Options& options)
    : impl_(std::make_unique<Impl>(worker, stream, options)) {}
H1Server::~H1Server() = default;
net::Task<> H1Server::serve(Handle handle, void* context, std::chrono::milliseconds head_spent) {
  impl_->spend(head_spent);
  return impl_->serve(handle, context);
}
void H1Server::drain() noexcept { impl_->drain(); }
bool H1Server::idle() const noexcept { return impl_->idle(); }
uint64_t H1Server::requests() const noexcept { return impl_->requests(); }

}  // namespace http
