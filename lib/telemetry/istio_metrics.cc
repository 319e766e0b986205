#include "telemetry/istio_metrics.h"

#include <array>
#include <functional>
#include <unordered_map>
#include <utility>

#include <fmt/format.h>

namespace telemetry {
namespace {

// Clients choose some label values (the authority of unknown destinations), so the cache is emptied here; the registry caps
// the series themselves.
constexpr size_t kMaxCached = 16'384;

constexpr std::string_view kUnknown = "unknown";

const base::WorkloadInfo kNobody;

struct TextHash {
  using is_transparent = void;
  size_t operator()(std::string_view text) const noexcept { return std::hash<std::string_view>{}(text); }
};
template <class Series> using Cache = std::unordered_map<std::string, Series, TextHash, std::equal_to<>>;

struct RequestSeries {
  stats::Cell* total;
  stats::Histogram* duration;
  stats::Histogram* request_bytes;
  stats::Histogram* response_bytes;
};

// The series of the last requests, found by the addresses of what their labels were made from. Enough for what a worker does in
// a moment; everything else is found by its text.
struct Recent {
  const base::ClusterSettings* cluster = nullptr;      // null: free
  const base::WorkloadInfo* peer = nullptr;
  Reporter reporter = Reporter::kSource;
  bool mutual_tls = false;
  uint16_t status = 0;
  RequestSeries series{};

  bool is(const RequestLabels& labels) const noexcept {
    return cluster == labels.cluster && peer == labels.peer && status == labels.status && reporter == labels.reporter &&
           mutual_tls == labels.mutual_tls;
  }
};
constexpr size_t kRecent = 16;

// Whether addresses and numbers say all that the series depends on. A principal and flags are texts of the one request, and the
// fallbacks matter where the cluster has no names.
bool told_by_address(const RequestLabels& labels) noexcept {
  return labels.cluster && !labels.cluster->service_host.empty() && !labels.cluster->service_name.empty() && !labels.grpc &&
         labels.flags.empty() && labels.peer_principal.empty();
}
size_t place_of(const RequestLabels& labels) noexcept {
  const auto address = [](const void* at) { return reinterpret_cast<uintptr_t>(at) >> 5; };
  return (address(labels.cluster) ^ address(labels.peer) * 3 ^ labels.status) % kRecent;
}

std::string_view first_of(std::initializer_list<std::string_view> candidates) noexcept {
  for (const auto candidate : candidates) {
    if (!candidate.empty()) return candidate;
  }
  return kUnknown;
}

// What the labels depend on, one field after the other; a zero byte cannot stand inside one.
void append_key(std::string& key, std::string_view text) {
  key += text;
  key += '\0';
}

void append_key(std::string& key, const TrafficLabels& labels) {
  key += static_cast<char>('0' + static_cast<int>(labels.reporter) * 2 + labels.mutual_tls);
  if (labels.cluster) {
    append_key(key, labels.cluster->service_host);
    append_key(key, labels.cluster->service_name);
    append_key(key, labels.cluster->service_namespace);
  } else {
    key.append(3, '\0');
  }
  append_key(key, labels.fallback_host);
  append_key(key, labels.fallback_name);
  append_key(key, labels.peer_principal);
  const base::WorkloadInfo& peer = labels.peer ? *labels.peer : kNobody;
  for (const std::string* text : {&peer.workload, &peer.name_space, &peer.app, &peer.version, &peer.canonical_name, &peer.canonical_revision, &peer.cluster_id}) {
    append_key(key, *text);
  }
}

void add_side(stats::Labels& out, std::string_view side, const base::WorkloadInfo& who, std::string_view principal) {
  const auto add = [&](std::string_view name, std::string_view value) { out.emplace_back(fmt::format("{}_{}", side, name), value); };
  add("workload", first_of({who.workload}));
  add("workload_namespace", first_of({who.name_space}));
  add("principal", first_of({principal}));
  add("app", first_of({who.app}));
  add("version", first_of({who.version}));
}

void add_cluster(stats::Labels& out, std::string_view side, const base::WorkloadInfo& who) {
  out.emplace_back(fmt::format("{}_cluster", side), first_of({who.cluster_id}));
  // inject.md §3: the labels say it, else app or workload name; revision, else version, else "latest".
  const auto service = first_of({who.canonical_name, who.app, who.workload});
  out.emplace_back(fmt::format("{}_canonical_service", side), service);
  const bool known = service != kUnknown;
  out.emplace_back(fmt::format("{}_canonical_revision", side), first_of({who.canonical_revision, who.version, known ? "latest" : ""}));
}

// Istio's standard labels in the order of traffic.md §4.5, up to request_protocol.
stats::Labels common_labels(const Self& self, const TrafficLabels& labels, std::string_view protocol) {
  const bool source = labels.reporter == Reporter::kSource;
  const base::WorkloadInfo& peer = labels.peer ? *labels.peer : kNobody;
  const base::WorkloadInfo& from = source ? self.workload : peer;
  const base::WorkloadInfo& to = source ? peer : self.workload;
  const std::string_view own = labels.mutual_tls ? std::string_view(self.principal) : "";
  const std::string_view theirs = labels.mutual_tls ? labels.peer_principal : "";
  static const base::ClusterSettings kNoCluster;
  const base::ClusterSettings& cluster = labels.cluster ? *labels.cluster : kNoCluster;

  stats::Labels out;
  out.reserve(25);
  out.emplace_back("reporter", source ? "source" : "destination");
  add_side(out, "source", from, source ? own : theirs);
  add_cluster(out, "source", from);
  add_side(out, "destination", to, source ? theirs : own);
  out.emplace_back("destination_service", first_of({cluster.service_host, labels.fallback_host}));
  out.emplace_back("destination_service_name", first_of({cluster.service_name, labels.fallback_name}));
  out.emplace_back("destination_service_namespace", first_of({cluster.service_namespace}));
  add_cluster(out, "destination", to);
  out.emplace_back("request_protocol", protocol);
  return out;
}

void add_end(stats::Labels& out, const TrafficLabels& labels, std::string_view flags) {
  out.emplace_back("response_flags", flags.empty() ? "-" : flags);
  // The client's proxy does not say how the connection was secured; Istio leaves that to the server's.
  const std::string_view policy = labels.reporter == Reporter::kSource ? kUnknown : labels.mutual_tls ? "mutual_tls" : "none";
  out.emplace_back("connection_security_policy", policy);
}

}  // namespace

struct IstioMetrics::Impl {
  stats::Shard& shard;
  const Self self;
  std::string key{};                     // of the record in hand; kept for its capacity
  Cache<RequestSeries> requests{};
  Cache<Tcp> tunnels{};
  std::array<Recent, kRecent> recent{};

  RequestSeries make(const RequestLabels& labels) {
    stats::Labels all = common_labels(self, labels, labels.grpc ? "grpc" : "http");
    all.emplace_back("response_code", fmt::to_string(labels.status));
    all.emplace_back("grpc_response_status", labels.grpc && labels.grpc_status >= 0 ? fmt::to_string(labels.grpc_status) : "");
    add_end(all, labels, labels.flags);
    return {.total = &shard.counter("istio_requests_total", all),
            .duration = &shard.histogram("istio_request_duration_milliseconds", stats::duration_ms_bounds(), all),
            .request_bytes = &shard.histogram("istio_request_bytes", stats::bytes_bounds(), all),
            .response_bytes = &shard.histogram("istio_response_bytes", stats::bytes_bounds(), all)};
  }

  Tcp make(const TrafficLabels& labels, std::string_view flags) {
    stats::Labels all = common_labels(self, labels, "tcp");
    add_end(all, labels, flags);
    return {.opened = &shard.counter("istio_tcp_connections_opened_total", all),
            .closed = &shard.counter("istio_tcp_connections_closed_total", all),
            .sent = &shard.counter("istio_tcp_sent_bytes_total", all),
            .received = &shard.counter("istio_tcp_received_bytes_total", all)};
  }

  RequestSeries by_text(const RequestLabels& labels) {
    key.clear();
    key += static_cast<char>('0' + labels.grpc);
    key += static_cast<char>(labels.status >> 8);
    key += static_cast<char>(labels.status & 0xff);
    if (labels.grpc) append_key(key, fmt::format_int(labels.grpc_status).c_str());
    append_key(key, labels.flags);
    append_key(key, static_cast<const TrafficLabels&>(labels));
    return find(requests, [&] { return make(labels); });
  }

  template <class Series, class Make> Series& find(Cache<Series>& cache, Make make_one) {
    const auto at = cache.find(std::string_view(key));
    if (at != cache.end()) return at->second;
    if (cache.size() >= kMaxCached) cache.clear();
    return cache.emplace(key, make_one()).first->second;
  }
};

IstioMetrics::IstioMetrics(stats::Shard& shard, Self self) : impl_(new Impl{.shard = shard, .self = std::move(self)}) {}
IstioMetrics::~IstioMetrics() = default;

void IstioMetrics::record_request(const RequestLabels& labels, const RequestNumbers& numbers) {
  RequestSeries series;
  if (told_by_address(labels)) {
    Recent& recent = impl_->recent[place_of(labels)];
    if (!recent.is(labels)) {
      recent = {.cluster = labels.cluster, .peer = labels.peer, .reporter = labels.reporter, .mutual_tls = labels.mutual_tls,
                .status = labels.status, .series = impl_->by_text(labels)};
    }
    series = recent.series;
  } else {
    series = impl_->by_text(labels);
  }
  series.total->add();
  series.duration->record(numbers.duration.count());
  series.request_bytes->record(static_cast<double>(numbers.request_bytes));
  series.response_bytes->record(static_cast<double>(numbers.response_bytes));
}

void IstioMetrics::configuration_changed() noexcept { impl_->recent = {}; }

IstioMetrics::Tcp IstioMetrics::tcp(const TrafficLabels& labels, std::string_view flags) {
  std::string& key = impl_->key;
  key.clear();
  append_key(key, flags);
  append_key(key, labels);
  return impl_->find(impl_->tunnels, [&] { return impl_->make(labels, flags); });
}

// Deployment pods are NAME-HASH-RANDOM: the ReplicaSet's hash is a 32-bit number in decimal whose digits Kubernetes writes as
// 456789bcdf, so it is 7 to 10 characters that look like hexadecimal in all but a few hundredths of a percent of all cases.
std::string workload_of_pod_name(std::string_view pod) {
  const auto only = [](std::string_view text, std::string_view allowed) { return text.find_first_not_of(allowed) == text.npos; };
  const size_t last = pod.rfind('-');
  if (last == pod.npos || pod.size() - last - 1 != 5 || !only(pod.substr(last + 1), "0123456789abcdefghijklmnopqrstuvwxyz")) return std::string(pod);
  const size_t before = pod.rfind('-', last - 1);
  if (last == 0 || before == pod.npos || before == 0) return std::string(pod);
  const std::string_view hash = pod.substr(before + 1, last - before - 1);
  if (hash.size() < 7 || hash.size() > 10 || !only(hash, "0123456789abcdef")) return std::string(pod);
  return std::string(pod.substr(0, before));
}

}  // namespace telemetry
