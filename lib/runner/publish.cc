#include "runner/publish.h"

#include <future>
#include <system_error>
#include <thread>

#include "net/worker.h"

namespace runner {
namespace {

constexpr Error kOver{.code = base::Code::kCancelled};

net::Task<> copy(net::Stream& from, net::Stream& to) {
  while (true) {
    auto piece = co_await from.read();
    if (!piece) break;
    if (piece->empty()) {
      to.shutdown_write();
      co_return;
    }
    auto written = co_await to.write(std::move(*piece));
    if (!written) break;
  }
  // One broken direction ends both, or the other would wait for ever.
  from.cancel(kOver);
  to.cancel(kOver);
}

class Forwarder final : public Publisher {
 public:
  Forwarder(const std::string& node, base::SocketAddress to) : node_(Netns::open(node)), to_(to) {}
  ~Forwarder() override {
    if (!thread_.joinable()) return;
    worker_.post([this] {
      listener_->close();
      for (net::Stream* stream : open_) stream->cancel(kOver);
      worker_.when_idle([this] { worker_.stop(); });
    });
    thread_.join();
  }

  std::string start(base::SocketAddress here) {
    // Opened by the calling thread: the listening socket stays in this namespace, whoever accepts from it.
    auto listener = net::Listener::open(workers_, here, &serve, this, {});
    if (!listener) return here.text() + ": " + std::generic_category().message(listener.error().sys);
    listener_ = std::move(*listener);
    std::promise<bool> entered;
    thread_ = std::thread([this, &entered] {
      const Inside inside(node_);
      entered.set_value(inside.ok());
      if (!inside.ok()) return;
      listener_->start();
      worker_.run();
      listener_.reset();
    });
    return entered.get_future().get() ? "" : "cannot enter the node's namespace";
  }

 private:
  static net::Task<> serve(net::Worker& worker, std::unique_ptr<net::Stream> near, void* context) {
    auto& self = *static_cast<Forwarder*>(context);
    net::ConnectTo target;
    target.to = self.to_;
    net::Connector connector(worker, target);
    auto far = co_await connector;
    if (!far) co_return near->reset();
    self.open_.push_back(near.get());
    self.open_.push_back(far->get());
    net::Stream &a = *near, &b = **far;
    co_await net::both(copy(a, b), copy(b, a));
    std::erase_if(self.open_, [&](const net::Stream* s) { return s == near.get() || s == far->get(); });
  }

  Netns node_;
  base::SocketAddress to_;
  net::Worker worker_{net::Worker::Options{.starts_programs = true}};   // `ip`, `nft` and the containers, on the main thread
  net::Worker* workers_[1]{&worker_};
  std::unique_ptr<net::Listener> listener_;
  std::vector<net::Stream*> open_;  // of this worker
  std::thread thread_;
};

}  // namespace

std::unique_ptr<Publisher> Publisher::open(const std::string& node, base::SocketAddress here, base::SocketAddress to, std::string& why) {
  auto forwarder = std::make_unique<Forwarder>(node, to);
  why = forwarder->start(here);
  if (!why.empty()) return nullptr;
  return forwarder;
}

}  // namespace runner
