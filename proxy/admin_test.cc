#include "proxy/admin.h"

#include <gtest/gtest.h>

#include "net/mem_stream.h"

namespace proxy {
namespace {
using namespace std::chrono_literals;

net::Task<> say(net::Stream& stream, std::string_view text) { (void)co_await stream.write(net::Borrowed::of_static(text)); }
net::Task<> read_some(net::Stream& stream) { (void)co_await stream.read(); }

// The metrics port with a page of about 100 KB and a client whose window takes 4 KB of it.
class MetricsPage : public testing::Test {
 protected:
  MetricsPage() {
    for (int i = 0; i < 2000; ++i) registry_shard_.counter("requests_total", {{"number", std::to_string(i)}});
    auto [client, server] = net::mem_pipe(worker_, {.capacity = 4096, .max_read = 512});
    client_ = std::move(client);
    worker_.spawn(serve_metrics(worker_, std::move(server), &admin_));
    worker_.spawn(say(*client_, "GET /stats/prometheus HTTP/1.1\r\nHost: pod\r\n\r\n"));
    worker_.poll();
  }
  ~MetricsPage() override {
    client_.reset();
    worker_.poll();
    EXPECT_EQ(worker_.tasks(), 0u) << "somebody still waits";
  }

  net::Worker worker_{{.manual_clock = true}};
  Options options_;
  Shared shared_{options_};
  stats::Registry registry_;
  stats::Shard& registry_shard_ = registry_.make_shard();
  config::Pipeline pipeline_{{}, {&worker_}, {}};
  AdminContext admin_{.options = options_, .main = worker_, .workers = {&worker_}, .pipeline = pipeline_, .registry = registry_,
                      .shared = shared_, .quit = [] {}, .drain_listeners = [] {}, .refresh = [] {}};
  std::unique_ptr<net::MemStream> client_;
};

TEST_F(MetricsPage, ClientThatReadsNothing_IsCut) {
  EXPECT_EQ(client_->unread_bytes(), 4096u);
  worker_.advance(59s);
  EXPECT_FALSE(client_->got_reset());
  worker_.advance(2s);
  EXPECT_TRUE(client_->got_reset());
  EXPECT_EQ(worker_.tasks(), 0u);
}

TEST_F(MetricsPage, SlowButSteadyClient_KeepsItsConnection) {
  for (int i = 0; i < 20; ++i) {
    worker_.spawn(read_some(*client_));
    worker_.advance(50s);
    ASSERT_FALSE(client_->got_reset()) << "after " << i;
  }
}

}  // namespace
}  // namespace proxy
