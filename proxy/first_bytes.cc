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

}  // namespace proxy
