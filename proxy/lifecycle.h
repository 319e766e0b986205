#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

// What must become of a request when two things happen to it: the tables of the life-cycle test. A state, an event or an
// outcome is a row; the test drives them, this file knows what Envoy and Istio would log and why.
namespace proxy::lifecycle {

// Where a request stands when the first event comes.
enum class State : uint8_t {
  kIdle,                 // between two requests of one connection
  kPartialHead,
  kConnecting,
  kWaitingForSlot,       // maxConnections are in use by somebody else
  kBackingOff,           // before the only retry
  kWaitingForAnswer,     // the request is with upstream
  kUploadClientSlow,
  kUploadUpstreamSlow,   // the client has said all, upstream reads nothing
  kInterimWritten,       // 100 is with the client, its body is not
  kBodyCounted,          // the head and half of the body are with the client
  kBodyUntilClose,
  kBodyChunked,          // … with trailers to come
  kBodyClientSlow,       // the client reads nothing
  kEarlyAnswer,          // half an answer to half a request
  kTunnel,
  kLinger,               // the answer was early and whole, the client has not gone yet
  kSplicedBody,          // as kBodyCounted, but through a kernel pipe, which is empty
  kSplicedBodyClientSlow,      // as kBodyClientSlow, and bytes are stuck in the pipe
  kSplicedUpload,              // as kUploadClientSlow: the pipe is empty
  kSplicedUploadUpstreamSlow,  // as kUploadUpstreamSlow: bytes are stuck in it
  kTunnelClientEnded,          // the client has sent its FIN, and upstream is silent
  kTunnelUpstreamEnded,
  kTcp,                        // a tunnel that never was a request
  kTcpClientEnded,
  kTcpUpstreamEnded,
  kCount
};

enum class Event : uint8_t {
  kClientReset,
  kClientHalfClose,
  kUpstreamReset,
  kUpstreamEnds,         // FIN
  kUpstreamAnswers,      // all that it has to say, or what is left of it
  kIdleTimeout,
  kHeadTimeout,
  kRouteTimeout,
  kStreamIdle,
  kDrainBegins,
  kDrainDeadline,
  kSnapshotSwap,
  kEndpointRemoval,
  kShedding,
  kCount
};

constexpr bool is_timer(Event e) noexcept {
  return e == Event::kIdleTimeout || e == Event::kHeadTimeout || e == Event::kRouteTimeout || e == Event::kStreamIdle;
}

// The traits that decide who may end a request.
struct StateRow {
  const char* name;
  bool begun;            // a whole head was read: a line of the access log is owed
  bool uploaded;         // … and the whole request: the route's time runs (Envoy: from the end of the request)
  bool finishable;       // a client that says no more has said enough
  bool answered;         // the final head is with the client, so it gets no other one
};
inline constexpr std::array<StateRow, static_cast<size_t>(State::kCount)> kStates{{
    // name                  begun  uploaded  finishable  answered
    {"idle",                 false, false,    false,      false},
    {"partial head",         false, false,    false,      false},
    {"connecting",           true,  true,     true,       false},
    {"waiting for a slot",   true,  true,     true,       false},
    {"backing off",          true,  true,     true,       false},
    {"waiting for answer",   true,  true,     true,       false},
    {"upload, slow client",  true,  false,    false,      false},
    {"upload, slow upstream", true, false,    true,       false},
    {"interim written",      true,  false,    false,      false},
    {"counted body",         true,  true,     true,       true},
    {"body until close",     true,  true,     true,       true},
    {"chunked body",         true,  true,     true,       true},
    {"body, slow client",    true,  true,     true,       true},
    {"early answer",         true,  false,    false,      true},
    {"tunnel",               true,  true,     true,       true},
    {"linger",               false, false,    false,      false},
    {"spliced body",         true,  true,     true,       true},
    {"spliced body, slow client", true, true, true,       true},
    {"spliced upload, slow client", true, false, false,   false},
    {"spliced upload, slow upstream", true, false, true,  false},
    {"tunnel, client ended", true, true,      true,       true},
    {"tunnel, upstream ended", true, true,    true,       true},
    {"tcp",                  true,  true,     true,       true},
    {"tcp, client ended",    true,  true,     true,       true},
    {"tcp, upstream ended",  true,  true,     true,       true},
}};
inline constexpr std::array<const char*, static_cast<size_t>(Event::kCount)> kEvents{
    "client resets", "client half-closes", "upstream resets", "upstream ends", "upstream answers", "idle timeout", "head timeout",
    "route timeout", "stream idle", "drain begins", "drain deadline", "snapshot swap", "endpoint removal", "shedding"};

// Which of a tunnel's sides had said its last when the first event came.
constexpr bool client_ended(State s) noexcept { return s == State::kTunnelClientEnded || s == State::kTcpClientEnded; }
constexpr bool upstream_ended(State s) noexcept { return s == State::kTunnelUpstreamEnded || s == State::kTcpUpstreamEnded; }
constexpr bool is_tcp(State s) noexcept { return s == State::kTcp || s == State::kTcpClientEnded || s == State::kTcpUpstreamEnded; }
constexpr bool is_tunnel(State s) noexcept {
  return s == State::kTunnel || s == State::kTunnelClientEnded || s == State::kTunnelUpstreamEnded || is_tcp(s);
}

// The state in which the same bytes are copied: which way they go must make no difference to anybody.
constexpr State as_copied(State s) noexcept {
  switch (s) {
    case State::kSplicedBody: return State::kBodyCounted;
    case State::kSplicedBodyClientSlow: return State::kBodyClientSlow;
    case State::kSplicedUpload: return State::kUploadClientSlow;
    case State::kSplicedUploadUpstreamSlow: return State::kUploadUpstreamSlow;
    default: return s;
  }
}

constexpr const StateRow& row(State s) noexcept { return kStates[static_cast<size_t>(s)]; }
constexpr const char* name(Event e) noexcept { return kEvents[static_cast<size_t>(e)]; }

// What the log must say of the request, and with it what the client must have.
struct Verdict {
  bool line = false;                       // a line is owed
  uint16_t status = 0;
  std::vector<std::string_view> flags;     // any of these
};

// Follows one request through the events. The first event that decides wins; what only would decide later (a client that
// half-closed has 500 ms, a client that reads nothing does not see how its answer ends) waits for time or for the end.
class Oracle {
 public:
  explicit Oracle(State at)
      : at_(is_tcp(at) ? State::kTcp : is_tunnel(at) ? State::kTunnel : as_copied(at)),
        status_(is_tcp(at) ? 0 : is_tunnel(at) ? 101 : row(at).answered ? 200 : 0),
        waited_for_slot_(at == State::kWaitingForSlot), half_closed_(client_ended(at)), upstream_ended_(upstream_ended(at)) {}

  void happens(Event e) {
    if (decided_) return;
    if (at_ == State::kTcp) return happens_to_tcp(e);
    switch (e) {
      // RemoteClose with a stream open: Envoy resets it with DownstreamConnectionTermination.
      case Event::kClientReset: return gone();
      case Event::kClientHalfClose: return half_close();
      case Event::kUpstreamReset: return upstream_breaks(true);
      case Event::kUpstreamEnds: return upstream_breaks(false);
      case Event::kUpstreamAnswers: return upstream_answers();
      case Event::kIdleTimeout:
        if (at_ == State::kIdle) connection_ends();
        return;
      // Envoy's request_headers_timeout: 408 and the connection closes.
      case Event::kHeadTimeout:
        if (at_ == State::kPartialHead) decide(408, {"DPE"});
        return;
      case Event::kRouteTimeout:
        if (row(at_).uploaded && at_ != State::kTunnel) decide(row(at_).answered ? 200 : 504, {"UT"});
        return;
      // Counts from the head on, over connecting and waiting. 408 while the client owes a part of its request, 504 else.
      case Event::kStreamIdle:
        if (row(at_).begun) decide(row(at_).answered ? status_ : row(at_).uploaded ? 504 : 408, {"SI"});
        return;
      case Event::kDrainBegins: return;    // what is served goes on
      // LocalClose with a stream open is DownstreamConnectionTermination as well.
      case Event::kDrainDeadline: return gone();
      case Event::kSnapshotSwap: return;   // requests keep the snapshot that they began with
      case Event::kEndpointRemoval:
        no_endpoints_ = true;
        // Whoever waits for a connection of that endpoint chooses again. A dial under way and a request in flight go on.
        if (at_ == State::kWaitingForSlot) decide(503, {"UH"});
        return;
      case Event::kShedding:
        shedding_ = true;
        if (at_ == State::kIdle) connection_ends();
        return;
      case Event::kCount: return;
    }
  }

  // The second of two that happen at once: the proxy has not acted on the first, so the other request still has the slot, and
  // upstream can say only once what it says about that one.
  void happens_too(Event e) {
    const bool upstreams = e == Event::kUpstreamReset || e == Event::kUpstreamEnds || e == Event::kUpstreamAnswers;
    if (!waited_for_slot_ || !upstreams) happens(e);
  }

  // A tunnel whose end is decided waits for nobody: its line is there before anything else happens.
  bool over() const { return decided_ && (at_ == State::kTunnel || at_ == State::kTcp); }

  // Everybody does what he still can: configuration as it was, dials succeed, peers read and say what is left.
  Verdict at_the_end() {
    if (at_ == State::kLinger) connection_ends();
    if (decided_) return verdict_;
    if (pending_.line) return pending_;
    if (at_ == State::kPartialHead && shedding_) return {true, 503, {"OM"}};
    // A client that half-closed its tunnel gets the rest; Envoy without half-close would count it as gone.
    if (at_ == State::kTunnel) return half_closed_ ? Verdict{true, 101, {"-", "DC"}} : Verdict{true, 101, {"-"}};
    if (at_ == State::kTcp) return {true, 0, {"-"}};
    return {true, 200, {"-"}};
  }
  // 10 s, much more than any patience of ours.
  void time_passes() {
    if (decided_) return;
    if (at_ == State::kBackingOff) {
      if (no_endpoints_) return decide(503, {"UH"});
      at_ = State::kConnecting;
      retried_ = true;
    }
    // 500 ms after a FIN the client counts as gone, unless bytes before the FIN hide it or a tunnel passed it on.
    if (half_closed_ && at_ != State::kTunnel && at_ != State::kTcp && at_ != State::kUploadUpstreamSlow) gone();
    if (at_ == State::kLinger) connection_ends();
  }

 private:
  // Envoy's tcp_proxy sets no flag for the end of an established connection, whoever brought it about.
  void happens_to_tcp(Event e) {
    if (e == Event::kClientHalfClose) half_closed_ = true;
    if (e == Event::kUpstreamEnds) upstream_ended_ = true;
    const bool broken = e == Event::kClientReset || e == Event::kUpstreamReset || e == Event::kDrainDeadline;
    if (broken || (half_closed_ && upstream_ended_)) decide(0, {"-"});
  }
  void decide(uint16_t status, std::vector<std::string_view> flags) {
    decided_ = true;
    verdict_ = {true, status, std::move(flags)};
  }
  void connection_ends() {                 // nothing is owed
    decided_ = true;
    if (at_ != State::kLinger) verdict_ = {};
    else verdict_ = {true, 200, {"-"}};    // written when the answer was whole
  }
  void gone() {
    if (row(at_).begun) decide(status_, {"DC"});
    else connection_ends();
  }
  void half_close() {
    if (!row(at_).begun) return connection_ends();
    if (!row(at_).finishable) return gone();   // its request can never be whole
    half_closed_ = true;
    if (upstream_ended_) decide(status_, {"-"});
  }
  void upstream_breaks(bool reset) {
    switch (at_) {
      case State::kIdle:
      case State::kPartialHead:
      case State::kBackingOff:
      case State::kLinger: return;
      case State::kConnecting:             // RST to a SYN
        if (reset) decide(503, retried_ ? std::vector<std::string_view>{"URX,UF"} : std::vector<std::string_view>{"UF"});
        return;
      case State::kWaitingForSlot: at_ = State::kWaitingForAnswer; return;   // the connection before us is gone, we get ours
      case State::kBodyUntilClose:         // FIN is how this body ends; an RST is not (RFC 9112 §9.5)
        return reset ? decide(200, {"UC"}) : decide(200, {"-"});
      case State::kBodyClientSlow:         // not seen before the client reads; an RST drops what was not read, a FIN waits behind it
        if (reset || !pending_.line) pending_ = {true, 200, {"UC"}};
        return;
      case State::kTunnel:                 // Envoy sees bytes until close, which any end of the connection completes
        upstream_ended_ = true;
        if (reset) decide(101, {"UC", "-"});
        else if (half_closed_) decide(101, {"-"});
        return;
      default:
        if (std::exchange(reused_, false)) return;   // the one safe replay: an idle connection may have died of itself
        return decide(row(at_).answered ? 200 : 503, {"UC"});
    }
  }
  void upstream_answers() {
    switch (at_) {
      case State::kIdle:
      case State::kPartialHead:
      case State::kConnecting:
      case State::kBackingOff:
      case State::kBodyUntilClose:
      case State::kTunnel:
      case State::kLinger: return;
      case State::kWaitingForSlot:         // the one before us is answered, we get its connection
        at_ = State::kWaitingForAnswer;
        reused_ = true;
        return;
      case State::kBodyClientSlow:
        if (!pending_.line) pending_ = {true, 200, {"-"}};
        return;
      default: return decide(200, {"-"});
    }
  }

  State at_;
  uint16_t status_;
  const bool waited_for_slot_;
  bool decided_ = false, half_closed_, upstream_ended_, no_endpoints_ = false, retried_ = false, reused_ = false,
       shedding_ = false;
  Verdict verdict_, pending_;
};

}  // namespace proxy::lifecycle
