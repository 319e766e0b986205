#include "upstream/dialer.h"

namespace upstream {
namespace {

class SocketDial final : public Dial {
 public:
  SocketDial(net::Worker& worker, const net::ConnectTo& to) : connector_(worker, to) {}

 private:
  bool start() override { return connector_.start(); }
  void wait(net::Waiter waiter) noexcept override { connector_.waiter = waiter; }
  Result<std::unique_ptr<net::Stream>> take() override { return connector_.take(); }
  void on_cancel() noexcept override { connector_.cancel(why()); }
  net::Connector connector_;
};

class SocketDialer final : public Dialer {
  std::unique_ptr<Dial> dial(net::Worker& worker, const net::ConnectTo& to) override { return std::make_unique<SocketDial>(worker, to); }
};

}  // namespace

Dialer& socket_dialer() noexcept {
  static SocketDialer dialer;
  return dialer;
}

}  // namespace upstream
