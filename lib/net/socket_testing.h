#pragma once

#include <gtest/gtest.h>
#include <sys/socket.h>

#include <memory>
#include <string>
#include <utility>

#include "net/worker.h"

// What the socket tests share. Real sockets, real clock: a test runs its worker until every task has ended, and waits for
// nothing else. A hang is ended by ctest's limit.
namespace net::testing {

inline std::pair<std::unique_ptr<Stream>, std::unique_ptr<Stream>> socket_pair(Worker& worker) {
  int fds[2];
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds) != 0) ADD_FAILURE() << "socketpair";
  auto a = adopt_socket(worker, fds[0]);
  return {std::move(a), adopt_socket(worker, fds[1])};
}

inline void run_to_the_end(Worker& worker) {
  worker.when_idle([&worker] { worker.stop(); });
  worker.run();
}

inline base::SocketAddress loopback(bool v4 = true) { return {.ip = base::Ip::loopback(v4)}; }

// Connected TCP streams, the accepted one as Listener makes it.
struct TcpPair {
  explicit TcpPair(Worker& w, bool v4 = true) : worker(w) {
    Worker* const workers[] = {&w};
    auto opened = Listener::open(workers, loopback(v4), &TcpPair::take, this, {});
    if (!opened) {
      ADD_FAILURE() << "listen, errno " << opened.error().sys;
      return;
    }
    listener = std::move(*opened);
    listener->start();
    worker.spawn(connect());
    run_to_the_end(worker);
  }
  static Task<> take(Worker& worker, std::unique_ptr<Stream> stream, void* context) {
    auto& self = *static_cast<TcpPair*>(context);
    self.accepted = std::move(stream);
    if (self.connected) worker.stop();
    co_return;
  }
  Task<> connect() {
    Connector connector(worker, {.to = listener->address()});
    auto result = co_await connector;
    if (!result) {
      ADD_FAILURE() << "connect, errno " << result.error().sys;
      co_return;
    }
    connected = std::move(*result);
  }
  Worker& worker;
  std::unique_ptr<Listener> listener;
  std::unique_ptr<Stream> accepted, connected;
};

// Reads to the end of the stream.
struct Reading {
  std::string bytes;
  Result<> end;
  bool over = false;
};
inline Task<> read_all(Stream& stream, Reading& into) {
  for (;;) {
    auto piece = co_await stream.read();
    if (!piece) into.end = std::unexpected(piece.error());
    if (!piece || piece->empty()) break;
    into.bytes += text_of(piece->bytes());
  }
  into.over = true;
}

struct Writing {
  Result<> end;
  bool over = false;
};
inline Task<> write_text(Stream& stream, std::string text, Writing& into, bool then_fin = false) {
  into.end = co_await stream.write(Borrowed::of_static(text));
  into.over = true;
  if (then_fin) stream.shutdown_write();
}

struct Target final : Cancellable {
  explicit Target(Worker& w) : worker(w) {}
  void on_cancel() noexcept override { worker.stop(); }
  Worker& worker;
};

}  // namespace net::testing
