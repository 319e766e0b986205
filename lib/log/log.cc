#include "log/log.h"

#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <climits>

#include "log/own.h"

namespace logs {
namespace {

constexpr std::array<std::string_view, 6> kLevels{"trace", "debug", "info", "warning", "error", "off"};
constexpr std::array<std::string_view, static_cast<size_t>(Component::kCount)> kComponents{"main", "config", "routing", "http",
                                                                                           "upstream", "net", "admin", "init"};

// Relaxed everywhere: a level that arrives a line later is no harm.
struct Levels {
  std::array<std::atomic<Level>, kComponents.size()> of;
  Levels() {
    for (auto& one : of) one.store(Level::kInfo, std::memory_order_relaxed);
  }
};
Levels& levels() noexcept {
  static Levels all;
  return all;
}

// Set by start and stop; other threads may log while main stops. Release by who sets, acquire by who writes. A sink that was
// stopped is not destroyed before the next start: somebody may just be inside its write().
std::atomic<Sink*> own_sink{nullptr};
std::atomic<bool> own_json{false};
std::unique_ptr<Sink>& owner() {
  static auto* const sink = new std::unique_ptr<Sink>;   // survives static destructors, as threads may
  return *sink;
}

// Before start() and after stop(). A reader that stalls costs the line: asks for room first and writes no more than poll has
// promised.
void write_directly(std::string_view text) noexcept {
  pollfd room{STDERR_FILENO, POLLOUT, 0};
  if (::poll(&room, 1, 0) != 1) return;
  [[maybe_unused]] const ssize_t ignored = ::write(STDERR_FILENO, text.data(), std::min<size_t>(text.size(), PIPE_BUF));
}

// UTF-8 passes. Control characters are written as text: a header value in a message must not be able to begin a line of its
// own or to steer a terminal.
void append_plain(std::string& out, std::string_view text) {
  for (const char c : text) {
    if (c == '\n')
      out += "\\n";
    else if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f)
      fmt::format_to(std::back_inserter(out), "\\x{:02x}", static_cast<unsigned char>(c));
    else
      out += c;
  }
}

// How many bytes the UTF-8 sequence at the front of `text` has; 0 when it is none.
size_t utf8(std::string_view text) noexcept {
  const auto byte = [text](size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char first = byte(0);
  const size_t size = first < 0x80 ? 1 : first >= 0xc2 && first < 0xe0 ? 2 : first >= 0xe0 && first < 0xf0 ? 3 : first >= 0xf0 && first < 0xf5 ? 4 : 0;
  if (size == 0 || size > text.size()) return 0;
  for (size_t i = 1; i < size; ++i)
    if ((byte(i) & 0xc0) != 0x80) return 0;
  if (size < 3) return size;
  // Overlong forms, surrogates, beyond U+10FFFF (RFC 3629 §4).
  const unsigned char second = byte(1);
  if ((first == 0xe0 && second < 0xa0) || (first == 0xed && second >= 0xa0) || (first == 0xf0 && second < 0x90) || (first == 0xf4 && second >= 0x90)) return 0;
  return size;
}

void append_json(std::string& out, std::string_view text) {
  while (!text.empty()) {
    const size_t size = utf8(text);
    const char c = text[0];
    if (size == 0) {
      out += "\\ufffd";
    } else if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (size == 1 && (static_cast<unsigned char>(c) < 0x20 || c == 0x7f)) {
      fmt::format_to(std::back_inserter(out), "\\u{:04x}", static_cast<unsigned char>(c));
    } else {
      out += text.substr(0, size);
    }
    text.remove_prefix(std::max<size_t>(size, 1));
  }
}

void append_time(std::string& out, std::chrono::system_clock::time_point at) {
  using namespace std::chrono;
  const auto day = floor<days>(at);
  const year_month_day date(day);
  const hh_mm_ss time(floor<milliseconds>(at - day));
  fmt::format_to(std::back_inserter(out), "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}Z", static_cast<int>(date.year()), static_cast<unsigned>(date.month()),
                 static_cast<unsigned>(date.day()), time.hours().count(), time.minutes().count(), time.seconds().count(), time.subseconds().count());
}

}  // namespace

std::string own_line(std::chrono::system_clock::time_point at, Component component, Level level, std::string_view message, bool json) {
  std::string out;
  out.reserve(message.size() + 64);
  if (!json) {
    append_time(out, at);
    fmt::format_to(std::back_inserter(out), " {} {} ", name_of(level), name_of(component));
    append_plain(out, message);
    out += '\n';
    return out;
  }
  out += "{\"level\":\"";
  out += name_of(level);
  out += "\",\"time\":\"";
  append_time(out, at);
  out += "\",\"scope\":\"";
  out += name_of(component);
  out += "\",\"msg\":\"";
  append_json(out, message);
  out += "\"}\n";
  return out;
}

std::string_view name_of(Level level) noexcept { return kLevels[std::min(static_cast<size_t>(level), kLevels.size() - 1)]; }
std::string_view name_of(Component component) noexcept { return kComponents[std::min(static_cast<size_t>(component), kComponents.size() - 1)]; }

bool parse(std::string_view text, Level& level) noexcept {
  // Envoy's and Istio's other spellings of --log-level and /logging.
  if (text == "warn") text = "warning";
  if (text == "err" || text == "critical" || text == "fatal") text = "error";
  if (text == "none") text = "off";
  for (size_t i = 0; i < kLevels.size(); ++i) {
    if (text != kLevels[i]) continue;
    level = static_cast<Level>(i);
    return true;
  }
  return false;
}

void start(Level level, bool json) {
  set_level(level);
  own_json.store(json, std::memory_order_relaxed);
  auto sink = Sink::open("/dev/stderr");
  own_sink.store(sink.get(), std::memory_order_release);
  owner() = std::move(sink);
}

void stop() {
  own_sink.store(nullptr, std::memory_order_release);
  if (owner()) owner()->finish();
}

void set_level(Component component, Level level) noexcept {
  if (component < Component::kCount) levels().of[static_cast<size_t>(component)].store(level, std::memory_order_relaxed);
}
void set_level(Level level) noexcept {
  for (auto& one : levels().of) one.store(level, std::memory_order_relaxed);
}
Level level(Component component) noexcept {
  return component < Component::kCount ? levels().of[static_cast<size_t>(component)].load(std::memory_order_relaxed) : Level::kOff;
}

void line(Component component, Level at, std::string_view message) noexcept {
  const std::string text = own_line(std::chrono::system_clock::now(), component, at, message, own_json.load(std::memory_order_relaxed));
  if (Sink* sink = own_sink.load(std::memory_order_acquire))
    sink->write(text);
  else
    write_directly(text);
}

bool OncePerSecond::pass() noexcept {
  const int64_t now = std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::steady_clock::now().time_since_epoch()).count();
  int64_t last = last_.load(std::memory_order_relaxed);
  // 0: never. Of several threads at the same moment exactly one wins the exchange; nothing else is ordered by it.
  return (last == 0 || now - last >= 1000) && last_.compare_exchange_strong(last, now, std::memory_order_relaxed);
}

}  // namespace logs
