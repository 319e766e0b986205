#include <gtest/gtest.h>

#include <algorithm>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "proxy/lifecycle_life.h"
#include "proxy/wire_reading.h"

// Every pair of events at every state of a request, in both orders, one after the other and at once. lifecycle.h says what
// must be logged; beyond that nothing may leak, nobody may wait for ever, no answer may look more complete than it is.
namespace proxy::in_memory {

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
  if (is_tunnel(case_.state) && !client_reset_) main_->put_fin();
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

std::vector<const std::string*> Life::lines_of_ours() const {
  std::vector<const std::string*> ours;
  for (const auto& line : lines_.lines)
    if (has(line, is_tcp(case_.state) ? "\"- - -\"" : " /main HTTP")) ours.push_back(&line);
  return ours;
}

void Life::judge(const std::vector<Verdict>& any_of) {
  const auto ours = lines_of_ours();
  ASSERT_LE(ours.size(), 1u);
  int status = -1;
  std::string flags;
  if (!ours.empty()) {
    const std::string& line = *ours[0];   // … GET /main HTTP/1.1" 200 - …, or "- - -" 0 - …
    const auto from = line.find("\" ") + 2, to = line.find(' ', from), end = line.find(' ', to + 1);
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
  if (!ours.empty() && !is_tcp(case_.state)) judge_client(flags, status);
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
    if (sample.name == "istio_requests_total" || sample.name == "istio_tcp_connections_closed_total") counted += sample.value;
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
    if (oracle.over() && reverse.over()) EXPECT_EQ(lines_of_ours().size(), 1u) << "it is over, and somebody still waits";
  } else {
    for (const Event e : {case_.first, case_.second}) {
      if (is_timer(e)) oracle.time_passes();
      oracle.happens(e);
      pass(e);
      if (oracle.over()) EXPECT_EQ(lines_of_ours().size(), 1u) << "it is over, and somebody still waits";
    }
  }
  verdicts.push_back(oracle.at_the_end());
  finish();
  judge(verdicts);
  check_fresh();
  check_nothing_left();
}

namespace {

class Lifecycle : public testing::TestWithParam<State> {};

TEST_P(Lifecycle, AnyTwoEvents_EndInOneLineAndNothingIsLeft) {
  int failed = 0;
  for (const Direction direction : {Direction::kGateway, Direction::kOutbound}) {
    if (is_tcp(GetParam()) && direction == Direction::kGateway) continue;   // served by the same code
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
