#include "proxy/request_log.h"

#include <algorithm>
#include <cerrno>
#include <cstring>

#include <fmt/format.h>

namespace proxy {
namespace {
using routing::Direction;

telemetry::Reporter reporter(Direction direction) noexcept {
  return direction == Direction::kInbound ? telemetry::Reporter::kDestination : telemetry::Reporter::kSource;
}

void write_line(WorkerState& state, const telemetry::LogEntry& entry) {
  state.log_line.clear();
  state.log_format->append(state.log_line, entry);
  state.log->write(state.log_line);
}

std::chrono::system_clock::time_point wall_of(const WorkerState& state, std::chrono::steady_clock::time_point then) {
  const auto ago = state.worker.now() - then;
  return state.worker.wall() - std::chrono::duration_cast<std::chrono::system_clock::duration>(ago);
}

// What Envoy writes of a connect that failed: the errno's words, with underscores among the details.
void connect_failure(uint16_t sys, std::string& details, std::string& reason) {
  reason = fmt::format("delayed connect error: {}", std::strerror(sys == 0 ? ECONNREFUSED : sys));
  details = fmt::format("upstream_reset_before_response_started{{remote_connection_failure|{}}}", reason);
  std::ranges::replace(details, ' ', '_');
}

void record(Request& r, std::string_view flags) {
  telemetry::RequestLabels labels;
  labels.reporter = reporter(r.connection.direction);
  labels.cluster = r.settings;
  if (r.connection.direction != Direction::kInbound) labels.peer = r.upstream_workload.get();
  // Elsewhere the Host is a stranger's word: at a gateway it would fill the metrics with names of his choice.
  if (r.connection.direction == Direction::kOutbound) labels.fallback_host = r.authority;
  // REGISTRY_ONLY's answer belongs to the cluster that swallows (traffic.md §3.6).
  if (!r.settings && r.detail == base::Detail::kDirectResponse) labels.fallback_name = "BlackHoleCluster";
  labels.status = r.status;
  labels.flags = flags == "-" ? std::string_view{} : flags;
  labels.grpc = r.grpc;
  if (r.grpc && r.response_fields) {
    const auto text = r.response_fields->get(base::FieldId::kGrpcStatus);
    if (!text.empty() && text.size() <= 2) {
      labels.grpc_status = 0;
      for (const char c : text) labels.grpc_status = labels.grpc_status * 10 + (c - '0');
    }
  }
  const telemetry::RequestNumbers numbers{.duration = r.state.worker.now() - r.start, .request_bytes = r.exchange.bytes_received(),
                                          .response_bytes = r.exchange.bytes_sent()};
  if (r.state.metrics) r.state.metrics->record_request(labels, numbers);
}
}  // namespace

void finish_request(Request& r) {
  std::string scratch;
  const std::string_view flags = r.flags.text(scratch);
  record(r, flags);
  r.state.limits.hit(r.detail, r.connection.peer);
  if (!r.state.log || !r.state.log_format) return;
  const http::RequestHead& head = r.exchange.request();
  telemetry::LogEntry entry;
  entry.start = wall_of(r.state, r.start);
  entry.duration = std::chrono::duration_cast<std::chrono::milliseconds>(r.state.worker.now() - r.start);
  if (r.upstream_ms >= 0) entry.response_duration = std::chrono::milliseconds(r.upstream_ms);
  entry.method = r.method;
  entry.scheme = head.scheme;
  entry.authority = r.authority;
  entry.path = head.path.empty() ? r.path : head.path;
  entry.protocol = http::name_of(r.version);
  entry.response_code = r.status;
  entry.flags = flags;
  entry.details = base::row(r.detail).text;
  std::string details, reason;
  if (r.detail == base::Detail::kUpstreamConnectFailure) {
    connect_failure(r.sys, details, reason);
    entry.details = details;
    entry.transport_failure_reason = reason;
  }
  entry.bytes_received = r.exchange.bytes_received();
  entry.bytes_sent = r.exchange.bytes_sent();
  if (r.settings) entry.cluster = r.settings->name;
  if (r.decision.plan) entry.route_name = (*r.decision.plan)->name;
  entry.upstream_host = r.upstream_host;
  entry.upstream_local = r.upstream_local;
  entry.downstream_local = r.connection.dst.address;
  entry.downstream_remote = r.connection.peer;
  entry.downstream_direct_remote = r.connection.peer;
  entry.attempts = r.attempts;
  entry.connection_id = r.connection.id;
  entry.request = &head.fields;
  entry.response = r.response_fields ? &*r.response_fields : nullptr;
  write_line(r.state, entry);
}

TcpRecord::TcpRecord(WorkerState& state, Connection& connection) noexcept : state_(state), connection_(connection) {}

telemetry::TrafficLabels TcpRecord::labels() const noexcept {
  telemetry::TrafficLabels labels;
  labels.reporter = reporter(connection_.direction);
  labels.cluster = settings.get();
  if (connection_.direction != Direction::kInbound) labels.peer = workload_.get();
  if (!settings) labels.fallback_name = "BlackHoleCluster";
  return labels;
}

void TcpRecord::opened(upstream::TcpLease& lease) {
  upstream_host = lease.endpoint().address;
  upstream_local = lease.stream().local();
  workload_ = lease.endpoint().workload;
  if (!state_.metrics) return;
  cells_ = state_.metrics->tcp(labels());
  cells_->opened->add();
}

TcpRecord::~TcpRecord() {
  const std::string_view flags = base::row(detail_).flag;
  state_.limits.hit(detail_, connection_.peer);
  if (!cells_ && state_.metrics) {
    cells_ = state_.metrics->tcp(labels(), flags);
    cells_->opened->add();
  }
  if (cells_) {
    cells_->closed->add();
    cells_->received->add(received);
    cells_->sent->add(sent);
  }
  if (!state_.log || !state_.log_format) return;
  telemetry::LogEntry entry;
  entry.start = wall_of(state_, connection_.since);
  entry.duration = std::chrono::duration_cast<std::chrono::milliseconds>(state_.worker.now() - connection_.since);
  entry.flags = flags;
  if (settings) entry.cluster = settings->name;
  else entry.cluster = "BlackHoleCluster";
  entry.bytes_received = received;
  entry.bytes_sent = sent;
  entry.upstream_host = upstream_host;
  entry.upstream_local = upstream_local;
  entry.downstream_local = connection_.dst.address;
  entry.downstream_remote = connection_.peer;
  entry.downstream_direct_remote = connection_.peer;
  entry.connection_id = connection_.id;
  write_line(state_, entry);
}

}  // namespace proxy
