#include "init/say.h"

#include <unistd.h>

#include <string>

namespace init {
namespace {
Severity g_least = Severity::kInfo;  // one thread, set by main before the first line
bool g_json = false;

std::string_view word(Severity severity) {
  switch (severity) {
    case Severity::kDebug:
      return "debug";
    case Severity::kInfo:
      return "info";
    case Severity::kWarning:
      return "warning";
    case Severity::kError:
      return "error";
  }
  return "?";
}
}  // namespace

void say_as(Severity least, bool json) noexcept {
  g_least = least;
  g_json = json;
}

void say_line(Severity severity, std::string_view message) {
  if (severity < g_least) return;
  std::string text;
  for (const char c : message) {
    if (g_json && (c == '"' || c == '\\')) text += '\\';
    text += static_cast<unsigned char>(c) < 0x20 ? ' ' : c;
  }
  while (text.ends_with(' ')) text.pop_back();
  const auto out = g_json ? fmt::format("{{\"level\":\"{}\",\"scope\":\"sluice-init\",\"msg\":\"{}\"}}\n", word(severity), text)
                   : severity == Severity::kInfo ? fmt::format("sluice-init: {}\n", text)
                                                 : fmt::format("sluice-init: {}: {}\n", word(severity), text);
  // A reader that went away must not change what the program does; main ignores SIGPIPE.
  [[maybe_unused]] const auto written = ::write(STDERR_FILENO, out.data(), out.size());
}

}  // namespace init
