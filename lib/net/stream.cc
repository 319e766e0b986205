#include "net/stream.h"

#include <cassert>
#include <chrono>
#include <cstdio>
#include <cstdlib>

#include "net/worker.h"

namespace net {

void Borrowed::late_use() noexcept {
  std::fputs("net::Borrowed used after its bytes were gone: it was kept across a suspension or another read\n", stderr);
  std::abort();
}

Borrowed Borrowed::first(size_t n) noexcept {
  assert(n <= size());
  Borrowed front;
  front.bytes_ = bytes_.first(n);
  front.owner_ = owner_;
  front.generation_ = generation_;
  bytes_ = bytes_.subspan(n);
  return front;
}

bool ReadOp::start() {
  assert(!attached && !queued && !stream->reading_);
  if (stream->cancelled()) {
    result = std::unexpected(stream->why());
    return true;
  }
  step = [](Op& op) noexcept { static_cast<ReadOp&>(op).finish(); };
  attached = true;
  stream->reading_ = this;
  if (!stream->start_read(*this)) {
    assert(!stream->watch_);
    return false;
  }
  attached = false;
  stream->reading_ = nullptr;
  return true;
}

void ReadOp::finish() noexcept {
  if (queued) leave_queue();             // e.g. cancelled, and the loop was faster
  if (stream->reading_ == this) stream->reading_ = nullptr;
  attached = false;
  if (stream->cancelled()) result = std::unexpected(stream->why());
  waiter.wake();
}

ReadOp::~ReadOp() {
  if (attached && stream->reading_ == this) stream->reading_ = nullptr;
}

bool WriteOp::start() {
  assert(!attached && !queued && !stream->writing_);
  if (stream->cancelled()) {
    result = std::unexpected(stream->why());
    return true;
  }
  step = [](Op& op) noexcept { static_cast<WriteOp&>(op).finish(); };
  result = {};
  attached = true;
  stream->writing_ = this;
  if (!stream->start_write(*this)) return false;
  attached = false;
  stream->writing_ = nullptr;
  return true;
}

void WriteOp::finish() noexcept {
  if (queued) leave_queue();             // e.g. cancelled, and the loop was faster
  if (stream->writing_ == this) stream->writing_ = nullptr;
  attached = false;
  if (stream->cancelled()) result = std::unexpected(stream->why());
  waiter.wake();
}

WriteOp::~WriteOp() {
  if (attached && stream->writing_ == this) stream->writing_ = nullptr;
}

Stream::~Stream() {
  // A stream that dies under an awaited operation is a defect of its owner; the operation at least never looks at it again.
  assert(!reading_ && !writing_);
  if (reading_) reading_->attached = false;
  if (writing_) writing_->attached = false;
  if (watch_) {
    watch_->disarm();
    watch_->stream_ = nullptr;
  }
}

CloseWatch::CloseWatch(Stream& stream, Cancellable& target, Error why, std::chrono::milliseconds after_fin, bool or_bytes) noexcept
    : Timer(stream.worker()), stream_(&stream), target_(target), why_(why), after_fin_(after_fin), or_bytes_(or_bytes) {
  assert(!stream.watch_ && !stream.reading_);
  stream.watch_ = this;
  stream.watch_changed();
}

CloseWatch::~CloseWatch() {
  if (!stream_) return;
  stream_->watch_ = nullptr;
  stream_->watch_changed();
}

void CloseWatch::saw_error() noexcept {
  disarm();
  target_.cancel(why_);
}

void CloseWatch::saw_fin() noexcept {
  if (after_fin_ == kNever) return;
  if (after_fin_.count() <= 0) {
    target_.cancel(why_);
  } else if (!armed()) {
    arm(after_fin_);
  }
}

void CloseWatch::fire() noexcept {
  const auto left = std::chrono::ceil<std::chrono::milliseconds>(stream_->last_drained() + after_fin_ - worker().now());
  if (left.count() > 0) arm(left);
  else target_.cancel(why_);
}

void CloseWatch::saw_bytes() noexcept {
  if (or_bytes_) target_.cancel(why_);
}

}  // namespace net
