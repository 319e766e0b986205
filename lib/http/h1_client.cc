#include <cstring>

#include "http/guard.h"
#include "http/h1.h"
#include "http/head_scan.h"
#include "http/wire.h"

namespace http {

using base::Code;
using base::Detail;
using base::Origin;
using base::Retry;

namespace {

// H17: more interim answers than anybody needs, few enough that a flood of them ends.
constexpr int kInterimAnswers = 16;

// What the answer's reader must know of the request.
struct Asked {
  bool head = false, upgrade = false, expects_continue = false;
};

class RequestWriter final : public Writer {
 public:
  RequestWriter(net::Stream& stream, const H1ClientOptions& options) noexcept : Writer(Side::kUpstream, stream), options_(options) {}
  const Asked& asked() const noexcept { return asked_; }
  // Everything that was promised upstream has been sent.
  bool whole() const noexcept { return complete() || (asked_.upgrade && head_written()); }
  bool tunnel() const noexcept { return mode() == Mode::kTunnel; }
  void open_tunnel() noexcept {
    framing(Mode::kTunnel);
    reopen();
  }

 private:
  Result<> encode_head(const Send& send, OutBuffer& out, size_t extra, bool& interim) override;
  const H1ClientOptions& options_;
  Asked asked_;
  uint64_t length_ = 0;
};

Result<> RequestWriter::encode_head(const Send& send, OutBuffer& out, size_t extra, bool&) {
  const Error broken{.code = Code::kProtocol, .origin = Origin::kLocal};
  if (!send.request || head_written()) return std::unexpected(broken);
  const RequestHead& head = *send.request;
  Hopwise hop{.preserve_case = options_.preserve_case};
  asked_ = {.head = head.method == "HEAD",
            .upgrade = !head.upgrade.empty(),
            .expects_continue = head.fields.find(base::FieldId::kExpect) != nullptr};
  if (asked_.upgrade) {
    framing(Mode::kNone);  // H15: bytes for the tunnel go out after a 101 and not before
  } else if (const auto declared = declared_length(head.fields)) {
    framing(Mode::kLength, *declared);
  } else if (head.fields.find(base::FieldId::kContentLength)) {
    return std::unexpected(broken);
  } else if (!send.end) {
    hop.chunked = true;
    framing(Mode::kChunked);
  } else {
    // RFC 9110 §8.6: a method that means to have a body says that it is empty.
    length_ = send.piece.size();
    if (length_ > 0 || head.method == "POST" || head.method == "PUT" || head.method == "PATCH") hop.length = &length_;
    framing(Mode::kLength, length_);
  }
  if (!encode_request(head, hop, out, extra)) return std::unexpected(broken);
  return {};
}

class ClientExchange final : public UpstreamExchange {
 public:
  ClientExchange(net::Stream& stream, net::Slab& surplus, const H1ClientOptions& options, std::pmr::memory_resource* arena) noexcept
      : stream_(stream),
        surplus_(surplus),
        options_(options),
        arena_(arena),
        request_(stream, options),
        body_(Side::kUpstream, stream, surplus) {}

  Sender& request() noexcept override { return request_; }
  BodySource& response_body() noexcept override { return body_; }
  net::Stream& connection() noexcept override { return stream_; }
  // Both messages whole; `reusable`: and nothing stands against another exchange on this connection.
  bool whole() const noexcept { return !cancelled() && final_ && request_.whole() && body_.ended() && !request_.failed(); }
  bool reusable() noexcept {
    body_.settle();
    return whole() && hop_.keep_alive && !request_.tunnel() && surplus_.empty();  // H18: surplus bytes are nobody's answer
  }

 private:
  bool start_head(Head& head) override;
  bool take(Head& head, Result<net::Borrowed> read);
  bool judge(Head& head, std::string_view bytes, bool in_surplus);
  bool accept(Head& head);
  bool fail(Head& head, Error why);
  bool protocol_error(Head& head) {
    return fail(head, {.code = Code::kProtocol, .origin = Origin::kUpstream, .detail = Detail::kUpstreamProtocolError});
  }
  void on_read();
  void on_cancel() noexcept override { stream_.cancel(why()); }

  net::Stream& stream_;
  net::Slab& surplus_;
  const H1ClientOptions& options_;
  std::pmr::memory_resource* arena_;
  RequestWriter request_;
  Body body_;
  HeadScan scan_;
  std::optional<ResponseHead> head_;
  Hop hop_;
  std::optional<Error> error_;
  std::optional<net::ReadOp> read_;
  Head* waiting_ = nullptr;
  int interims_ = 0;
  bool final_ = false;
};

bool ClientExchange::fail(Head& head, Error why) {
  error_ = why;
  head.result = std::unexpected(why);
  return true;
}

bool ClientExchange::start_head(Head& head) {
  if (error_) return fail(head, *error_);
  if (final_) return protocol_error(head);  // there is one final answer
  if (!surplus_.empty() && judge(head, net::text_of(surplus_.front()), true)) return true;
  for (;;) {
    read_.emplace(&stream_);
    read_->waiter = net::Waiter::to<&ClientExchange::on_read>(*this);
    if (!read_->start()) {
      waiting_ = &head;
      return false;
    }
    Result<net::Borrowed> read = std::move(read_->result);
    read_.reset();
    if (take(head, std::move(read))) return true;
  }
}

void ClientExchange::on_read() {
  Head* head = waiting_;
  for (;;) {
    Result<net::Borrowed> read = std::move(read_->result);
    read_.reset();
    if (take(*head, std::move(read))) break;
    read_.emplace(&stream_);
    read_->waiter = net::Waiter::to<&ClientExchange::on_read>(*this);
    if (!read_->start()) return;
  }
  waiting_ = nullptr;
  head->waiter.wake();
}

bool ClientExchange::take(Head& head, Result<net::Borrowed> read) {
  if (!read || read->empty()) {
    if (stream_.cancelled()) return fail(head, stream_.why());
    const bool untouched = surplus_.empty() && interims_ == 0;
    return fail(head, {.code = read ? Code::kEof : Code::kReset,
                       .origin = Origin::kUpstream,
                       .retry = untouched ? Retry::kIfReused : Retry::kNever,
                       .detail = Detail::kUpstreamTermination,
                       .sys = read ? uint16_t{0} : read.error().sys});
  }
  if (surplus_.empty()) return judge(head, net::text_of(read->bytes()), false);
  surplus_.append(read->bytes());
  return judge(head, net::text_of(surplus_.front()), true);
}

// Looks at bytes that begin with a head, and at those behind it as long as they are interim answers nobody waits for.
bool ClientExchange::judge(Head& head, std::string_view bytes, bool in_surplus) {
  using Kind = HeadScan::Verdict::Kind;
  for (;;) {
    const auto verdict = scan_.scan(bytes, options_.limits);
    if (verdict.kind == Kind::kRefused || verdict.skip > 0) return protocol_error(head);
    // What begins otherwise can never become an answer (HTTP/0.9, another protocol): waiting for the end of its head would
    // only hold the client.
    constexpr std::string_view kBeginning = "HTTP/1.";
    if (!kBeginning.starts_with(bytes.substr(0, kBeginning.size()))) return protocol_error(head);
    if (verdict.kind == Kind::kMore) {
      if (!in_surplus) surplus_.append(net::bytes_of(bytes));
      return false;
    }
    char* text = static_cast<char*>(arena_->allocate(verdict.end, 1));
    std::memcpy(text, bytes.data(), verdict.end);
    if (in_surplus) {
      surplus_.consume(verdict.end);
    } else {
      surplus_.append(net::bytes_of(bytes.substr(verdict.end)));
    }
    head_.emplace(arena_);
    hop_ = {};
    const Asked& asked = request_.asked();
    const ResponseRules rules{.preserve_case = options_.preserve_case, .to_head = asked.head, .upgrade_asked = asked.upgrade};
    const Detail fault = judge_response({text, verdict.end}, scan_.fields(), rules, *head_, hop_);
    scan_ = HeadScan{};
    if (fault != Detail::kNone) return protocol_error(head);
    if (accept(head)) return true;
    bytes = net::text_of(surplus_.front());
    in_surplus = true;
    if (bytes.empty()) return false;
  }
}

bool ClientExchange::accept(Head& head) {
  if (head_->status == 101) {
    final_ = true;
    hop_.keep_alive = false;
    request_.open_tunnel();
    body_.open_tunnel();
  } else if (head_->status < 200) {
    if (++interims_ > kInterimAnswers) return protocol_error(head);
    if (head_->status == 100 && !request_.asked().expects_continue) return false;  // nobody asked: RFC 9110 §15.2.1 allows to drop it
  } else {
    final_ = true;
    body_.start(hop_.framing, hop_.length, options_.limits, arena_);
  }
  head.result = &*head_;
  return true;
}

}  // namespace

class H1Client::Impl {
 public:
  Impl(net::Worker& worker, std::unique_ptr<net::Stream> s, const H1ClientOptions& o) : stream(std::move(s)), surplus(worker), options(o) {}
  std::unique_ptr<net::Stream> stream;
  net::Slab surplus;
  const H1ClientOptions options;
  std::optional<ClientExchange> exchange;
  uint64_t requests = 0;
};

H1Client::H1Client(net::Worker& worker, std::unique_ptr<net::Stream> stream, const H1ClientOptions& options)
    : impl_(std::make_unique<Impl>(worker, std::move(stream), options)) {}
H1Client::~H1Client() = default;

UpstreamExchange& H1Client::begin(std::pmr::memory_resource* arena) {
  ++impl_->requests;
  return impl_->exchange.emplace(*impl_->stream, impl_->surplus, impl_->options, arena);
}

bool H1Client::finish() noexcept {
  ClientExchange& exchange = *impl_->exchange;
  const bool whole = exchange.whole();
  // What the kernel got since the last read shows to whoever watches the idle connection; asking for it now would cost a call
  // for each request and leave the same race open.
  const bool again = exchange.reusable() && !impl_->stream->known_readable();
  impl_->exchange.reset();
  impl_->surplus.clear();
  if (!whole) impl_->stream->reset();
  return again;
}

net::Stream& H1Client::stream() noexcept { return *impl_->stream; }
uint64_t H1Client::requests() const noexcept { return impl_->requests; }

}  // namespace http
