#include "runner/http_client.h"

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstring>

#include <fmt/format.h>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

namespace runner {
namespace {

using Clock = std::chrono::steady_clock;
constexpr size_t kMaxAnswer = 16 * 1024 * 1024;

std::unexpected<Error> failed(base::Code code, int sys = 0) {
  return std::unexpected(Error{.code = code, .sys = static_cast<uint16_t>(sys)});
}

class Socket {
 public:
  Socket(const Netns& where, bool v4) {
    const Inside inside(where);
    if (inside.ok()) fd_ = ::socket(v4 ? AF_INET : AF_INET6, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  }
  Socket(const Socket&) = delete;
  ~Socket() {
    if (fd_ >= 0) ::close(fd_);
  }
  int fd() const { return fd_; }
  bool wait(short events, Clock::time_point until) const {
    while (true) {
      const auto left = std::chrono::ceil<std::chrono::milliseconds>(until - Clock::now()).count();
      if (left <= 0) return false;
      pollfd one{fd_, events, 0};
      const int ready = ::poll(&one, 1, static_cast<int>(left));
      if (ready > 0) return true;
      if (ready < 0 && errno != EINTR) return false;
    }
  }

 private:
  int fd_ = -1;
};

Result<> connect_to(const Socket& socket, const base::SocketAddress& to, Clock::time_point until) {
  sockaddr_storage storage{};
  socklen_t length = 0;
  if (to.ip.v4) {
    auto& address = reinterpret_cast<sockaddr_in&>(storage);
    address.sin_family = AF_INET;
    address.sin_port = htons(to.port);
    std::memcpy(&address.sin_addr, to.ip.bytes.data(), 4);
    length = sizeof address;
  } else {
    auto& address = reinterpret_cast<sockaddr_in6&>(storage);
    address.sin6_family = AF_INET6;
    address.sin6_port = htons(to.port);
    std::memcpy(&address.sin6_addr, to.ip.bytes.data(), 16);
    length = sizeof address;
  }
  if (socket.fd() < 0) return failed(base::Code::kInternal, errno);
  if (::connect(socket.fd(), reinterpret_cast<sockaddr*>(&storage), length) == 0) return {};
  if (errno != EINPROGRESS) return failed(base::Code::kConnect, errno);
  if (!socket.wait(POLLOUT, until)) return failed(base::Code::kTimeout);
  int error = 0;
  socklen_t size = sizeof error;
  ::getsockopt(socket.fd(), SOL_SOCKET, SO_ERROR, &error, &size);
  if (error != 0) return failed(base::Code::kConnect, error);
  return {};
}

Result<> send_all(const Socket& socket, std::string_view bytes, Clock::time_point until) {
  while (!bytes.empty()) {
    const ssize_t sent = ::send(socket.fd(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent > 0)
      bytes.remove_prefix(static_cast<size_t>(sent));
    else if (errno != EAGAIN)
      return failed(base::Code::kReset, errno);
    else if (!socket.wait(POLLOUT, until))
      return failed(base::Code::kTimeout);
  }
  return {};
}

Result<std::string> receive_all(const Socket& socket, Clock::time_point until) {
  std::string all;
  char buffer[65536];
  while (all.size() < kMaxAnswer) {
    const ssize_t got = ::recv(socket.fd(), buffer, sizeof buffer, 0);
    if (got > 0)
      all.append(buffer, static_cast<size_t>(got));
    else if (got == 0)
      return all;
    else if (errno != EAGAIN)
      return failed(base::Code::kReset, errno);
    else if (!socket.wait(POLLIN, until))
      return failed(base::Code::kTimeout);
  }
  return failed(base::Code::kTooLarge);
}

std::string dechunked(std::string_view rest) {
  std::string out;
  while (true) {
    const size_t line = rest.find("\r\n");
    size_t size = 0;
    if (line == std::string_view::npos || std::from_chars(rest.data(), rest.data() + line, size, 16).ec != std::errc{} || size == 0)
      return out;
    rest.remove_prefix(line + 2);
    out += rest.substr(0, size);
    rest.remove_prefix(std::min(rest.size(), size + 2));
  }
}

Result<HttpAnswer> parsed(const std::string& bytes) {
  HttpAnswer answer;
  const size_t end = bytes.find("\r\n\r\n");
  if (end == std::string::npos || !bytes.starts_with("HTTP/1.") || bytes.size() < 12) return failed(base::Code::kProtocol);
  std::from_chars(bytes.data() + 9, bytes.data() + 12, answer.status);
  std::string_view head = std::string_view(bytes).substr(0, end);
  bool first = true, chunked = false;
  while (!head.empty()) {
    const size_t line_end = head.find("\r\n");
    const std::string_view line = head.substr(0, line_end);
    head.remove_prefix(line_end == std::string_view::npos ? head.size() : line_end + 2);
    const size_t colon = line.find(':');
    if (!first && colon != std::string_view::npos) {
      std::string name(line.substr(0, colon));
      std::transform(name.begin(), name.end(), name.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
      std::string_view value = line.substr(colon + 1);
      while (value.starts_with(' ')) value.remove_prefix(1);
      if (name == "transfer-encoding" && value == "chunked") chunked = true;
      answer.headers.emplace_back(std::move(name), value);
    }
    first = false;
  }
  const std::string_view rest = std::string_view(bytes).substr(end + 4);
  answer.body = chunked ? dechunked(rest) : std::string(rest);
  return answer;
}

}  // namespace

std::string_view HttpAnswer::header(std::string_view lower) const {
  for (const auto& [name, value] : headers)
    if (name == lower) return value;
  return {};
}

Result<HttpAnswer> ask(const Netns& where, const HttpAsk& what) {
  const auto until = Clock::now() + what.within;
  const Socket socket(where, what.to.ip.v4);
  if (auto done = connect_to(socket, what.to, until); !done) return std::unexpected(done.error());
  std::string text = fmt::format("{} {} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n", what.method, what.path,
                                 what.host.empty() ? what.to.text() : what.host);
  for (const auto& [name, value] : what.headers) text += fmt::format("{}: {}\r\n", name, value);
  if (what.method != "GET") text += "content-length: 0\r\n";
  text += "\r\n";
  if (auto done = send_all(socket, text, until); !done) return std::unexpected(done.error());
  auto bytes = receive_all(socket, until);
  if (!bytes) return std::unexpected(bytes.error());
  return parsed(*bytes);
}

bool accepts(const Netns& where, const base::SocketAddress& at, std::chrono::milliseconds within) {
  const Socket socket(where, at.ip.v4);
  return connect_to(socket, at, Clock::now() + within).has_value();
}

}  // namespace runner
