#include "proxy/worker_state.h"

#include <sys/random.h>

#include <bit>
#include <cstring>
#include <ctime>
#include <thread>

#include "doc/reader.h"

namespace proxy {
namespace {
std::array<uint64_t, 4> seed() {
  std::array<uint64_t, 4> bytes{};
  // Never fails after boot for so few bytes; were it to, the address of the stack would still tell workers apart.
  if (getrandom(bytes.data(), sizeof bytes, 0) != sizeof bytes) bytes[0] ^= reinterpret_cast<uintptr_t>(&bytes);
  return bytes;
}

telemetry::Self self_of(const routing::Proxy& proxy) {
  const auto label = [&proxy](const char* name) {
    const auto found = proxy.labels.find(name);
    return found == proxy.labels.end() ? std::string() : found->second;
  };
  telemetry::Self self;
  self.workload.workload = telemetry::workload_of_pod_name(proxy.name);
  self.workload.name_space = proxy.name_space;
  self.workload.app = label("app");
  self.workload.version = label("version");
  self.workload.service_account = proxy.service_account;
  self.workload.canonical_name = label("service.istio.io/canonical-name");
  self.workload.canonical_revision = label("service.istio.io/canonical-revision");
  self.workload.cluster_id = "Kubernetes";
  if (self.workload.canonical_name.empty()) self.workload.canonical_name = self.workload.app.empty() ? self.workload.workload : self.workload.app;
  if (self.workload.canonical_revision.empty()) self.workload.canonical_revision = self.workload.version.empty() ? "latest" : self.workload.version;
  self.principal = "spiffe://cluster.local/ns/" + proxy.name_space + "/sa/" + proxy.service_account;
  return self;
}

// With accessLogEncoding JSON the format is a JSON object of key and operator. One that is no object falls back to Istio's.
std::shared_ptr<const telemetry::AccessLogFormat> json_format(const std::string& text) {
  using telemetry::AccessLogFormat;
  const doc::File file = doc::read_json("accessLogFormat", text);
  std::vector<std::string> problems;
  std::vector<std::pair<std::string, std::string>> keys;
  if (file.documents.size() == 1)
    for (const auto& entry : file.documents.front().root.map) keys.emplace_back(entry.key, std::string(entry.value.text_or()));
  if (keys.empty()) {
    logs::warn(logs::Component::kConfig, "accessLogFormat is no JSON object; the default JSON format is used");
    return std::make_shared<const AccessLogFormat>(AccessLogFormat::istio_json());
  }
  auto format = std::make_shared<const AccessLogFormat>(AccessLogFormat::json(keys, problems));
  for (const std::string& problem : problems) logs::warn(logs::Component::kConfig, "accessLogFormat: {}", problem);
  return format;
}

std::shared_ptr<const telemetry::AccessLogFormat> format_of(const api::MeshConfig& mesh) {
  using telemetry::AccessLogFormat;
  std::vector<std::string> problems;
  if (mesh.access_log_json && !mesh.access_log_format.empty()) return json_format(mesh.access_log_format);
  if (mesh.access_log_json) return std::make_shared<const AccessLogFormat>(AccessLogFormat::istio_json());
  if (mesh.access_log_format.empty()) return std::make_shared<const AccessLogFormat>(AccessLogFormat::istio_text());
  auto format = std::make_shared<const AccessLogFormat>(AccessLogFormat::text(mesh.access_log_format, problems));
  for (const std::string& problem : problems) logs::warn(logs::Component::kConfig, "accessLogFormat: {}", problem);
  return format;
}
}  // namespace

std::shared_ptr<upstream::SharedLimits> Shared::limits_of(const std::string& cluster) {
  const std::lock_guard guard(lock_);
  auto& known = limits_[cluster];
  auto limits = known.lock();
  if (!limits) known = limits = std::make_shared<upstream::SharedLimits>();
  return limits;
}

logs::Sink* Shared::access_log(const std::string& path) {
  if (path.empty()) return nullptr;
  const std::lock_guard guard(lock_);
  auto& sink = sinks_[path];
  if (!sink) sink = logs::Sink::open(path);
  return sink.get();
}

void Shared::reopen_logs() {
  const std::lock_guard guard(lock_);
  for (const auto& [path, sink] : sinks_) sink->reopen();
}

// Each sink waits for its own reader, so they end side by side: several stalled ones together take no longer than one.
void Shared::finish_logs() {
  const std::lock_guard guard(lock_);
  std::vector<std::jthread> ends;
  for (const auto& [path, sink] : sinks_) ends.emplace_back([s = sink.get()] { s->finish(); });
}

uint64_t Shared::access_log_dropped() const {
  const std::lock_guard guard(lock_);
  uint64_t dropped = 0;
  for (const auto& [path, sink] : sinks_) dropped += sink->dropped();
  return dropped;
}

Counters::Counters(stats::Shard& shard)
    : connections_total(shard.counter("envoy_listener_downstream_cx_total")),
      connections_active(shard.gauge("envoy_listener_downstream_cx_active")),
      requests_total(shard.counter("envoy_http_downstream_rq_total")),
      tcp_total(shard.counter("envoy_tcp_downstream_cx_total")),
      detect_server_first(shard.counter("sluice_detect_server_first_total")),
      black_hole(shard.counter("sluice_black_hole_connections_total")),
      refused_requests(shard.counter("envoy_http_downstream_cx_protocol_error")) {}

WorkerState::WorkerState(net::Worker& w, Shared& s, stats::Shard& sh, const upstream::ClusterSeams& seams)
    : worker(w), shared(s), shard(sh), counters(sh), limits(sh), random(seed()),
      clusters(w, [&s](const std::string& cluster) { return s.limits_of(cluster); }, seams) {
  log_line.reserve(2048);
  h1_options.limits = s.options().limits.http;
  worker.attach(this);
}
WorkerState::~WorkerState() = default;

void WorkerState::apply(config::SnapshotHandle next, const routing::Endpoints& endpoints) {
  if (metrics) metrics->configuration_changed();
  if (next) {
    clusters.apply(next->clusters());
    const auto& mesh = next->mesh_config();
    log = shared.access_log(mesh.access_log_file);
    log_format = log ? format_of(mesh) : nullptr;
    h1_options.path = static_cast<http::PathMode>(mesh.normalization);
    h1_options.http10 = shared.options().http10;
    h1_options.preserve_case = mesh.defaults.preserve_header_case.value_or(false);
    if (!metrics) metrics = std::make_unique<telemetry::IstioMetrics>(shard, self_of(next->self()));
    snapshot = std::move(next);
  }
  for (const auto& [cluster, set] : endpoints) clusters.update_endpoints(cluster, set);
  by_number_.clear();
  for (const auto& settings : snapshot->clusters()) by_number_.push_back(clusters.find(settings->name));
}

upstream::Cluster* WorkerState::cluster(const routing::Snapshot& of, uint32_t number) noexcept {
  if (&of == snapshot.get()) return number < by_number_.size() ? by_number_[number] : nullptr;
  const auto all = of.clusters();
  return number < all.size() ? clusters.find(all[number]->name) : nullptr;
}

void WorkerState::begin_drain() noexcept {
  draining_ = true;
  // Idle connections stay open: a request may be on its way, and closing would fail it. Its answer will say `close`.
  for (Connection* c = connections.front(); c; c = connections.next(*c))
    if (c->server && c->direction != routing::Direction::kOutbound && !c->server->idle()) c->server->drain();
}

namespace {
// Between two requests, or silent since it was accepted.
void close_if_idle(Connection& connection, base::Code why) noexcept {
  if (connection.server) {
    if (connection.server->idle()) connection.server->drain();
  } else if (std::string_view(connection.kind) == "new") {
    connection.stream->cancel(Error{.code = why, .detail = base::Detail::kDownstreamLocalDisconnect});
  }
}
}  // namespace

void WorkerState::close_idle() noexcept {
  for (Connection* c = connections.front(); c; c = connections.next(*c))
    if (c->direction != routing::Direction::kOutbound) close_if_idle(*c, base::Code::kDraining);
}

void WorkerState::shed(bool on) noexcept {
  shedding_ = on;
  if (!on) return;
  for (Connection* c = connections.front(); c; c = connections.next(*c)) close_if_idle(*c, base::Code::kOverflow);
}

bool WorkerState::admits(const Connection& connection) noexcept {
  if (counters.connections_active.value() <= shared.options().limits.worker_connections) return true;
  limits.hit(LimitCounters::Which::kWorkerConnections, connection.peer);
  return false;
}

PendingPlace::PendingPlace(WorkerState& state, const base::SocketAddress& peer) noexcept {
  if (state.pending >= state.shared.options().limits.pending_requests) {
    state.limits.hit(LimitCounters::Which::kPendingRequests, peer);
    return;
  }
  state_ = &state;
  ++state.pending;
}

void WorkerState::cancel_all() noexcept {
  for (Connection* c = connections.front(); c; c = connections.next(*c))
    c->stream->cancel(Error{.code = base::Code::kDraining, .detail = base::Detail::kDownstreamLocalDisconnect});
}

std::string_view WorkerState::date() noexcept {
  const std::time_t second = std::chrono::system_clock::to_time_t(worker.wall());
  if (second != date_second_) {
    std::tm parts{};
    gmtime_r(&second, &parts);
    // The C locale is never changed by us, so %a and %b are the English names that the RFC asks for.
    std::strftime(date_.data(), date_.size(), "%a, %d %b %Y %H:%M:%S GMT", &parts);
    date_second_ = second;
  }
  return {date_.data(), 29};
}

namespace {
// The eight hex digits of a word, all at once: a nibble in each byte, and 'a' - '9' - 1 more where it is above nine.
void put_hex(uint32_t word, char* out) noexcept {
  uint64_t nibbles = word;
  nibbles = (nibbles | nibbles << 16) & 0x0000ffff0000ffff;
  nibbles = (nibbles | nibbles << 8) & 0x00ff00ff00ff00ff;
  nibbles = (nibbles | nibbles << 4) & 0x0f0f0f0f0f0f0f0f;
  constexpr uint64_t kEach = 0x0101010101010101;
  const uint64_t letters = ((nibbles + 6 * kEach) >> 4) & kEach;
  uint64_t text = nibbles + '0' * kEach + letters * ('a' - '9' - 1);
  if constexpr (std::endian::native == std::endian::little) text = __builtin_bswap64(text);   // the first digit is the highest
  std::memcpy(out, &text, sizeof text);
}
}  // namespace

std::string_view WorkerState::uuid(std::span<char, 36> out) noexcept {
  // RFC 9562 §5.4: version 4 in the seventh byte, variant 10 in the ninth.
  const uint64_t high = (random.next() & ~0xf000ull) | 0x4000ull, low = (random.next() >> 2) | (1ull << 63);
  char digits[32];
  put_hex(static_cast<uint32_t>(high >> 32), digits);
  put_hex(static_cast<uint32_t>(high), digits + 8);
  put_hex(static_cast<uint32_t>(low >> 32), digits + 16);
  put_hex(static_cast<uint32_t>(low), digits + 24);
  std::memcpy(out.data(), digits, 8);
  std::memcpy(out.data() + 9, digits + 8, 4);
  std::memcpy(out.data() + 14, digits + 12, 4);
  std::memcpy(out.data() + 19, digits + 16, 4);
  std::memcpy(out.data() + 24, digits + 20, 12);
  for (const size_t dash : {8, 13, 18, 23}) out[dash] = '-';
  return {out.data(), out.size()};
}

}  // namespace proxy
