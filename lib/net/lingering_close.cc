#include <algorithm>

#include "net/worker.h"

namespace net {

Task<> lingering_close(Stream& stream, size_t bytes, std::chrono::milliseconds time) {
  stream.shutdown_write();
  Deadline deadline(stream.worker(), stream);            // the stream is over in any case, so cancelling it is right
  deadline.arm(time, {.code = base::Code::kTimeout});
  for (size_t seen = 0; seen < bytes;) {
    auto piece = co_await stream.read();
    if (!piece || piece->empty()) break;
    seen += piece->size();
  }
}

}  // namespace net
