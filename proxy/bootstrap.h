#pragma once

#include "proxy/options.h"

namespace proxy {

// Runs the proxy until SIGTERM or SIGINT and a drain, or POST /quitquitquit. The exit code: 0 after a drain, 1 when a port
// cannot be opened (one line on stderr says which and why).
int run(const Options& options);

}  // namespace proxy
