#include <gtest/gtest.h>

#include <algorithm>
#include <map>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "proxy/lifecycle.h"
#include "proxy/pump_world.h"
#include "proxy/wire_reading.h"

// Every pair of events at every state of a request, in both orders, one after the other and at once. lifecycle.h says what
// must be logged; beyond that nothing may leak, nobody may wait for ever, no answer may look more complete than it is.
namespace proxy::in_memory {
namespace {

using lifecycle::Event;
using lifecycle::Oracle;
using lifecycle::State;
using lifecycle::Verdict;
using routing::Direction;

constexpr std::chrono::milliseconds kStep = 10s, kSlack = 100ms;   // a timer of the pair, and what may be added to it
constexpr std::string_view kAnswer = "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhelloworld";
constexpr std::string_view kBody = "helloworld", kLastChunk = "0\r\n\r\n";
const std::string kUpload(200'000, 'u'), kLong(60'000, 'l'), kTwiceLong = kLong + kLong;
const std::string kBulk(300'000, 'b');     // worth a pipe
const std::string kBulkBegins = kBulk.substr(0, 30'000), kBulkRest = kBulk.substr(kBulkBegins.size());

// One connection for everything: whoever keeps one that he must give back stops the next request.
std::string mesh(std::chrono::milliseconds route_timeout, int retries, bool endpoints) {
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
spec: {clusterIP: 10.96.0.9, ports: [{name: http, port: 80}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: web-1, namespace: default, labels: {kubernetes.io/service-name: web}}
addressType: IPv4
endpoints: [)" +
         std::string(endpoints ? "{addresses: [10.0.1.1]}" : "") + R"(]
ports: [{name: http, port: 80}]
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
  - {match: [{uri: {prefix: /other}}], retries: {attempts: 0}, route: [{destination: {host: web}}]}
  - {)" +
         timeout + "retries: {attempts: " + std::to_string(retries) + "}, route: [{destination: {host: web}}]}\n";
}

// Compiling is the expensive part, and there are few different ones.
const Configuration& compiled(Direction direction, std::chrono::milliseconds route_timeout, int retries, bool endpoints) {
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
std::optional<std::chrono::milliseconds> due(const Case& c, Event event) {
  const bool second_later = !c.at_once && is_timer(c.first) && c.first != c.second;
  if (c.first == event) return kStep;
  if (c.second == event) return second_later ? 2 * kStep + kSlack : kStep;
  return std::nullopt;
}

Options options(const Case& c) {
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
  Peer& client(size_t capacity = 64 * 1024) {
    net::MemPipe pipe;
    pipe.capacity = capacity;
    pipe.splices = splices_;
    pipe.a_address = {*base::Ip::parse("10.0.0.1"), static_cast<uint16_t>(case_.direction == Direction::kGateway ? 80 : 15001)};
    pipe.b_address = {*base::Ip::parse("10.0.0.9"), 40000};
    pipe.original_dst = {{*base::Ip::parse("10.96.0.9"), 80}, true};
    return connect(case_.direction == Direction::kGateway ? &serve_gateway : &serve_outbound, pipe);
  }
  void begin();
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

void Life::ask(std::string_view path) { main_->say(get(path, "", "web.test")); }

void Life::begin_upload(std::string_view head_and_body, std::string rest) {
  main_->say("POST /main HTTP/1.1\r\nHost: web.test\r\n" + std::string(head_and_body));
  client_rest_ = std::move(rest);
  server_rest_ = kAnswer;
}

void Life::begin_answer(std::string_view head_and_body, std::string rest) {
  server().say("HTTP/1.1 200 OK\r\n" + std::string(head_and_body));
  server_rest_ = std::move(rest);
}

// Only what comes behind the head alone passes through a pipe.
void Life::begin_spliced_answer() {
  ask("/main");
  begin_answer(fmt::format("Content-Length: {}\r\n\r\n", kBulk.size()), kBulkRest);
  body_ = kBulk;
  servers_.back()->say(kBulkBegins);
}

void Life::begin() {
  const bool slow_reader = like_ == State::kBodyClientSlow;
  dialer_.splices = splices_;
  main_ = &client(slow_reader ? 1024 : 64 * 1024);
  if (!slow_reader) main_->listen();
  switch (case_.state) {
    case State::kIdle:
    case State::kPartialHead: {
      ask("/first");
      Peer& s = server();
      s.say(std::string(kAnswer));
      ++lines_owed_;
      ASSERT_TRUE(main_->got.ends_with(kBody));
      main_->got.clear();
      s.got.clear();
      server_rest_ = "HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n";   // an answer to nothing
      if (case_.state == State::kPartialHead) main_->say("GET /main HTTP/1.1\r\nHost: web.test\r\nX-Part");
      client_rest_ = case_.state == State::kPartialHead ? "ial: 1\r\n\r\n" : get("/main", "", "web.test");
      return;
    }
    case State::kConnecting:
      dialer_.silent = true;
      return ask("/main");
    case State::kWaitingForSlot: {
      Peer& other = client();
      other.listen();
      other.say(get("/other", "", "web.test"));
      other_server_ = &server();
      other_server_->say("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
      server_rest_ = kLastChunk;
      ++lines_owed_;
      ask("/main");
      ASSERT_EQ(dialer_.dialled.size(), 1u);
      ASSERT_FALSE(has(other_server_->got, "/main"));
      return;
    }
    case State::kBackingOff:
      dialer_.refuse = 1;
      dialer_.silent = true;
      ask("/main");
      ASSERT_EQ(dialer_.dialled.size(), 1u);
      return;
    case State::kWaitingForAnswer:
      ask("/main");
      server();
      server_rest_ = kAnswer;
      return;
    case State::kUploadClientSlow:
      begin_upload("Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n", "2\r\nde\r\n0\r\n\r\n");
      server();
      return;
    case State::kUploadUpstreamSlow:
      dialer_.capacity = 4096;
      begin_upload("Content-Length: " + std::to_string(kUpload.size()) + "\r\n\r\n" + kUpload, "");
      accept();
      return;
    case State::kInterimWritten:
      begin_upload("Content-Length: 5\r\nExpect: 100-continue\r\n\r\n", "abcde");
      server().say("HTTP/1.1 100 Continue\r\n\r\n");
      ASSERT_EQ(main_->got, "HTTP/1.1 100 Continue\r\n\r\n");
      return;
    case State::kBodyCounted:
      ask("/main");
      return begin_answer("Content-Length: 10\r\n\r\nhello", "world");
    case State::kBodyUntilClose:
      ask("/main");
      server_fin_ = true;
      return begin_answer("Connection: close\r\n\r\nhello", "world");
    case State::kBodyChunked:
      ask("/main");
      return begin_answer("Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", "5\r\nworld\r\n0\r\nx-sum: 1\r\n\r\n");
    case State::kBodyClientSlow:
      ask("/main");
      body_ = kTwiceLong;
      return begin_answer("Content-Length: " + std::to_string(kTwiceLong.size()) + "\r\n\r\n" + kLong, kLong);
    case State::kEarlyAnswer:
      begin_upload("Content-Length: 5\r\n\r\nab", "cde");
      return begin_answer("Content-Length: 10\r\n\r\nhello", "world");
    case State::kTunnel:
      main_->say(get("/main", "Connection: Upgrade\r\nUpgrade: websocket\r\n", "web.test"));
      server().say("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n");
      server_rest_ = "bytes";
      server_fin_ = true;
      return;
    case State::kLinger:
      begin_upload("Content-Length: 5\r\n\r\nab", "");
      server().say(std::string(kAnswer));
      server_rest_.clear();
      ASSERT_TRUE(main_->got.ends_with(kBody));
      return;
    case State::kSplicedBody:
      begin_spliced_answer();
      ASSERT_EQ(main_->stream->came_by_pipe(), kBulkBegins.size());
      return;
    case State::kSplicedBodyClientSlow:
      begin_spliced_answer();
      ASSERT_GT(main_->stream->stuck_in_pipe(), 0u);
      return;
    case State::kSplicedUpload:
      begin_upload(fmt::format("Content-Length: {}\r\n\r\n", kBulk.size()), kBulkRest);
      server();
      main_->say(kBulkBegins);
      ASSERT_EQ(servers_.back()->stream->came_by_pipe(), kBulkBegins.size());
      return;
    case State::kSplicedUploadUpstreamSlow:
      dialer_.capacity = 4096;
      begin_upload(fmt::format("Content-Length: {}\r\n\r\n", kBulk.size()), "");
      accept();
      main_->say(kBulk);
      ASSERT_GT(servers_.back()->stream->stuck_in_pipe(), 0u);
      return;
    case State::kCount: return;
  }
}

// The upstream connection that events of upstream happen to: our request's, or while that waits for a slot the one before it.
Peer* Life::carrier() {
  for (size_t i = servers_.size(); i-- > 0;)
    if (has(servers_[i]->got, " /main ")) return servers_[i].get();
  return servers_.empty() ? nullptr : servers_.back().get();
}

void Life::act(Event e) {
  Peer* const upstream = carrier();
  switch (e) {
    case Event::kClientReset:
      client_reset_ = true;
      return main_->stream->reset();
    case Event::kClientHalfClose:
      client_fin_ = true;
      return main_->put_fin();
    case Event::kUpstreamReset:
      if (!upstream) return dialer_.refuse_waiting();
      if (upstream == other_server_ && server_rest_ == kLastChunk) server_rest_ = kAnswer;
      return upstream->stream->reset();
    case Event::kUpstreamEnds:
      if (!upstream) return;
      if (upstream == other_server_ && server_rest_ == kLastChunk) server_rest_ = kAnswer;
      return upstream->put_fin();
    case Event::kUpstreamAnswers:
      if (upstream) upstream->put(std::exchange(server_rest_, upstream == other_server_ ? std::string(kAnswer) : std::string()));
      return;
    case Event::kDrainBegins: return state_.begin_drain();
    case Event::kDrainDeadline:
      state_.begin_drain();
      return state_.cancel_all();
    case Event::kSnapshotSwap: return publish(compiled(case_.direction, timeout_, retries_, true));
    case Event::kEndpointRemoval: return publish(compiled(case_.direction, timeout_, retries_, false));
    case Event::kShedding: return state_.shed(true);
    default: return;
  }
}

// One step of time. Whoever has the slot that we wait for is not idle meanwhile.
void Life::pass_time() {
  constexpr int kParts = 4;
  for (int i = 0; i < kParts; ++i) {
    if (other_server_ && server_rest_ == kLastChunk) other_server_->say("1\r\no\r\n");
    worker_.advance((kStep + kSlack) / kParts);
  }
}

void Life::pass(Event e) {
  while (!dialer_.servers.empty() && like_ != State::kUploadUpstreamSlow) server();
  act(e);
  if (is_timer(e)) pass_time();
  else settle();
}

// Two things before the proxy reacts to either. Timers are due in the same millisecond; what is no timer happens in a turn of
// its own in that millisecond.
void Life::at_once() {
  if (!is_timer(case_.first) && !is_timer(case_.second)) {
    act(case_.first);
    act(case_.second);
    return settle();
  }
  struct Then final : net::Timer {
    Then(Life& its_life, Event its_event) : Timer(its_life.worker_), life(its_life), event(its_event) { arm(kStep); }
    void fire() noexcept override { life.act(event); }
    Life& life;
    const Event event;
  };
  const Then first(*this, case_.first), second(*this, case_.second);
  pass_time();
}

// Whoever has a whole request that nobody answered yet gets an answer.
void Life::serve_all() {
  settle();
  while (!dialer_.servers.empty()) server();
  for (auto& s : servers_) {
    s->listen();
    settle();
    const auto asked = messages(s->got, Ending::kOpen, false);
    if (asked.empty() || !asked.back().complete || s->ended || !has(s->got, "HTTP/1.1\r\n")) continue;
    s->got.clear();
    s->say(std::string(kAnswer));
  }
}

void Life::finish() {
  publish(compiled(case_.direction, timeout_, retries_, true));
  dialer_.silent = false;
  settle();
  dialer_.accept_waiting();
  settle();
  main_->listen();
  if (!client_reset_ && !client_fin_) main_->say(client_rest_);
  for (auto& s : servers_) s->listen();
  settle();
  judge_upstream();
  Peer* const upstream = carrier();
  if (upstream && !server_rest_.empty() && case_.state != State::kIdle && case_.state != State::kPartialHead) {
    upstream->got.clear();
    upstream->put(std::exchange(server_rest_, {}));
  }
  if (upstream && server_fin_) upstream->put_fin();
  if (case_.state == State::kTunnel && !client_reset_) main_->put_fin();
  for (int i = 0; i < 3; ++i) {
    serve_all();
    worker_.advance(30ms);                   // a back-off, but no patience of anybody's
  }
}

// A request that its client never finished must not look whole to upstream.
void Life::judge_upstream() {
  const bool whole = like_ == State::kUploadUpstreamSlow || (!client_reset_ && !client_fin_);
  for (const auto& s : servers_) {
    for (const Message& m : messages(s->got, s->broken ? Ending::kBroken : Ending::kOpen, false)) {
      if (m.first_line.starts_with("POST /main ")) EXPECT_TRUE(whole || !m.complete) << m.head << m.body;
    }
  }
}

// What the client has, against what was logged.
void Life::judge_client(const std::string& flags, int status) {
  const Ending ending = main_->broken ? Ending::kBroken : main_->ended ? Ending::kClean : Ending::kOpen;
  std::vector<Message> finals;
  for (Message& m : messages(main_->got, ending, true))
    if (m.status >= 200 || m.status == 101) finals.push_back(std::move(m));
  EXPECT_LE(finals.size(), 1u) << "two answers to one request: " << main_->got;
  if (client_reset_ || finals.size() > 1) return;
  if (status == 0) EXPECT_TRUE(finals.empty()) << main_->got;
  // A client that reads nothing in time loses what it was sent: an RST follows. So does one that goes while we write.
  const bool may_miss_it = like_ == State::kBodyClientSlow || (case_.at_once && flags.ends_with("DC"));
  if (status == 0 || finals.empty()) {
    EXPECT_TRUE(status == 0 || may_miss_it) << "logged, but the client has nothing";
    return;
  }
  EXPECT_EQ(finals[0].status, status);
  if (status == 101) return;
  const bool whole = flags == "-" || status >= 400;
  EXPECT_EQ(finals[0].complete, whole) << main_->got.substr(0, 400);
  if (flags == "-" && case_.state == State::kBodyUntilClose) EXPECT_TRUE(kBody.starts_with(finals[0].body)) << finals[0].body;
  else if (flags == "-") EXPECT_EQ(finals[0].body, body_);
  if (!whole) EXPECT_TRUE(main_->ended) << "an answer that stops must end the connection";
}

void Life::judge(const std::vector<Verdict>& any_of) {
  std::vector<const std::string*> ours;
  for (const auto& line : lines_.lines)
    if (has(line, " /main HTTP")) ours.push_back(&line);
  ASSERT_LE(ours.size(), 1u);
  int status = -1;
  std::string flags;
  if (!ours.empty()) {
    const std::string& line = *ours[0];
    const auto from = line.find(" HTTP/1.1\" ") + 11, to = line.find(' ', from), end = line.find(' ', to + 1);
    status = std::stoi(line.substr(from, to - from));
    flags = line.substr(to + 1, end - to - 1);
  }
  std::vector<std::string_view> flags_wanted;
  std::string wanted;
  bool line_wanted = false, no_line_wanted = false, status_fits = false;
  for (const Verdict& verdict : any_of) {
    line_wanted |= verdict.line;
    no_line_wanted |= !verdict.line;
    status_fits |= status == verdict.status;
    flags_wanted.insert(flags_wanted.end(), verdict.flags.begin(), verdict.flags.end());
    wanted += verdict.line ? fmt::format(" {} {};", verdict.status, fmt::join(verdict.flags, " or ")) : " no line;";
  }
  bool flags_fit = std::ranges::find(flags_wanted, flags) != flags_wanted.end();
  // Of two things at once both may be noticed, one after the other.
  for (const auto a : flags_wanted)
    for (const auto b : flags_wanted) flags_fit |= case_.at_once && flags == fmt::format("{},{}", a, b);
  const bool fits = ours.empty() ? no_line_wanted : line_wanted && flags_fit && status_fits;
  EXPECT_TRUE(fits) << "logged: " << status << " " << flags << ", wanted:" << wanted << (ours.empty() ? "" : "\n" + *ours[0]);
  if (!ours.empty()) judge_client(flags, status);
  lines_owed_ += ours.size();
}

void Life::check_fresh() {
  state_.shed(false);
  dialer_.capacity = 64 * 1024;
  Peer& c = client();
  c.listen();
  c.say(get("/fresh", "", "web.test"));
  ++lines_owed_;
  serve_all();
  EXPECT_TRUE(c.got.ends_with(kBody)) << c.got << "\nthe proxy must go on serving";
}

void Life::check_nothing_left() {
  EXPECT_EQ(lines_.lines.size(), lines_owed_);
  uint64_t counted = 0;
  for (const auto& sample : registry_.merged())
    if (sample.name == "istio_requests_total") counted += sample.value;
  EXPECT_EQ(counted, lines_.lines.size()) << "metrics and access log disagree";
  for (auto& c : clients_) {
    if (!c->stream->got_reset()) c->put_fin();
  }
  settle();
  worker_.advance(6s);                       // lingering ends by itself
  EXPECT_EQ(worker_.tasks(), 0u) << "somebody still waits";
  EXPECT_EQ(state_.connections.front(), nullptr);
  EXPECT_EQ(state_.counters.connections_active.value(), 0u);
  EXPECT_EQ(state_.pending, 0u);
  for (const auto& view : state_.clusters.view()) {
    EXPECT_EQ(view.connections_active, 0u) << view.name;
    EXPECT_EQ(view.requests_active, 0u) << view.name;
    EXPECT_EQ(view.pending, 0u) << view.name;
  }
  std::vector<std::shared_ptr<upstream::SharedLimits>> limits;
  for (const auto& view : state_.clusters.view()) limits.push_back(shared_.limits_of(view.name));
  end();
  for (const auto& limit : limits) {
    EXPECT_EQ(limit->connections.load(), 0u);
    EXPECT_EQ(limit->pending.load(), 0u);
    EXPECT_EQ(limit->requests.load(), 0u);
  }
  clients_.clear();
  servers_.clear();
  EXPECT_EQ(worker_.block_bytes(), 0u) << "buffers are not given back";
}

void Life::run() {
  begin();
  if (testing::Test::HasFatalFailure()) return;
  Oracle oracle(case_.state), reverse(case_.state);
  std::vector<Verdict> verdicts;
  if (case_.at_once) {
    if (is_timer(case_.first) || is_timer(case_.second)) {
      oracle.time_passes();
      reverse.time_passes();
    }
    oracle.happens(case_.first);
    oracle.happens_too(case_.second);
    reverse.happens(case_.second);
    reverse.happens_too(case_.first);
    at_once();
    verdicts.push_back(reverse.at_the_end());
  } else {
    for (const Event e : {case_.first, case_.second}) {
      if (is_timer(e)) oracle.time_passes();
      oracle.happens(e);
      pass(e);
    }
  }
  verdicts.push_back(oracle.at_the_end());
  finish();
  judge(verdicts);
  check_fresh();
  check_nothing_left();
}

class Lifecycle : public testing::TestWithParam<State> {};

TEST_P(Lifecycle, AnyTwoEvents_EndInOneLineAndNothingIsLeft) {
  int failed = 0;
  for (const Direction direction : {Direction::kGateway, Direction::kOutbound}) {
    for (size_t first = 0; first < lifecycle::kEvents.size(); ++first) {
      for (size_t second = 0; second < lifecycle::kEvents.size(); ++second) {
        for (const bool at_once : {false, true}) {
          if (at_once && first >= second) continue;   // the order makes no difference
          const Case c{direction, GetParam(), static_cast<Event>(first), static_cast<Event>(second), at_once};
          SCOPED_TRACE(c.text());
          const auto* result = testing::UnitTest::GetInstance()->current_test_info()->result();
          const int before = result->total_part_count();
          Life(c).run();
          failed += result->total_part_count() != before;
          ASSERT_LT(failed, 20) << "too many to look at";
        }
      }
    }
  }
}

std::string state_name(const testing::TestParamInfo<State>& info) {
  std::string name;
  for (const char c : std::string_view(row(info.param).name))
    if (std::isalnum(static_cast<unsigned char>(c))) name += c;
    else if (c == ' ') name += '_';
  return name;
}
INSTANTIATE_TEST_SUITE_P(States, Lifecycle, testing::ValuesIn([] {
                           std::vector<State> all;
                           for (size_t i = 0; i < lifecycle::kStates.size(); ++i) all.push_back(static_cast<State>(i));
                           return all;
                         }()),
                         state_name);

}  // namespace
}  // namespace proxy::in_memory
