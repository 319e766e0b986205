#include <cstdio>
#include <cstdlib>
#include <optional>
#include <string>

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include "api/resource.h"
#include "base/version.h"
#include "proxy/bootstrap.h"
#include "proxy/self.h"

namespace {

std::string env(const char* name) {
  const char* value = std::getenv(name);
  return value ? value : "";
}

[[noreturn]] void usage(const std::string& line) {
  fmt::print(stderr, "sluice-proxy: {}\n", line);
  std::exit(2);
}

std::vector<std::string> split(const std::string& text, char at) {
  std::vector<std::string> parts;
  for (size_t begin = 0; begin <= text.size();) {
    const size_t end = std::min(text.find(at, begin), text.size());
    if (end > begin) parts.push_back(text.substr(begin, end - begin));
    begin = end + 1;
  }
  return parts;
}

// The texts as they came from flag or variable, before they are checked.
struct Raw {
  std::vector<std::string> config;
  std::string pod, ip, admin = "127.0.0.1:15000", level = "info", format = "text";
  unsigned dns_port = 15053;
  std::string header_time = "15s", idle_time = "1h", body_idle_time, stream_idle = "0";
  std::optional<size_t> body_rate;
};

// At the edge of the mesh, where strangers upload. Between neighbours nothing hurries an upload, as in Istio.
constexpr std::chrono::milliseconds kGatewayBodyIdle = std::chrono::seconds(60);
constexpr size_t kGatewayBodyRate = 64;

std::chrono::milliseconds duration(const char* name, const std::string& text) {
  const auto value = api::parse_duration(text);
  if (!value) usage(fmt::format("{} {}: use a duration as 15s, 500ms or 1h", name, text));
  return *value;
}

bool yes_or_no(const char* name, const std::string& text) {
  if (text == "true" || text == "True" || text == "TRUE" || text == "1" || text == "t" || text == "T") return true;
  if (text == "false" || text == "False" || text == "FALSE" || text == "0" || text == "f" || text == "F") return false;
  usage(fmt::format("{} {}: use true or false", name, text));
}

void check_limits(proxy::Options& options, const Raw& raw) {
  http::Limits& http = options.limits.http;
  http.head_time = duration("--header-timeout", raw.header_time);
  http.idle_time = duration("--idle-timeout", raw.idle_time);
  if (http.head_time.count() == 0 || http.idle_time.count() == 0) usage("--header-timeout and --idle-timeout: use more than 0");
  http.body_idle_time = options.gateway ? kGatewayBodyIdle : std::chrono::milliseconds(0);
  if (!raw.body_idle_time.empty()) http.body_idle_time = duration("--body-idle-timeout", raw.body_idle_time);
  http.body_bytes_per_second = raw.body_rate.value_or(options.gateway ? kGatewayBodyRate : 0);
  options.limits.stream_idle = duration("--stream-idle-timeout", raw.stream_idle);
}

// Istio: the variables of pilot-agent.
void check_drain(proxy::Options& options) {
  if (const auto text = env("TERMINATION_DRAIN_DURATION_SECONDS"); !text.empty()) {
    const auto bare = text.find_first_not_of("0123456789") == std::string::npos;
    options.drain = duration("TERMINATION_DRAIN_DURATION_SECONDS", bare ? text + "s" : text);
  }
  if (const auto text = env("EXIT_ON_ZERO_ACTIVE_CONNECTIONS"); !text.empty())
    options.exit_when_idle = yes_or_no("EXIT_ON_ZERO_ACTIVE_CONNECTIONS", text);
  if (const auto text = env("MINIMUM_DRAIN_DURATION"); !text.empty()) options.minimum_drain = duration("MINIMUM_DRAIN_DURATION", text);
}

void add_limits(CLI::App& mode, proxy::Limits& limits, Raw& raw) {
  const CLI::Range most(1u, ~0u - 1);
  const CLI::Range head(1024, 1024 * 1024), fields(1, 10'000);
  mode.add_option("--max-connections", limits.listener_connections, "of each listener; accepting pauses there; default: no limit")
      ->check(most);
  mode.add_option("--max-worker-connections", limits.worker_connections, "of each worker; more are closed; default: no limit")->check(most);
  mode.add_option("--max-pending-requests", limits.pending_requests,
                  "that wait for an upstream connection on a worker, then 503 UO; default: no limit")
      ->check(most);
  mode.add_option("--max-header-bytes", limits.http.head_bytes, "of a request")->capture_default_str()->check(head);
  mode.add_option("--max-header-fields", limits.http.fields, "of a request")->capture_default_str()->check(fields);
  mode.add_option("--header-timeout", raw.header_time, "from the first byte of a request to the end of its head")->capture_default_str();
  mode.add_option("--idle-timeout", raw.idle_time, "of a client's connection between requests")->capture_default_str();
  mode.add_option("--body-idle-timeout", raw.body_idle_time,
                  "silence in a request body, then 408; 0: off; default: 60s at a gateway, else 0");
  mode.add_option("--body-min-rate", raw.body_rate,
                  "bytes a second of a request body, over 30 s, less is 408; 0: off; default: 64 at a gateway, else 0");
  mode.add_option("--stream-idle-timeout", raw.stream_idle, "no byte of a request or its answer, then 408 or 504 SI; 0: off")
      ->capture_default_str();
}

void check(proxy::Options& options, const Raw& raw) {
  options.config_roots = raw.config.empty() ? split(env("SLUICE_CONFIG"), ':') : raw.config;
  if (options.config_roots.empty()) usage("--config PATH (or SLUICE_CONFIG) is needed: a file or directory of Kubernetes YAML");
  if (!raw.pod.empty()) {
    const auto slash = raw.pod.find('/');
    if (slash == std::string::npos || slash == 0 || slash + 1 == raw.pod.size() || raw.pod.find('/', slash + 1) != std::string::npos)
      usage(fmt::format("--pod {}: use NAMESPACE/NAME", raw.pod));
    options.pod_namespace = raw.pod.substr(0, slash);
    options.pod_name = raw.pod.substr(slash + 1);
  } else {
    if (!env("POD_NAMESPACE").empty()) options.pod_namespace = env("POD_NAMESPACE");
    options.pod_name = env("POD_NAME");
  }
  if (options.pod_name.empty()) usage("--pod NAMESPACE/NAME (or POD_NAMESPACE and POD_NAME) is needed");
  for (const auto& text : split(raw.ip.empty() ? env("INSTANCE_IP") : raw.ip, ',')) {
    const auto ip = base::Ip::parse(text);
    if (!ip) usage(fmt::format("--ip {}: not an IP address", text));
    options.addresses.push_back(*ip);
  }
  const auto admin = base::SocketAddress::parse(raw.admin);
  if (!admin) usage(fmt::format("--admin {}: use ADDRESS:PORT", raw.admin));
  if (!admin->ip.is_loopback()) usage(fmt::format("--admin {}: the admin port listens on loopback only", raw.admin));
  options.admin = *admin;
  if (options.interception_mode.empty()) options.interception_mode = env("ISTIO_META_INTERCEPTION_MODE");
  if (const auto& mode = options.interception_mode; !mode.empty() && mode != "REDIRECT" && mode != "TPROXY" && mode != "NONE")
    usage(fmt::format("--interception-mode {}: use REDIRECT, TPROXY or NONE", mode));
  if (const auto probe = env("SLUICE_INTERCEPTION_PROBE"); !probe.empty()) {
    if (probe != "true" && probe != "false") usage(fmt::format("SLUICE_INTERCEPTION_PROBE {}: use true or false", probe));
    options.interception_probe = probe == "true";
  }
  if (!logs::parse(raw.level, options.log_level)) usage(fmt::format("--log-level {}: use trace, debug, info, warning, error or off", raw.level));
  if (raw.format != "text" && raw.format != "json") usage(fmt::format("--log-format {}: use text or json", raw.format));
  options.log_json = raw.format == "json";
  options.http10 = env("PILOT_HTTP10") == "1" || env("PILOT_HTTP10") == "true" || env("ISTIO_META_HTTP10") == "1";
}

void concurrency(proxy::Options& options) {
  if (options.concurrency == 0) {
    const std::string limit = env("ISTIO_CPU_LIMIT");
    if (!limit.empty()) {
      char* end = nullptr;
      const unsigned long cpus = std::strtoul(limit.c_str(), &end, 10);
      if (*end != 0 || cpus == 0 || cpus > 1024) usage(fmt::format("ISTIO_CPU_LIMIT {}: use a number from 1 to 1024", limit));
      options.concurrency = static_cast<unsigned>(cpus);
    } else {
      options.concurrency = proxy::default_concurrency();
    }
  }
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app{"The data plane: a sidecar in a pod, or the gateway at the edge of the mesh.", "sluice-proxy"};
  app.set_version_flag("--version", fmt::format("sluice-proxy {}", base::version_line()));
  app.require_subcommand(1);
  proxy::Options options;
  Raw raw;
  CLI::App* const sidecar = app.add_subcommand("sidecar", "serves one pod: outbound on 15001, inbound on 15006");
  CLI::App* const gateway = app.add_subcommand("gateway", "listens on the ports of the Gateways that select this pod");
  for (CLI::App* mode : {sidecar, gateway}) {
    mode->add_option("--config", raw.config, "file or directory of Kubernetes YAML or JSON, watched; repeatable [SLUICE_CONFIG, colon-separated]")
        ->expected(1)->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
    mode->add_option("--pod", raw.pod, "NAMESPACE/NAME of the pod this proxy serves [POD_NAMESPACE, POD_NAME]");
    mode->add_option("--ip", raw.ip, "own addresses, comma-separated [INSTANCE_IP]; default: the Pod's, else the interfaces'");
    mode->add_option("--interception-mode", options.interception_mode, "REDIRECT, TPROXY or NONE [ISTIO_META_INTERCEPTION_MODE]; default: the Pod's annotation");
    mode->add_option("--labels-file", options.labels_file, "downward API file with the pod's labels");
    mode->add_option("--annotations-file", options.annotations_file, "downward API file with the pod's annotations");
    mode->add_option("--outbound-port", options.outbound_port)->capture_default_str()->check(CLI::Range(1, 65535));
    mode->add_option("--inbound-port", options.inbound_port)->capture_default_str()->check(CLI::Range(1, 65535));
    mode->add_option("--admin", raw.admin)->capture_default_str();
    mode->add_option("--health-port", options.health_port)->capture_default_str()->check(CLI::Range(1, 65535));
    mode->add_option("--metrics-port", options.metrics_port)->capture_default_str()->check(CLI::Range(1, 65535));
    mode->add_option("--agent-port", options.agent_port)->capture_default_str()->check(CLI::Range(1, 65535));
    mode->add_option("--dns-port", raw.dns_port, "DNS capture is not built yet: the port is not opened")->capture_default_str();
    mode->add_option("--concurrency", options.concurrency, "worker threads [ISTIO_CPU_LIMIT]; default: the CPU limit, else 2")->check(CLI::Range(1, 1024));
    mode->add_option("--workload-certs", options.workload_certs, "where key.pem, cert-chain.pem and root-cert.pem lie")->capture_default_str();
    mode->add_option("--log-level", raw.level)->capture_default_str();
    mode->add_option("--log-format", raw.format, "text or json")->capture_default_str();
    add_limits(*mode, options.limits, raw);
  }
  try {
    app.parse(argc, argv);
  } catch (const CLI::Success& success) {
    return app.exit(success);
  } catch (const CLI::ParseError& error) {
    usage(error.what());
  }
  options.gateway = gateway->parsed();
  check(options, raw);
  check_limits(options, raw);
  check_drain(options);
  concurrency(options);
  return proxy::run(options);
}
