#include "net/mem_stream.h"

#include <algorithm>
#include <array>
#include <cassert>
#include <cerrno>
#include <cstring>

#include "net/pipe.h"
#include "net/slab.h"
#include "net/worker.h"

namespace net {
namespace {

class MemEnd final : public MemStream {
 public:
  MemEnd(Worker& worker, const MemPipe& options, bool is_a)
      : MemStream(worker), options_(options), is_a_(is_a), unread_(worker), inbox_(worker), unsent_(worker) {
    assert(options.capacity > 0 && options.max_read > 0);
  }
  ~MemEnd() override;
  static void join(MemEnd& a, MemEnd& b) noexcept {
    a.peer_ = &b;
    b.peer_ = &a;
  }

  void unread(Slice bytes) override {
    assert(!reading_);
    unread_.prepend(bytes);
  }
  bool splices() const noexcept override { return options_.splices && unread_.empty(); }
  bool readable() noexcept override { return cancelled() || broken() || fin_received_ || !unread_.empty() || !inbox_.empty(); }
  bool undelivered() noexcept override { return owes() || (peer_ && !peer_->inbox_.empty()); }
  void shutdown_write() noexcept override;
  void reset() noexcept override;
  base::SocketAddress local() const noexcept override { return is_a_ ? options_.a_address : options_.b_address; }
  base::SocketAddress peer() const noexcept override { return is_a_ ? options_.b_address : options_.a_address; }
  Result<base::OriginalDst> original_dst() const noexcept override;

  void fail_at(size_t operation, Error why) noexcept override {
    operations_ = 0;
    fail_at_ = operation;
    fail_why_ = why;
  }
  bool peer_gone() const noexcept override { return !peer_ || got_reset_; }
  bool got_reset() const noexcept override { return got_reset_; }
  size_t unread_bytes() const noexcept override { return inbox_.size(); }
  size_t came_by_pipe() const noexcept override { return by_pipe_; }
  size_t stuck_in_pipe() const noexcept override { return peer_ && peer_->drains() ? peer_->writing_->pipe->held() : 0; }

 private:
  bool start_read(ReadOp& op) override;
  bool start_write(WriteOp& op) override;
  void watch_changed() noexcept override { look(); }
  void on_cancel() noexcept override;

  bool broken() const noexcept { return was_reset_ || got_reset_; }
  bool fails_now() noexcept { return fail_at_ && ++operations_ >= fail_at_; }
  bool take(ReadOp& op);                 // true: op.result is set
  size_t room() const noexcept { return options_.capacity - std::min(options_.capacity, peer_->inbox_.size()); }
  size_t send(Slice bytes);              // into the peer's inbox, as much as fits
  size_t drain(Pipe& pipe);              // the same
  void flush();                          // the peer made room
  bool drains() const noexcept { return writing_ && writing_->pipe && writing_->pipe->held() > 0; }
  bool owes() const noexcept { return !unsent_.empty() || drains(); }
  void arrived() noexcept;               // something to read, or the end
  void look() noexcept;                  // for the watch
  void break_off() noexcept;             // both operations learn of a reset

  MemEnd* peer_ = nullptr;
  const MemPipe options_;
  const bool is_a_;
  Slab unread_, inbox_, unsent_;         // put back; written by the peer; not fitting into the peer's inbox
  size_t by_pipe_ = 0;
  size_t operations_ = 0, fail_at_ = 0;  // 0: never
  Error fail_why_{};
  bool fin_wanted_ = false;              // ours, behind what we owe
  bool fin_sent_ = false, fin_received_ = false;
  bool was_reset_ = false, got_reset_ = false;
  bool cut_ = false;                     // bytes were dropped by a cancellation: the peer must not take the end for a clean one
};

Error reset_error(int sys) { return {.code = base::Code::kReset, .sys = static_cast<uint16_t>(sys)}; }

MemEnd::~MemEnd() {
  if (!peer_) return;
  peer_->peer_ = nullptr;
  if (cut_) {
    peer_->got_reset_ = true;
    peer_->break_off();
    return;
  }
  peer_->fin_received_ = true;
  if (peer_->writing_) worker().ready(*peer_->writing_);   // its step sees that nobody will take the bytes
  peer_->arrived();
}

Result<base::OriginalDst> MemEnd::original_dst() const noexcept {
  if (is_a_) return options_.original_dst;
  return base::OriginalDst{.address = local()};
}

bool MemEnd::start_read(ReadOp& op) {
  if (fails_now()) {
    op.result = std::unexpected(fail_why_);
    return true;
  }
  if (take(op)) return true;
  op.step = [](Op& base) noexcept {
    auto& read = static_cast<ReadOp&>(base);
    auto& self = static_cast<MemEnd&>(*read.stream);
    if (self.cancelled() || self.take(read)) read.finish();
  };
  return false;
}

bool MemEnd::take(ReadOp& op) {
  if (broken()) {
    op.result = std::unexpected(reset_error(ECONNRESET));
    return true;
  }
  Slab& from = unread_.empty() ? inbox_ : unread_;
  if (from.empty()) {
    if (!fin_received_) return false;
    op.result = Borrowed();
    return true;
  }
  const auto scratch = worker().scratch();
  size_t n = std::min({from.size(), options_.max_read, scratch.size()});
  if (op.pipe && &from == &inbox_) {
    n = op.pipe->put(from.front().first(std::min(n, op.most)));
    op.result = Borrowed();
    if (n == 0) op.result = std::unexpected(reset_error(EIO));   // an empty pipe would say that the stream has ended
    from.consume(n);
  } else {
    std::memcpy(scratch.data(), from.front().data(), n);
    from.consume(n);
    op.result = worker().borrow_scratch(n);
  }
  if (&from == &inbox_ && peer_) peer_->flush();
  return true;
}

bool MemEnd::start_write(WriteOp& op) {
  if (fails_now()) {
    op.result = std::unexpected(fail_why_);
    return true;
  }
  if (broken() || !peer_ || fin_wanted_) {
    op.result = std::unexpected(reset_error(EPIPE));
    return true;
  }
  for (Slice bytes : {op.head, op.piece.bytes()}) unsent_.append(bytes.subspan(send(bytes)));
  if (drains() && unsent_.empty()) drain(*op.pipe);
  if (!owes()) return true;
  op.head = {};
  op.piece = {};
  op.step = [](Op& base) noexcept {
    auto& write = static_cast<WriteOp&>(base);
    auto& self = static_cast<MemEnd&>(*write.stream);
    if (self.broken() || (!self.peer_ && self.owes())) {
      write.result = std::unexpected(reset_error(ECONNRESET));
    } else if (self.owes() && !self.cancelled()) {
      return;
    }
    write.finish();
  };
  return false;
}

size_t MemEnd::send(Slice bytes) {
  if (!unsent_.empty() || bytes.empty()) return 0;
  const size_t n = std::min(room(), bytes.size());
  if (n == 0) return 0;
  peer_->inbox_.append(bytes.first(n));
  peer_->arrived();
  return n;
}

size_t MemEnd::drain(Pipe& pipe) {
  std::array<std::byte, 16 * 1024> through;   // not the scratch: the reader who made room may hold bytes of it
  size_t moved = 0;
  while (const size_t most = std::min({room(), pipe.held(), through.size()})) {
    const size_t n = pipe.take(std::span(through).first(most));
    if (n == 0) break;
    peer_->inbox_.append(std::span(through).first(n));
    moved += n;
  }
  peer_->by_pipe_ += moved;
  if (moved > 0) peer_->arrived();
  return moved;
}

void MemEnd::flush() {
  if (cut_) return;                           // nothing follows what was dropped, not even the end
  if (owes()) {
    size_t moved = std::min(room(), unsent_.size());
    if (moved > 0) {
      peer_->inbox_.append(unsent_.front().first(moved));
      unsent_.consume(moved);
      peer_->arrived();
    }
    if (unsent_.empty() && drains()) moved += drain(*writing_->pipe);
    if (moved == 0) return;
    drained_ = worker().now();
  }
  if (owes()) return;
  if (writing_) worker().ready(*writing_);
  if (fin_wanted_ && !fin_sent_) {
    fin_sent_ = true;
    peer_->fin_received_ = true;
    peer_->arrived();
  }
}

void MemEnd::arrived() noexcept {
  if (reading_) worker().ready(*reading_);
  look();
}

void MemEnd::look() noexcept {
  if (!watch_) return;
  if (broken()) {
    watch_->saw_error();
  } else if (!unread_.empty() || !inbox_.empty()) {
    watch_->saw_bytes();                 // they hide a FIN behind them, as in a socket
  } else if (fin_received_) {
    watch_->saw_fin();
  }
}

void MemEnd::shutdown_write() noexcept {
  if (fin_wanted_ || broken() || cut_) return;
  fin_wanted_ = true;
  if (peer_ && !owes()) flush();
}

void MemEnd::reset() noexcept {
  if (broken()) return;
  was_reset_ = true;
  break_off();
  if (!peer_) return;
  peer_->got_reset_ = true;
  peer_->break_off();
}

void MemEnd::break_off() noexcept {
  unsent_.clear();
  if (reading_) worker().ready(*reading_);
  if (writing_) worker().ready(*writing_);
  look();
}

void MemEnd::on_cancel() noexcept {
  if (owes()) cut_ = true;
  unsent_.clear();
  if (watch_) watch_->saw_error();   // whoever waits for somebody else meanwhile must learn that this end is gone
  if (reading_) worker().ready(*reading_);
  if (writing_) worker().ready(*writing_);
}

}  // namespace

std::pair<std::unique_ptr<MemStream>, std::unique_ptr<MemStream>> mem_pipe(Worker& worker, const MemPipe& options) {
  auto a = std::make_unique<MemEnd>(worker, options, true);
  auto b = std::make_unique<MemEnd>(worker, options, false);
  MemEnd::join(*a, *b);
  return {std::move(a), std::move(b)};
}

}  // namespace net
