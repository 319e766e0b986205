#include "ctl/say.h"

#include <cstdlib>

#include <limits.h>
#include <unistd.h>

#include "ctl/commands.h"

namespace ctl {

bool is_terminal(std::FILE* stream) { return ::isatty(::fileno(stream)) == 1; }

Style Style::of(std::FILE* stream) {
  if (!is_terminal(stream) || std::getenv("NO_COLOR")) return {};
  return {"\x1b[1m", "\x1b[2m", "\x1b[32m", "\x1b[31m", "\x1b[33m", "\x1b[36m", "\x1b[0m"};
}

std::string own_program() {
  char path[PATH_MAX];
  const ssize_t length = ::readlink("/proc/self/exe", path, sizeof path);
  return length > 0 ? std::string(path, static_cast<size_t>(length)) : "/usr/bin/sluice";
}

}  // namespace ctl
