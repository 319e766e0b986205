#pragma once

#include <cstddef>
#include <memory>
#include <utility>

#include "base/ip.h"
#include "net/stream.h"

namespace net {

// Two streams joined in memory, for tests: what one writes the other reads, through a buffer of `capacity` bytes each way, so
// that back-pressure, short writes and half-close are as on sockets. Both belong to one worker.
struct MemPipe {
  size_t capacity = 64 * 1024;
  size_t max_read = 128 * 1024;        // bytes of one read: 1 shows every split point
  bool splices = false;                // bulk passes through kernel pipes, as between sockets
  base::SocketAddress a_address{}, b_address{};
  base::OriginalDst original_dst{};    // what the `a` side reports (the proxy's end)
};

class MemStream : public Stream {
 public:
  // The n-th read or write from now on (1 = the next) fails with `why`, and all after it.
  virtual void fail_at(size_t operation, Error why) noexcept = 0;
  virtual bool peer_gone() const noexcept = 0;      // the other end was destroyed or reset
  virtual bool got_reset() const noexcept = 0;      // … by reset()
  virtual size_t unread_bytes() const noexcept = 0; // written by the peer and not read yet
  virtual size_t stuck_in_pipe() const noexcept = 0; // the peer writes them from a pipe, and they do not fit
  virtual size_t came_by_pipe() const noexcept = 0; // … and these did, since the beginning

 protected:
  using Stream::Stream;
};

std::pair<std::unique_ptr<MemStream>, std::unique_ptr<MemStream>> mem_pipe(Worker& worker, const MemPipe& options = {});

}  // namespace net
