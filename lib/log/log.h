#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include <fmt/format.h>

// The namespace is not called log: <math.h> owns that name.
namespace logs {

enum class Level : uint8_t { kTrace, kDebug, kInfo, kWarning, kError, kOff };
// Who speaks; /logging changes the level of each by name.
enum class Component : uint8_t { kMain, kConfig, kRouting, kHttp, kUpstream, kNet, kAdmin, kInit, kCount };

std::string_view name_of(Level level) noexcept;           // "info"
std::string_view name_of(Component component) noexcept;   // "config"
bool parse(std::string_view text, Level& level) noexcept;

// One destination for lines: a writer thread owns the file descriptor; producers append to a bounded ring each and never
// block: a full ring drops the line and counts it. A line is one record, newline included.
class Sink {
 public:
  // Writes to `path` ("/dev/stdout" and "/dev/stderr" mean the process's own). The file is opened for appending and may be a
  // stalled pipe: only the writer thread waits for it. Never fails: what cannot be opened is said once on stderr and drops.
  static std::unique_ptr<Sink> open(const std::string& path, size_t ring_bytes = 1 << 20);
  virtual ~Sink() = default;                              // writes what is in the rings, for at most one second
  virtual void write(std::string_view line) noexcept = 0; // any thread; a ring per thread
  virtual uint64_t dropped() const noexcept = 0;
  virtual uint64_t written() const noexcept = 0;
  virtual void reopen() noexcept = 0;                     // after log rotation (POST /reopen_logs)
  // Writes what is in the rings, for at most one second, and ends the writer; lines that come later are lost. The destructor
  // does it too, but while threads may still write only this is allowed.
  virtual void finish() noexcept {}
};

// The process's own log, on stderr. `json` is --log-format json. Call once before any thread starts; without it lines go to
// stderr directly.
void start(Level level, bool json);
void stop();                                              // writes what is left; other threads may still log: directly then
void set_level(Component component, Level level) noexcept;
void set_level(Level level) noexcept;                     // of all
Level level(Component component) noexcept;
inline bool enabled(Component component, Level at) noexcept { return at >= level(component); }

// "2026-11-21T10:11:12.345Z info config message". Formats on the calling thread, hands over to the writer thread.
void line(Component component, Level at, std::string_view message) noexcept;

template <class... A> void write(Component component, Level at, fmt::format_string<A...> format, A&&... arguments) {
  if (enabled(component, at)) line(component, at, fmt::format(format, std::forward<A>(arguments)...));
}
template <class... A> void debug(Component c, fmt::format_string<A...> f, A&&... a) { write(c, Level::kDebug, f, std::forward<A>(a)...); }
template <class... A> void info(Component c, fmt::format_string<A...> f, A&&... a) { write(c, Level::kInfo, f, std::forward<A>(a)...); }
template <class... A> void warn(Component c, fmt::format_string<A...> f, A&&... a) { write(c, Level::kWarning, f, std::forward<A>(a)...); }
template <class... A> void error(Component c, fmt::format_string<A...> f, A&&... a) { write(c, Level::kError, f, std::forward<A>(a)...); }

// Lets something through at most once per second ("every limit has a log line at most once a second").
class OncePerSecond {
 public:
  bool pass() noexcept;

 private:
  std::atomic<int64_t> last_{0};
};

}  // namespace logs
