#include "proxy/first_bytes.h"

namespace proxy {

FirstBytes::FirstBytes(net::Stream& downstream, net::Stream* upstream, std::chrono::milliseconds patience) noexcept
    : net::Op([](net::Op& op) noexcept {
        auto& self = static_cast<FirstBytes&>(op);
        if (self.waiter_) self.waiter_.resume();
      }),
      downstream_(downstream), upstream_(upstream), patience_(patience) {}

FirstBytes::~FirstBytes() = default;

bool FirstBytes::await_ready() {
  down_.emplace(&downstream_);
  down_->waiter = net::Waiter::to<&FirstBytes::from_downstream>(*this);
  if (down_->start()) return take(Who::kDownstream);
  if (upstream_) {
    up_.emplace(upstream_);
    up_->waiter = net::Waiter::to<&FirstBytes::from_upstream>(*this);
    if (up_->start()) return take(Who::kUpstream);
  }
  if (patience_.count() > 0) {
    deadline_.emplace(downstream_.worker(), *this);
    deadline_->arm(patience_, Error{.code = base::Code::kTimeout});
  }
  return false;
}

bool FirstBytes::take(Who who) {
  if (done_) return true;
  done_ = true;
  auto& op = who == Who::kDownstream ? *down_ : *up_;
  net::Stream& stream = who == Who::kDownstream ? downstream_ : *upstream_;
  auto result = std::move(op.result);
  outcome_.who = who;
  if (result) {
    outcome_.bytes = result->size();
    if (!result->empty()) stream.unread(result->bytes());
  } else {
    outcome_.bytes = std::unexpected(result.error());
  }
  // The other side's read is detached by destroying its operation: readiness that nobody took is remembered by the stream.
  if (who == Who::kDownstream) up_.reset();
  else down_.reset();
  if (deadline_) deadline_->disarm();
  return true;
}

void FirstBytes::from_downstream() {
  take(Who::kDownstream);
  wake();
}
void FirstBytes::from_upstream() {
  take(Who::kUpstream);
  wake();
}
void FirstBytes::on_cancel() noexcept {
  if (done_) return;
  done_ = true;
  down_.reset();
  up_.reset();
  wake();
}
void FirstBytes::wake() noexcept { downstream_.worker().ready(*this); }

Sniffing::Sniffing(net::Stream& stream, bool http10, std::chrono::milliseconds silence, std::chrono::milliseconds head_time) noexcept
    : net::Op([](net::Op& op) noexcept { static_cast<Sniffing&>(op).waiter_.resume(); }),
      stream_(stream), sniffer_(http10), silence_(silence), head_time_(head_time), seen_(stream.worker()), deadline_(stream.worker(), *this) {}

bool Sniffing::await_ready() {
  if (silence_.count() > 0) deadline_.arm(silence_, Error{.code = base::Code::kTimeout});
  return read_on();
}

Sniffing::Outcome Sniffing::await_resume() {
  stream_.unread(seen_.front());
  seen_.clear();
  return outcome_;
}

bool Sniffing::read_on() {
  for (;;) {
    read_.emplace(&stream_);
    read_->waiter = net::Waiter::to<&Sniffing::on_read>(*this);
    if (!read_->start()) return false;
    auto piece = std::move(read_->result);
    read_.reset();
    if (take(std::move(piece))) return true;
  }
}

bool Sniffing::take(Result<net::Borrowed> piece) {
  if (!piece) return finish(End::kBroken);
  if (piece->empty()) return finish(End::kEnded);
  const bool first = !outcome_.any, began = sniffer_.began();
  outcome_.any = true;
  seen_.append(piece->bytes());
  outcome_.says = sniffer_.look(seen_.front());
  const bool begins = sniffer_.began() && !began;
  if (begins) began_at_ = stream_.worker().now();
  if (outcome_.says != http::Sniffed::kNeedMore) return finish(End::kDecided);
  if (first || begins) deadline_.arm(head_time_, Error{.code = base::Code::kTimeout});
  return false;
}

bool Sniffing::finish(End end) noexcept {
  deadline_.disarm();
  outcome_.end = end;
  outcome_.in_request_line = sniffer_.in_request_line();
  if (sniffer_.began()) outcome_.spent = std::chrono::duration_cast<std::chrono::milliseconds>(stream_.worker().now() - began_at_);
  return true;
}

void Sniffing::on_read() {
  auto piece = std::move(read_->result);
  read_.reset();
  if (take(std::move(piece)) || read_on()) stream_.worker().ready(*this);
}

void Sniffing::on_cancel() noexcept {
  if (!read_) return;                  // it is over already, and the turn that says so is on its way
  read_.reset();
  finish(outcome_.any ? End::kTooSlow : End::kSilent);
  stream_.worker().ready(*this);
}

}  // namespace proxy
