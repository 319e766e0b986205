#pragma once

#include <chrono>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <tuple>
#include <vector>

#include "proxy/lifecycle.h"
#include "proxy/pump_world.h"

// One life of the life-cycle test: the proxy in memory, a request or a tunnel brought to its state, and what happens to it.
namespace proxy::in_memory {

using lifecycle::Event;
using lifecycle::Oracle;
using lifecycle::State;
using lifecycle::Verdict;
using routing::Direction;

inline constexpr std::chrono::milliseconds kStep = 10s, kSlack = 100ms;   // a timer of the pair, and what may be added to it
inline constexpr std::string_view kAnswer = "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhelloworld";
inline constexpr std::string_view kBody = "helloworld", kLastChunk = "0\r\n\r\n";
inline constexpr uint16_t kHttpPort = 80, kTcpPort = 90;

// One connection for everything: whoever keeps one that he must give back stops the next request.
inline std::string mesh(std::chrono::milliseconds route_timeout, int retries, bool endpoints) {
  std::string timeout = route_timeout.count() > 0 ? "timeout: " + std::to_string(route_timeout.count()) + "ms, " : "";
  return R"(
apiVersion: v1
kind: Pod
metadata: {name: me, namespace: default, labels: {app: me}}
spec: {containers: [{name: app}]}
status: {phase: Running, podIP: 10.0.0.1}
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: default}
spec: {clusterIP: 10.96.0.9, ports: [{name: http, port: 80}, {name: tcp-raw, port: 90}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: web-1, namespace: default, labels: {kubernetes.io/service-name: web}}
addressType: IPv4
endpoints: [)" +
         std::string(endpoints ? "{addresses: [10.0.1.1]}" : "") + R"(]
ports: [{name: http, port: 80}, {name: tcp-raw, port: 90}]
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: web, namespace: default}
spec: {host: web, trafficPolicy: {connectionPool: {tcp: {maxConnections: 1}}}}
---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: edge, namespace: default}
spec: {selector: {app: me}, servers: [{port: {number: 80, name: http, protocol: HTTP}, hosts: [web.test]}]}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: web, namespace: default}
spec:
  hosts: [web, web.test]
  gateways: [mesh, edge]
  http:
  - {match: [{uri: {prefix: /other}}], retries: {attempts: 0}, route: [{destination: {host: web, port: {number: 80}}}]}
  - {)" +
         timeout + "retries: {attempts: " + std::to_string(retries) + "}, route: [{destination: {host: web, port: {number: 80}}}]}\n";
}

// Compiling is the expensive part, and there are few different ones.
inline const Configuration& compiled(Direction direction, std::chrono::milliseconds route_timeout, int retries, bool endpoints) {
  static std::map<std::tuple<Direction, int64_t, int, bool>, Configuration> known;
  auto& one = known[{direction, route_timeout.count(), retries, endpoints}];
  const auto role = direction == Direction::kGateway ? routing::Proxy::Role::kGateway : routing::Proxy::Role::kSidecar;
  if (!one.snapshot) one = configuration(mesh(route_timeout, retries, endpoints), endpoints ? 1 : 2, role);
  return one;
}

struct Case {
  Direction direction;
  State state;
  Event first, second;
  bool at_once = false;
  std::string text() const {
    return std::string(direction == Direction::kGateway ? "gateway" : "outbound") + ", " + row(state).name + ": " + name(first) +
           (at_once ? " and at once " : ", then ") + name(second);
  }
};

// When the timer of `event` is due from the beginning of the state; nothing: it is off.
inline std::optional<std::chrono::milliseconds> due(const Case& c, Event event) {
  const bool second_later = !c.at_once && is_timer(c.first) && c.first != c.second;
  if (c.first == event) return kStep;
  if (c.second == event) return second_later ? 2 * kStep + kSlack : kStep;
  return std::nullopt;
}

inline Options options(const Case& c) {
  Options options;
  options.limits.http.head_time = due(c, Event::kHeadTimeout).value_or(1h);
  options.limits.http.idle_time = due(c, Event::kIdleTimeout).value_or(24h);
  options.limits.stream_idle = due(c, Event::kStreamIdle).value_or(0ms);
  return options;
}

// One request and what happens to it.
class Life : World {
 public:
  explicit Life(const Case& c)
      : World(options(c)), case_(c), timeout_(due(c, Event::kRouteTimeout).value_or(0ms)), retries_(c.state == State::kBackingOff ? 1 : 0) {
    publish(compiled(c.direction, timeout_, retries_, true));
    settle();
  }
  void run();

 private:
  Peer& client(uint16_t port = kHttpPort, size_t capacity = 64 * 1024) {
    net::MemPipe pipe;
    pipe.capacity = capacity;
    pipe.splices = splices_;
    pipe.a_address = {*base::Ip::parse("10.0.0.1"), static_cast<uint16_t>(case_.direction == Direction::kGateway ? port : 15001)};
    pipe.b_address = {*base::Ip::parse("10.0.0.9"), 40000};
    pipe.original_dst = {{*base::Ip::parse("10.96.0.9"), port}, true};
    return connect(case_.direction == Direction::kGateway ? &serve_gateway : &serve_outbound, pipe);
  }
  void begin();
  void begin_between_requests();
  void begin_without_connection();
  void begin_sending();
  void begin_answering();
  void begin_spliced();
  void begin_tunnel();
  void begin_upload(std::string_view head_and_body, std::string rest);
  void begin_answer(std::string_view head_and_body, std::string rest);
  void begin_spliced_answer();
  void ask(std::string_view path);
  void act(Event e);
  void pass(Event e);
  void pass_time();
  void at_once();
  void finish();
  void serve_all();
  Peer* carrier();
  std::vector<const std::string*> lines_of_ours() const;
  void judge(const std::vector<Verdict>& any_of);
  void judge_client(const std::string& flags, int status);
  void judge_upstream();
  void check_fresh();
  void check_nothing_left();

  const Case case_;
  const std::chrono::milliseconds timeout_;
  const int retries_;
  const State like_ = lifecycle::as_copied(case_.state);
  const bool splices_ = like_ != case_.state;
  std::string_view body_ = kBody;            // of the whole answer
  Peer* main_ = nullptr;
  Peer* other_server_ = nullptr;             // busy with the request before ours
  std::string client_rest_, server_rest_;    // what each side still owes
  bool client_reset_ = false, client_fin_ = false, server_fin_ = false;   // server_fin_: its last act is a FIN
  size_t lines_owed_ = 0;                    // of the requests around ours
};

}  // namespace proxy::in_memory
