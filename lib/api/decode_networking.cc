#include <algorithm>

#include <fmt/format.h>

#include "api/decode.h"
#include "api/rules.h"

namespace api {
namespace {

std::string upper(std::string_view text) {
  std::string out(text);
  for (char& c : out) c = c >= 'a' && c <= 'z' ? static_cast<char>(c - 32) : c;
  return out;
}

std::optional<base::LoadBalancer> load_balancer(const Cursor& at) {
  const Cursor hash = at["consistentHash"];
  if (hash) {
    const int keys = static_cast<bool>(hash["httpHeaderName"]) + static_cast<bool>(hash["httpCookie"]) + static_cast<bool>(hash["useSourceIp"]) + static_cast<bool>(hash["httpQueryParameterName"]);
    if (keys != 1) hash.error(fmt::format("consistentHash has {}; give exactly one of httpHeaderName, httpCookie, useSourceIp and httpQueryParameterName", keys == 0 ? "no key" : "several keys"));
    if (at["simple"]) at["simple"].error("simple and consistentHash cannot stand together");
  }
  const Cursor simple = at["simple"];
  if (!simple) return std::nullopt;
  const std::string word = simple.text();
  if (word == "LEAST_CONN") simple.warn("IST0002", "LEAST_CONN is deprecated and means LEAST_REQUEST; write that");
  if (word == "ROUND_ROBIN") return base::LoadBalancer::kRoundRobin;
  if (word == "RANDOM") return base::LoadBalancer::kRandom;
  if (word == "PASSTHROUGH") return base::LoadBalancer::kPassthrough;
  return base::LoadBalancer::kLeastRequest;
}

void check_client_tls(const Cursor& at) {
  if (!at) return;
  const std::string mode = at["mode"].text("DISABLE");
  if (mode == "ISTIO_MUTUAL")
    for (const std::string_view field : {"clientCertificate", "privateKey", "caCertificates", "credentialName"})
      if (at[field]) at[field].error(fmt::format("mode ISTIO_MUTUAL uses the workload's own certificate; {} must not be set", field));
  if (mode == "MUTUAL" && !at["credentialName"] && (!at["clientCertificate"] || !at["privateKey"])) at.error("mode MUTUAL needs clientCertificate and privateKey, or credentialName");
  if (at["credentialName"] && (at["clientCertificate"] || at["privateKey"] || at["caCertificates"])) at["credentialName"].error("credentialName and certificate files cannot stand together");
}

void check_outlier(const Cursor& block) {
  if (block["consecutiveLocalOriginFailures"] && !block["splitExternalLocalOriginErrors"].truth())
    block["consecutiveLocalOriginFailures"].error("consecutiveLocalOriginFailures needs splitExternalLocalOriginErrors: true");
  if (block["consecutiveErrors"]) block["consecutiveErrors"].warn("IST0002", "consecutiveErrors is ignored by Istio; use consecutive5xxErrors or consecutiveGatewayErrors");
}

std::optional<ConnectionPool> connection_pool(const Cursor& at) {
  if (!at) return std::nullopt;
  const Cursor tcp = at["tcp"], http = at["http"];
  if (!tcp && !http) at.error("connectionPool is empty; give tcp, http or both");
  const auto threshold = [](const Cursor& field) { return static_cast<uint32_t>(field.number()); };
  ConnectionPool out;   // durations that are absent have no text, and no value
  out.max_connections = threshold(tcp["maxConnections"]);
  out.connect_timeout = parse_duration(tcp["connectTimeout"].text());
  out.max_connection_duration = parse_duration(tcp["maxConnectionDuration"].text());
  out.tcp_idle_timeout = parse_duration(tcp["idleTimeout"].text());
  out.max_pending = threshold(http["http1MaxPendingRequests"]);
  out.max_requests = threshold(http["http2MaxRequests"]);
  out.max_requests_per_connection = threshold(http["maxRequestsPerConnection"]);
  out.max_retries = threshold(http["maxRetries"]);
  out.idle_timeout = parse_duration(http["idleTimeout"].text());
  const Cursor upgrade = http["h2UpgradePolicy"], same = http["useClientProtocol"];
  const bool upgrades = upgrade.text() == "UPGRADE";
  if (upgrades && same.truth()) same.error("useClientProtocol and h2UpgradePolicy UPGRADE cannot stand together");
  // Their other values say what is done anyway.
  if (upgrades) upgrade.warn("NOT_IMPLEMENTED", "h2UpgradePolicy UPGRADE is not implemented yet: the port's protocol is spoken");
  if (same.truth()) same.warn("NOT_IMPLEMENTED", "useClientProtocol is not implemented yet: the port's protocol is spoken");
  return out;
}

// Blocks that have no effect yet are validated all the same.
PolicyBlocks policy_blocks(const Cursor& at) {
  check_client_tls(at["tls"]);
  check_outlier(at["outlierDetection"]);
  return {load_balancer(at["loadBalancer"]), connection_pool(at["connectionPool"])};
}

TrafficPolicy traffic_policy(const Cursor& at) {
  TrafficPolicy out{policy_blocks(at), {}};
  for (const Cursor& port : at["portLevelSettings"].items())
    out.ports.emplace_back(static_cast<uint16_t>(port["port"]["number"].number()), policy_blocks(port));
  return out;
}

void check_server_tls(const Cursor& tls, const std::string& protocol) {
  if (!tls) return;
  const std::string mode = tls["mode"].text("PASSTHROUGH");
  const bool certificate = tls["credentialName"] || tls["credentialNames"] || tls["tlsCertificates"] || (tls["serverCertificate"] && tls["privateKey"]);
  const bool terminates = mode == "SIMPLE" || mode == "MUTUAL" || mode == "OPTIONAL_MUTUAL";
  if (terminates && !certificate && (protocol == "HTTPS" || protocol == "TLS"))
    tls.error(fmt::format("mode {} needs a certificate: credentialName, or serverCertificate and privateKey", mode));
  if (tls["credentialName"] && tls["serverCertificate"]) tls["credentialName"].error("credentialName and certificate files cannot stand together");
  if (tls["httpsRedirect"].truth() && protocol == "HTTPS") tls["httpsRedirect"].warn("NO_EFFECT", "httpsRedirect has no effect on an HTTPS server");
}

void check_server_hosts(const Cursor& list) {
  for (const Cursor& item : list.items()) {
    const std::string value = item.text();
    const size_t slash = value.find('/');
    if (slash == std::string::npos) {
      rules::host(item);
      continue;
    }
    const std::string_view name_space = std::string_view(value).substr(0, slash);
    if (name_space != "." && name_space != "*" && name_space != "~" && !rules::is_dns_label(name_space))
      item.error(fmt::format("{} is no namespace; write namespace/host, ./host or */host", quoted(name_space)));
    rules::host_value(item, std::string_view(value).substr(slash + 1));
  }
}

Server server(const Cursor& at) {
  static constexpr std::string_view kProtocols[] = {"HTTP", "HTTP2", "GRPC", "GRPC-WEB", "HTTPS", "TLS", "TCP", "MONGO", "MYSQL", "REDIS"};
  Server out;
  const Cursor port = at["port"], tls = at["tls"];
  out.at = at.mark();
  out.name = at["name"].text();
  out.port_name = port["name"].text();
  out.protocol = upper(port["protocol"].text());
  out.port = static_cast<uint16_t>(port["number"].number());
  out.hosts = at["hosts"].texts();
  out.bind = at["bind"].text();
  out.tls = static_cast<bool>(tls);
  out.https_redirect = tls["httpsRedirect"].truth();
  if (std::find(std::begin(kProtocols), std::end(kProtocols), out.protocol) == std::end(kProtocols))
    port["protocol"].error(fmt::format("{} is no protocol; use {}", quoted(port["protocol"].text()), any_of({std::begin(kProtocols), std::end(kProtocols)})));
  if (out.hosts.empty()) at.error("hosts is empty; name at least one host, or *");
  check_server_hosts(at["hosts"]);
  const bool needs_tls = out.protocol == "HTTPS" || out.protocol == "TLS";
  if (needs_tls && !tls) at.error(fmt::format("protocol {} needs a tls block", out.protocol));
  const bool plain_http = out.protocol == "HTTP" || out.protocol == "HTTP2" || out.protocol == "GRPC" || out.protocol == "GRPC-WEB";
  if (plain_http && tls && !out.https_redirect) tls.error(fmt::format("protocol {} takes no tls block except httpsRedirect; use HTTPS to terminate TLS", out.protocol));
  check_server_tls(tls, out.protocol);
  return out;
}

WorkloadEndpoint workload(const Cursor& at, ServiceEntry::Resolution resolution) {
  WorkloadEndpoint out;
  const Cursor address = at["address"];
  out.at = at.mark();
  out.address = address.text();
  for (const doc::Node::Entry& entry : at["ports"].entries()) {
    const int64_t number = at["ports"].at(entry).number();
    if (number < 1 || number > 65535) at["ports"].at(entry).error(fmt::format("{} is no port; use 1–65535", number));
    out.ports.emplace_back(entry.key, static_cast<uint16_t>(number));
  }
  out.labels = at["labels"].labels();
  // Istio: 0 means not said.
  out.weight = std::max<uint32_t>(1, static_cast<uint32_t>(at["weight"].number(1)));
  out.service_account = at["serviceAccount"].text();
  const bool path = out.address.starts_with("unix://");
  if (out.address.empty()) at.error("an endpoint needs an address");
  else if (path) address.warn("NOT_IMPLEMENTED", "endpoints at a Unix socket are not implemented yet; this one is left out");
  else if (resolution == ServiceEntry::Resolution::kStatic && !base::Ip::parse(out.address))
    address.error(fmt::format("{} is no IP address; resolution STATIC takes IPs only (use DNS for names)", quoted(out.address)));
  else if (!base::Ip::parse(out.address)) rules::host(address);
  return out;
}

ServiceEntry::Resolution resolution_of(const Cursor& at) {
  const std::string word = at.text("NONE");
  if (word == "STATIC") return ServiceEntry::Resolution::kStatic;
  if (word == "NONE") return ServiceEntry::Resolution::kNone;
  at.warn("NOT_IMPLEMENTED", fmt::format("resolution {} is not implemented yet: these names are not resolved and the hosts have no endpoints", word));
  return word == "DNS_ROUND_ROBIN" ? ServiceEntry::Resolution::kDnsRoundRobin : ServiceEntry::Resolution::kDns;
}

void check_resolution(const Cursor& spec, const ServiceEntry& entry) {
  using Resolution = ServiceEntry::Resolution;
  const Cursor endpoints = spec["endpoints"];
  if (entry.resolution == Resolution::kNone && !entry.endpoints.empty()) endpoints.error("resolution NONE goes where the client dials; endpoints need STATIC or DNS");
  if (!entry.endpoints.empty() && spec["workloadSelector"]) endpoints.error("endpoints and workloadSelector cannot stand together");
  if (entry.resolution == Resolution::kDnsRoundRobin && entry.endpoints.size() > 1) endpoints.error("resolution DNS_ROUND_ROBIN takes at most one endpoint");
  const bool dns = entry.resolution == Resolution::kDns || entry.resolution == Resolution::kDnsRoundRobin;
  for (const Cursor& host : spec["hosts"].items())
    if (dns && spec["resolution"].text() != "DYNAMIC_DNS" && host.text().starts_with('*') && entry.endpoints.empty()) host.error(fmt::format("{} cannot be resolved: a wildcard host with DNS needs endpoints", host.text()));
  for (const Cursor& address : spec["addresses"].items()) {
    rules::cidr(address);
    if (dns && address.text().find('/') != std::string::npos) address.error("a CIDR block is possible with resolution NONE and STATIC only");
  }
}

}  // namespace

DestinationRule decode_destination_rule(const Meta& meta, const Cursor& spec) {
  DestinationRule out;
  out.meta = meta;
  out.host = spec["host"].marked_text();
  rules::host(spec["host"]);
  out.export_to = spec["exportTo"].texts();
  rules::export_to(spec["exportTo"], false);
  if (spec["trafficPolicy"]) out.policy = traffic_policy(spec["trafficPolicy"]);
  for (const Cursor& item : spec["subsets"].items()) {
    Subset subset;
    subset.name = item["name"].marked_text();
    subset.labels = item["labels"].labels();
    subset.policy = traffic_policy(item["trafficPolicy"]);
    subset.at = item.mark();
    rules::subset_name(item["name"]);
    for (const Subset& other : out.subsets)
      if (other.name.value == subset.name.value) item["name"].error(fmt::format("subset {} stands twice", subset.name.value));
    out.subsets.push_back(std::move(subset));
  }
  return out;
}

Gateway decode_gateway(const Meta& meta, const Cursor& spec) {
  Gateway out;
  out.meta = meta;
  out.selector = spec["selector"].labels();
  out.selector_at = spec["selector"] ? spec["selector"].mark() : spec.mark();
  const std::vector<Cursor> servers = spec["servers"].items();
  if (servers.empty()) spec.error("servers is empty; a Gateway needs at least one");
  for (const Cursor& item : servers) {
    out.servers.push_back(server(item));
    for (size_t i = 0; i + 1 < out.servers.size(); ++i)
      if (out.servers[i].port_name == out.servers.back().port_name) item["port"]["name"].error(fmt::format("the port name {} stands twice in this Gateway", out.servers[i].port_name));
  }
  return out;
}

ServiceEntry decode_service_entry(const Meta& meta, const Cursor& spec) {
  ServiceEntry out;
  out.meta = meta;
  out.hosts = spec["hosts"].texts();
  out.export_to = spec["exportTo"].texts();
  rules::export_to(spec["exportTo"], true);
  if (out.hosts.empty()) spec.error("hosts is empty; name at least one host");
  for (const Cursor& host : spec["hosts"].items()) {
    rules::host(host);
    if (host.text() == "*") host.error("host * would take everything; name a domain, such as *.example.com");
  }
  for (const Text& address : spec["addresses"].texts())
    if (const auto cidr = base::Cidr::parse(address.value)) out.addresses.push_back(*cidr);
  for (const Cursor& item : spec["ports"].items()) {
    ServiceEntry::Port port{item["name"].text(), item["protocol"].text(), static_cast<uint16_t>(item["number"].number()), static_cast<uint16_t>(item["targetPort"].number()), item.mark()};
    for (const ServiceEntry::Port& other : out.ports) {
      if (other.name == port.name) item["name"].error(fmt::format("the port name {} stands twice", port.name));
      if (other.number == port.number) item["number"].error(fmt::format("the port {} stands twice", port.number));
    }
    out.ports.push_back(std::move(port));
  }
  out.mesh_internal = spec["location"].text() == "MESH_INTERNAL";
  out.resolution = resolution_of(spec["resolution"]);
  for (const Cursor& item : spec["endpoints"].items()) out.endpoints.push_back(workload(item, out.resolution));
  out.workload_selector = spec["workloadSelector"]["labels"].labels();
  check_resolution(spec, out);
  return out;
}

}  // namespace api
