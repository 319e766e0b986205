#pragma once

#include <map>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include <fmt/format.h>

#include "proxy/pump_world.h"
#include "proxy/wire_reading.h"

// A little language for what clients, servers and the operator do to the proxy: one letter per act, so that a fuzzer may write
// it and a person may read it. The first letter chooses the port: g gateway, o outbound HTTP, x undeclared. Then
//   n  a new client          1 2 3  the client that acts from now on
//   G  GET      H  HEAD      P  POST with five bytes to come     C  POST, chunked        E  POST that expects 100
//   U  upgrade  Z  GET of HTTP/1.0, kept alive                   p q  a GET in two parts
//   y  five bytes of body    k  a chunk          z  the last chunk, with trailers        B  POST with 100 KB
//   <raw>  bytes as they stand                   f  FIN           r  RST                 l  reads from now on (else it does after n)
//   m  reads nothing (of the next client)
//   a b  the server that acts: the one of the last dial, the one before it
//   O  200 with ten bytes    Q  its head and half of them         W  the rest            K  200 chunked, first chunk
//   e  a chunk               Y  the last chunk, with trailers     u  200 until close     d  204     i j  100, 103    t  101
//   L  200 with 100 KB       [raw]  bytes as they stand           F  FIN     R  RST     h  reads (servers do not unless told: M)
//   M  servers read from their dial on, or no longer
//   .  the proxy reacts (nothing before does)     0–9  time passes
//   D  drain begins   X  drain deadline   S N  the configuration again, without endpoints   V  memory runs out, or no longer
//   v  the next dial is refused   s  dials hang, or no longer   A J  those that hang succeed, are refused   w  small pipes, or large
// What stands for itself: bodies carry the number of their request in bytes from 0x80 on, and nothing else does.
namespace proxy::in_memory {

class Script : World {
 public:
  // The first invariant that does not hold, in words; empty: all hold.
  static std::string run(std::string_view text) {
    if (text.empty()) return {};
    Script script(text.front());
    return script.play(text.substr(1));
  }

 private:
  struct Client {
    Peer* peer;
    uint16_t port;
    std::string sent{};    // all that was handed to the pipe: the reference for what upstream may get
    bool raw = false;      // … which only the proxy's codec can read
    int id = 0;            // of its last request
    bool silent = false;   // it has ended its side
  };
  struct Server {
    Peer* peer;
    std::string sent{};
    bool raw = false;
    size_t answered = 0;
    int id = 0;            // whom it answers now
    bool silent = false;
  };
  static constexpr size_t kMostPeers = 6, kLongBody = 100'000, kMostLongBodies = 4;   // so that no program takes long

  explicit Script(char port) : World(options()), direction_(port == 'g' ? 'g' : port == 'x' ? 'x' : 'o') {
    std::vector<std::string> problems;
    format_ = std::make_shared<const telemetry::AccessLogFormat>(telemetry::AccessLogFormat::text(
        "%PROTOCOL% %RESPONSE_CODE% %RESPONSE_FLAGS% %DOWNSTREAM_REMOTE_PORT% %REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)%\n",
        problems));
    configure(true);
    settle();
  }
  static Options options() {
    Options options;
    options.limits.stream_idle = 20s;
    options.limits.pending_requests = 3;
    options.limits.http.idle_time = 1min;
    options.limits.http.body_idle_time = 12s;
    return options;
  }
  static std::string mesh(bool endpoints);
  void configure(bool endpoints) {
    static std::map<std::pair<bool, bool>, Configuration> known;
    const bool gateway = direction_ == 'g';
    auto& one = known[{gateway, endpoints}];
    const auto role = gateway ? routing::Proxy::Role::kGateway : routing::Proxy::Role::kSidecar;
    if (!one.snapshot) one = configuration(mesh(endpoints), endpoints ? 1 : 2, role);
    log_format_ = format_;
    publish(one);
  }

  std::string play(std::string_view text);
  void client_acts(char what);
  void server_acts(char what);
  void world_acts(char what);
  void new_client();
  void meet_servers();
  void say(Client* c, std::string bytes);
  void answer(Server* s, std::string bytes);
  void begin_answer(Server* s, std::string head, size_t body);
  std::string request(Client& c, std::string_view method, std::string_view version, std::string_view rest);
  static std::string tagged(int id, size_t size) { return std::string(size, static_cast<char>(0x80 + id % 0x80)); }
  static int id_of(std::string_view first_line);

  std::string judge();
  std::string judge_client(const Client& c, const std::vector<std::vector<std::string>>& lines);
  std::string judge_server(const Server& s);
  std::vector<std::string> methods_of(const Server& s) const;
  bool answered_so(int id, const Message& got) const;

  const char direction_;
  std::shared_ptr<const telemetry::AccessLogFormat> format_;
  std::vector<Client> script_clients_;
  std::vector<Server> script_servers_;
  size_t client_ = 0, server_ = 0;         // who acts; servers are counted from the end
  bool next_reads_ = true, servers_read_ = true;
  std::set<std::string> tunnels_;          // ports of clients that spoke no HTTP
  size_t long_bodies_ = 0;
  int last_id_ = 0;
};

inline std::string Script::mesh(bool endpoints) {
  return fmt::format(R"(
apiVersion: v1
kind: Pod
metadata: {{name: me, namespace: default, labels: {{app: me}}}}
spec: {{containers: [{{name: app}}]}}
status: {{phase: Running, podIP: 10.0.0.1}}
---
apiVersion: v1
kind: Service
metadata: {{name: web, namespace: default}}
spec: {{clusterIP: 10.96.0.9, ports: [{{name: http, port: 80}}, {{name: plain, port: 91}}]}}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{name: web-1, namespace: default, labels: {{kubernetes.io/service-name: web}}}}
addressType: IPv4
endpoints: [{}]
ports: [{{name: http, port: 80}}, {{name: plain, port: 91}}]
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {{name: web, namespace: default}}
spec: {{host: web, trafficPolicy: {{connectionPool: {{tcp: {{maxConnections: 2}}, http: {{maxRequestsPerConnection: 4}}}}}}}}
---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {{name: edge, namespace: default}}
spec: {{selector: {{app: me}}, servers: [{{port: {{number: 80, name: http, protocol: HTTP}}, hosts: [web.test]}}]}}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: web, namespace: default}}
spec:
  hosts: [web, web.test]
  gateways: [mesh, edge]
  http: [{{timeout: 10s, retries: {{attempts: 1}}, route: [{{destination: {{host: web}}}}]}}]
)",
                     endpoints ? "{addresses: [10.0.1.1]}, {addresses: [10.0.1.2]}" : "");
}

inline void Script::new_client() {
  if (script_clients_.size() == kMostPeers) return;
  net::MemPipe pipe;
  pipe.capacity = next_reads_ ? 64 * 1024 : 2048;
  const auto port = static_cast<uint16_t>(40000 + script_clients_.size());
  pipe.a_address = {*base::Ip::parse("10.0.0.1"), static_cast<uint16_t>(direction_ == 'g' ? 80 : 15001)};
  pipe.b_address = {*base::Ip::parse("10.0.0.9"), port};
  pipe.original_dst = {{*base::Ip::parse("10.96.0.9"), static_cast<uint16_t>(direction_ == 'x' ? 91 : 80)}, true};
  Peer& peer = connect(direction_ == 'g' ? &serve_gateway : &serve_outbound, pipe);
  if (next_reads_) peer.listen();
  next_reads_ = true;
  script_clients_.push_back({.peer = &peer, .port = port});
  client_ = script_clients_.size() - 1;
}

inline void Script::meet_servers() {
  while (!dialer_.servers.empty() && script_servers_.size() < 4 * kMostPeers) {
    servers_.push_back(std::make_unique<Peer>(worker_, std::move(dialer_.servers.front().stream)));
    dialer_.servers.pop_front();
    if (servers_read_) servers_.back()->listen();
    script_servers_.push_back({.peer = servers_.back().get()});
  }
}

inline void Script::say(Client* c, std::string bytes) {
  if (c->silent) return;
  c->sent += bytes;
  c->peer->put(std::move(bytes));
}
inline void Script::answer(Server* s, std::string bytes) {
  if (s->silent) return;
  s->sent += bytes;
  s->peer->put(std::move(bytes));
}

inline std::string Script::request(Client& c, std::string_view method, std::string_view version, std::string_view rest) {
  c.id = ++last_id_;
  return fmt::format("{} /r{} HTTP/{}\r\nhost: web.test\r\n{}", method, c.id, version, rest);
}

inline int Script::id_of(std::string_view first_line) {
  const auto at = first_line.find(" /r");
  int id = 0;
  if (at != first_line.npos) std::from_chars(first_line.data() + at + 3, first_line.data() + first_line.size(), id);
  return id;
}

inline void Script::client_acts(char what) {
  if (script_clients_.empty()) new_client();
  Client& c = script_clients_[client_];
  switch (what) {
    case 'G': return say(&c, request(c, "GET", "1.1", "\r\n"));
    case 'H': return say(&c, request(c, "HEAD", "1.1", "\r\n"));
    case 'P': return say(&c, request(c, "POST", "1.1", "content-length: 5\r\n\r\n"));
    case 'C': return say(&c, request(c, "POST", "1.1", "transfer-encoding: chunked\r\n\r\n"));
    case 'E': return say(&c, request(c, "POST", "1.1", "content-length: 5\r\nexpect: 100-continue\r\n\r\n"));
    case 'U': return say(&c, request(c, "GET", "1.1", "connection: upgrade\r\nupgrade: websocket\r\n\r\n"));
    case 'Z': return say(&c, request(c, "GET", "1.0", "connection: keep-alive\r\n\r\n"));
    case 'B':
      if (long_bodies_++ >= kMostLongBodies) return;
      say(&c, request(c, "POST", "1.1", fmt::format("content-length: {}\r\n\r\n", kLongBody)));
      return say(&c, tagged(c.id, kLongBody));
    case 'p': return say(&c, request(c, "GET", "1.1", "x-part"));
    case 'q': return say(&c, "ial: 1\r\n\r\n");
    case 'y': return say(&c, tagged(c.id, 5));
    case 'k': return say(&c, "3\r\n" + tagged(c.id, 3) + "\r\n");
    case 'z': return say(&c, "0\r\nx-sum: 1\r\n\r\n");
    case 'f': c.silent = true; return c.peer->put_fin();
    case 'r': c.silent = true; return c.peer->stream->reset();
    case 'l': return c.peer->listen();
    default: return;
  }
}

// A final head answers the first request that has none; without one a server says nothing, for what it said then would be an
// answer to the request that crosses it on the wire, and no proxy can tell.
inline void Script::begin_answer(Server* s, std::string head, size_t body) {
  const auto asked = messages(s->peer->got, Ending::kOpen, false);
  if (s->answered >= asked.size() || s->raw) return;
  s->id = id_of(asked[s->answered++].first_line);
  answer(s, std::move(head) + tagged(s->id, body));
}

inline void Script::server_acts(char what) {
  meet_servers();
  if (script_servers_.empty()) return;
  Server& s = script_servers_[script_servers_.size() - 1 - std::min(server_, script_servers_.size() - 1)];
  const std::string ok = "HTTP/1.1 200 OK\r\n";
  const bool busy = s.answered < messages(s.peer->got, Ending::kOpen, false).size();
  switch (what) {
    case 'O': return begin_answer(&s, ok + "content-length: 10\r\n\r\n", 10);
    case 'Q': return begin_answer(&s, ok + "content-length: 10\r\n\r\n", 5);
    case 'L':
      if (long_bodies_++ >= kMostLongBodies) return;
      return begin_answer(&s, ok + fmt::format("content-length: {}\r\n\r\n", kLongBody), kLongBody);
    case 'K': return begin_answer(&s, ok + "transfer-encoding: chunked\r\n\r\n", 0);
    case 'u': return begin_answer(&s, ok + "connection: close\r\n\r\n", 7);
    case 'd': return begin_answer(&s, "HTTP/1.1 204 No Content\r\n\r\n", 0);
    case 't': return begin_answer(&s, "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n", 3);
    case 'i': return busy ? answer(&s, "HTTP/1.1 100 Continue\r\n\r\n") : void();
    case 'j': return busy ? answer(&s, "HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n") : void();
    case 'W': return s.answered > 0 ? answer(&s, tagged(s.id, 5)) : void();
    case 'e': return s.answered > 0 ? answer(&s, "4\r\n" + tagged(s.id, 4) + "\r\n") : void();
    case 'Y': return s.answered > 0 ? answer(&s, "0\r\nx-sum: 1\r\n\r\n") : void();
    case 'F': s.silent = true; return s.peer->put_fin();
    case 'R': s.silent = true; return s.peer->stream->reset();
    case 'h': return s.peer->listen();
    default: return;
  }
}

inline void Script::world_acts(char what) {
  switch (what) {
    case '.': settle(); return meet_servers();
    case 'D': return state_.begin_drain();
    case 'X': return state_.cancel_all();
    case 'S': return configure(true);
    case 'N': return configure(false);
    case 'V': return state_.shed(!state_.shedding());
    case 'v': ++dialer_.refuse; return;
    case 's': dialer_.silent = !dialer_.silent; return;
    case 'A': return dialer_.accept_waiting();
    case 'J': return dialer_.refuse_waiting();
    case 'w': dialer_.capacity = dialer_.capacity == 4096 ? 64 * 1024 : 4096; return;
    case 'M': servers_read_ = !servers_read_; return;
    case 'm': next_reads_ = false; return;
    case 'n': return new_client();
    case 'a': server_ = 0; return;
    case 'b': server_ = 1; return;
    default: break;
  }
  if (what >= '1' && what <= '3') client_ = script_clients_.empty() ? 0 : static_cast<size_t>(what - '1') % script_clients_.size();
  constexpr std::chrono::milliseconds kTimes[] = {1ms, 0ms, 0ms, 0ms, 6ms, 30ms, 501ms, 5001ms, 10001ms, 61s};
  if (what == '0' || (what >= '4' && what <= '9')) {
    worker_.advance(kTimes[what - '0']);
    meet_servers();
  }
}

inline std::string Script::play(std::string_view text) {
  constexpr std::string_view kClients = "GHPCEUZBpqykzfrl", kServers = "OQLKudtijWeYFRh";
  for (size_t at = 0; at < text.size(); ++at) {
    const char what = text[at];
    if (what == '<' || what == '[') {          // raw bytes, 7 bits each: none of them is a body's mark
      const auto end = std::min(text.find(what == '<' ? '>' : ']', at), text.size());
      std::string bytes(text.substr(at + 1, end - at - 1));
      for (char& c : bytes) c = static_cast<char>(c & 0x7f);
      at = end;
      meet_servers();
      if (what == '<') {
        if (script_clients_.empty()) new_client();
        script_clients_[client_].raw = true;
        say(&script_clients_[client_], std::move(bytes));
      } else if (!script_servers_.empty()) {
        Server& s = script_servers_[script_servers_.size() - 1 - std::min(server_, script_servers_.size() - 1)];
        s.raw = true;
        answer(&s, std::move(bytes));
      }
    } else if (kClients.find(what) != kClients.npos) {
      client_acts(what);
    } else if (kServers.find(what) != kServers.npos) {
      server_acts(what);
    } else {
      world_acts(what);
    }
  }
  settle();
  meet_servers();
  for (auto& c : script_clients_) c.peer->listen();
  for (auto& s : script_servers_) s.peer->listen();
  settle();
  return judge();
}

inline std::vector<std::string> Script::methods_of(const Server& s) const {
  std::vector<std::string> methods;
  for (const Message& m : messages(s.peer->got, Ending::kOpen, false)) methods.emplace_back(m.first_line.substr(0, m.first_line.find(' ')));
  return methods;
}

// Some server said this to the request with that number; what the client has complete, the server had complete.
inline bool Script::answered_so(int id, const Message& got) const {
  for (const Server& s : script_servers_) {
    if (s.raw) return true;
    const auto asked = messages(s.peer->got, Ending::kOpen, false);
    size_t n = 0;
    for (const Message& said : messages(s.sent, Ending::kClean, true, methods_of(s))) {
      if (said.status < 200 && said.status != 101) continue;
      const size_t mine = n++;
      if (mine >= asked.size() || id_of(asked[mine].first_line) != id || said.status != got.status) continue;
      if (got.tunnel || (said.body.starts_with(got.body) && (!got.complete || (said.complete && said.body == got.body)))) return true;
    }
  }
  return false;
}

inline std::string Script::judge_client(const Client& c, const std::vector<std::vector<std::string>>& lines) {
  std::vector<const std::vector<std::string>*> answered;     // the lines of this connection that tell of an answer, in order
  std::vector<std::string> methods;
  for (const auto& line : lines) {
    if (line[3] != std::to_string(c.port) || line[1] == "0") continue;
    answered.push_back(&line);
    methods.push_back(line[4]);
  }
  if (tunnels_.contains(std::to_string(c.port))) return {};
  const Ending ending = c.peer->broken ? Ending::kBroken : c.peer->ended ? Ending::kClean : Ending::kOpen;
  size_t n = 0;
  for (const Message& m : messages(c.peer->got, ending, true, methods)) {
    if (m.status < 200 && m.status != 101) continue;
    // The answer in hand has no line yet.
    if (n >= answered.size())
      return n == answered.size() && !m.complete && ending == Ending::kOpen ? "" : "more answers than lines: " + c.peer->got;
    const auto& line = *answered[n++];
    if (line[1] != std::to_string(m.status)) return fmt::format("client got {}, logged {}", m.status, line[1]);
    const int id = id_of(" " + line[5]);
    for (const char byte : m.body)
      if (!m.tunnel && (byte & 0x80) && byte != static_cast<char>(0x80 + id % 0x80)) return "a body with bytes of another one";
    const bool ours = line[2] != "-" && m.status >= 400;     // a local reply
    if (!ours && !c.raw && id != 0 && !answered_so(id, m))
      return fmt::format("nobody said this to r{}: {}", id, c.peer->got.substr(0, 300));
    if (ours && !m.complete && ending == Ending::kOpen) return "a local reply that stops";
  }
  return {};
}

inline std::string Script::judge_server(const Server& s) {
  for (const Message& m : messages(s.peer->got, Ending::kOpen, false)) {
    const int id = id_of(m.first_line);
    bool known = id == 0, fits = false;
    for (const Client& c : script_clients_) {
      known |= c.raw;
      for (const Message& asked : messages(c.sent, Ending::kOpen, false)) {
        if (id_of(asked.first_line) != id) continue;
        known = true;
        const bool upgrade = m.has("\r\nupgrade: ");         // behind it comes no body but a tunnel
        fits |= upgrade || (asked.body.starts_with(m.body) && (!m.complete || asked.complete));
      }
      fits |= c.raw;
    }
    if (!known) return fmt::format("upstream got r{}, which nobody asked", id);
    if (id != 0 && !fits) return fmt::format("upstream got another body for r{}, or one that was not whole", id);
    if (m.has("\r\nupgrade: ")) break;
  }
  return {};
}

inline std::string Script::judge() {
  for (auto& client : clients_) client->stream->reset();
  std::vector<std::shared_ptr<upstream::SharedLimits>> limits;
  for (const auto& view : state_.clusters.view()) limits.push_back(shared_.limits_of(view.name));
  end();
  std::vector<std::vector<std::string>> lines;               // HTTP's
  size_t tagged_twice = 0;
  std::map<std::string, int> seen;
  for (const std::string& text : lines_.lines) {
    auto& fields = lines.emplace_back();
    for (std::string_view rest = std::string_view(text).substr(0, text.size() - 1); fields.size() < 6;) {
      const auto blank = fields.size() == 5 ? rest.npos : rest.find(' ');
      fields.emplace_back(rest.substr(0, blank));
      rest.remove_prefix(blank == rest.npos ? rest.size() : blank + 1);
    }
    if (fields[0] == "-") {                                  // a tunnel's: no HTTP for us
      tunnels_.insert(fields[3]);
      lines.pop_back();
    } else if (id_of(" " + fields[5]) != 0) {
      tagged_twice += seen[fields[5]]++ > 0;
    }
  }
  bool raw = false;
  for (const Client& c : script_clients_) raw |= c.raw;
  if (tagged_twice > 0 && !raw) return "two lines for one request";
  uint64_t counted = 0;
  for (const auto& sample : registry_.merged())
    if (sample.name == "istio_requests_total") counted += sample.value;
  if (counted != lines.size()) return fmt::format("{} lines, {} requests in the metrics", lines.size(), counted);
  if (state_.counters.requests_total.value() != lines.size()) return "requests begun and lines differ";
  for (const Client& c : script_clients_)
    if (auto why = judge_client(c, lines); !why.empty()) return why;
  for (const Server& s : script_servers_)
    if (auto why = judge_server(s); !why.empty()) return why;
  if (worker_.tasks() != 0) return "somebody still waits";
  if (state_.connections.front() || state_.counters.connections_active.value() != 0) return "a connection is still listed";
  if (state_.pending != 0) return "a place among those that wait is lost";
  for (const auto& limit : limits)
    if (limit->connections.load() != 0 || limit->pending.load() != 0 || limit->requests.load() != 0 || limit->retries.load() != 0)
      return "a place in a limit is lost";
  clients_.clear();
  servers_.clear();
  if (worker_.block_bytes() != 0) return "buffers are not given back";
  return {};
}

}  // namespace proxy::in_memory
