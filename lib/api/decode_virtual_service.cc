#include <algorithm>

#include <fmt/format.h>

#include "api/decode.h"
#include "api/rules.h"

namespace api {
namespace {

std::string lower(std::string_view text) {
  std::string out(text);
  for (char& c : out) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
  return out;
}

bool is_mesh(std::string_view gateway) { return gateway == "mesh"; }

// One host takes everything that the other takes: "*.a.com" takes "x.a.com" and "*.x.a.com".
bool covers(std::string_view wide, std::string_view narrow) {
  if (wide == narrow || wide == "*") return true;
  return wide.starts_with('*') && narrow.size() > wide.size() - 1 && narrow.ends_with(wide.substr(1));
}

void check_hosts(const Cursor& spec, const VirtualService& service) {
  const bool mesh = service.gateways.empty() || std::any_of(service.gateways.begin(), service.gateways.end(), [](const Text& g) { return is_mesh(g.value); });
  const std::vector<Cursor> hosts = spec["hosts"].items();
  if (hosts.empty() && !service.gateways.empty())
    spec.error("hosts is empty; name at least one host (only a VirtualService that others delegate to has none, and it names no gateways)");
  for (size_t i = 0; i < hosts.size(); ++i) {
    if (!rules::host(hosts[i])) continue;
    if (hosts[i].text() == "*" && mesh) hosts[i].error("host * is only possible for gateways, not for mesh; name the hosts, or name gateways without mesh");
    for (size_t j = 0; j < i; ++j) {
      const std::string a = lower(hosts[j].text()), b = lower(hosts[i].text());
      if (a == b) hosts[i].error(fmt::format("host {} stands twice", hosts[i].text()));
      else if (covers(a, b) || covers(b, a)) hosts[i].error(fmt::format("hosts {} and {} overlap; keep the wider one", hosts[j].text(), hosts[i].text()));
    }
  }
}

void check_gateways(const Cursor& list) {
  for (const Cursor& item : list.items()) {
    const std::string value = item.text();
    const size_t slash = value.find('/');
    const std::string_view name = slash == std::string::npos ? std::string_view(value) : std::string_view(value).substr(slash + 1);
    const std::string_view name_space = slash == std::string::npos ? std::string_view(".") : std::string_view(value).substr(0, slash);
    if (!rules::is_dns_name(name) || (name_space != "." && !rules::is_dns_label(name_space)))
      item.error(fmt::format("{} is no gateway; write name, namespace/name or mesh", quoted(value)));
    else if (slash == std::string::npos && value.ends_with(".svc.cluster.local"))
      item.warn("IST0002", "gateways by service name are deprecated; write namespace/name");
  }
}

Destination destination(const Cursor& at) {
  Destination out;
  out.host = at["host"].marked_text();
  out.subset = at["subset"].marked_text();
  out.port = static_cast<uint16_t>(at["port"]["number"].number());
  out.at = at.mark();
  if (rules::host(at["host"]) && out.host.value.starts_with('*')) at["host"].error("a destination cannot be a wildcard");
  if (at["subset"]) rules::subset_name(at["subset"]);
  return out;
}

std::vector<RouteDestination> route_destinations(const Cursor& list) {
  std::vector<RouteDestination> out;
  uint64_t total = 0;
  for (const Cursor& item : list.items()) {
    RouteDestination route;
    route.at = item.mark();
    route.destination = destination(item["destination"]);
    if (item["weight"]) route.weight = static_cast<uint32_t>(item["weight"].number());
    total += route.weight.value_or(0);
    route.request_headers = rules::header_operations(item["headers"]["request"], true);
    route.response_headers = rules::header_operations(item["headers"]["response"], false);
    out.push_back(std::move(route));
  }
  if (out.size() > 1 && total == 0) list.error("the weights of these destinations sum up to 0; give at least one a weight above 0");
  return out;
}

std::vector<std::pair<std::string, StringMatch>> match_map(const Cursor& at, bool header) {
  std::vector<std::pair<std::string, StringMatch>> out;
  for (const doc::Node::Entry& entry : at.entries()) {
    const Cursor value = at.at(entry);
    const bool pseudo = entry.key == ":authority" || entry.key == ":method" || entry.key == ":path" || entry.key == ":scheme";
    const bool claim = entry.key.starts_with("@request.auth.claims");
    if (header && !pseudo && !claim && !rules::is_header_token(entry.key)) value.error(fmt::format("{} is no header name", quoted(entry.key)));
    out.emplace_back(header && !claim ? lower(entry.key) : entry.key, rules::string_match(value));
  }
  return out;
}

void check_claims(const Cursor& match, const VirtualService& service, const HttpMatch& decoded) {
  const auto on_mesh = [](const std::vector<Text>& gateways) {
    return std::any_of(gateways.begin(), gateways.end(), [](const Text& gateway) { return is_mesh(gateway.value); });
  };
  const bool mesh = decoded.gateways.empty() ? service.gateways.empty() || on_mesh(service.gateways) : on_mesh(decoded.gateways);
  for (const std::string_view field : {"headers", "withoutHeaders"}) {
    const Cursor map = match[field];
    for (const doc::Node::Entry& entry : map.entries()) {
      if (!entry.key.starts_with("@request.auth.claims")) continue;
      const Cursor at = map.at(entry);
      if (mesh) at.error("a match on a claim of a token works only at gateways; name gateways without mesh");
      else at.warn("NOT_IMPLEMENTED", "matching on a claim is not implemented yet; this condition never holds");
    }
  }
}

HttpMatch http_match(const Cursor& at, const VirtualService& service) {
  HttpMatch out;
  out.at = at.mark();
  out.name = at["name"].text();
  const auto optional = [&at](std::string_view field, std::optional<StringMatch>& into) {
    if (at[field]) into = rules::string_match(at[field]);
  };
  optional("uri", out.uri);
  optional("scheme", out.scheme);
  optional("method", out.method);
  optional("authority", out.authority);
  out.ignore_uri_case = at["ignoreUriCase"].truth();
  out.headers = match_map(at["headers"], true);
  out.without_headers = match_map(at["withoutHeaders"], true);
  out.query_params = match_map(at["queryParams"], false);
  out.port = static_cast<uint16_t>(at["port"].number());
  out.source_labels = at["sourceLabels"].labels();
  out.source_namespace = at["sourceNamespace"].text();
  out.gateways = at["gateways"].texts();
  check_gateways(at["gateways"]);
  check_claims(at, service, out);
  return out;
}

bool legal_retry_word(std::string_view word) {
  static constexpr std::string_view kWords[] = {
      "5xx", "gateway-error", "reset", "reset-before-request", "connect-failure", "retriable-4xx", "refused-stream", "retriable-status-codes",
      "retriable-headers", "envoy-ratelimited", "http3-post-connect-failure", "cancelled", "deadline-exceeded", "internal", "resource-exhausted", "unavailable"};
  if (std::find(std::begin(kWords), std::end(kWords), word) != std::end(kWords)) return true;
  return word.size() == 3 && word.find_first_not_of("0123456789") == std::string_view::npos && word[0] >= '1' && word[0] <= '5';
}

void check_retry_on(const Cursor& at) {
  std::string_view rest = at ? std::string_view(at.node().scalar) : std::string_view();
  while (!rest.empty()) {
    const size_t comma = rest.find(',');
    std::string_view word = rest.substr(0, comma);
    rest = comma == std::string_view::npos ? std::string_view() : rest.substr(comma + 1);
    while (word.starts_with(' ')) word.remove_prefix(1);
    while (word.ends_with(' ')) word.remove_suffix(1);
    if (!word.empty() && !legal_retry_word(word))
      at.error(fmt::format("{} is no retry condition; use words such as 5xx, gateway-error, reset, connect-failure, refused-stream, unavailable, or a status like 503", quoted(word)));
  }
}

HttpRoute::Retries retries(const Cursor& at) {
  HttpRoute::Retries out;
  // Istio: attempts is a plain number, so a retries block without it means none at all.
  out.attempts = static_cast<uint32_t>(at["attempts"].number(0));
  if (at["perTryTimeout"]) out.per_try_timeout = parse_duration(at["perTryTimeout"].text());
  out.retry_on = at["retryOn"].text();
  check_retry_on(at["retryOn"]);
  if (out.attempts == 0 && (out.per_try_timeout || !out.retry_on.empty()))
    (at["attempts"] ? at["attempts"] : at).error("attempts is 0, which turns retries off; then perTryTimeout and retryOn must not be set");
  return out;
}

// What a rule does with its requests: exactly one of the four.
void check_action(const Cursor& rule) {
  const bool route = rule["route"] && !rule["route"].items().empty();
  const bool redirect = static_cast<bool>(rule["redirect"]), direct = static_cast<bool>(rule["directResponse"]), delegate = static_cast<bool>(rule["delegate"]);
  const int actions = route + redirect + direct + delegate;
  if (actions == 0) rule.error("the rule does nothing; give it route, redirect, directResponse or delegate");
  if (actions > 1) {
    const std::string_view other = redirect ? "redirect" : direct ? "directResponse" : "delegate";
    rule[other].error(fmt::format("{} and {} cannot stand in one rule", other, route ? "route" : redirect && direct ? "directResponse" : "delegate"));
  }
  for (const std::string_view other : {"rewrite", "fault"})
    if (redirect && rule[other]) rule["redirect"].error(fmt::format("redirect and {} cannot stand in one rule", other));
}

HttpRoute http_route(const Cursor& at, const VirtualService& service) {
  HttpRoute out;
  out.at = at.mark();
  out.name = at["name"].text();
  check_action(at);
  for (const Cursor& item : at["match"].items()) out.match.push_back(http_match(item, service));
  out.route = route_destinations(at["route"]);
  if (at["timeout"]) out.timeout = parse_duration(at["timeout"].text());
  if (at["retries"]) out.retries = retries(at["retries"]);
  out.request_headers = rules::header_operations(at["headers"]["request"], true);
  out.response_headers = rules::header_operations(at["headers"]["response"], false);
  check_http_route_extras(at);
  return out;
}

// tls and tcp rules are counted only; their destinations are checked so that mistakes do not wait until they work.
size_t count_rules(const Cursor& list, bool tls) {
  size_t count = 0;
  for (const Cursor& rule : list.items()) {
    ++count;
    if (rule["route"].items().empty()) rule.error("the rule has no route");
    for (const Cursor& item : rule["route"].items()) destination(item["destination"]);
    for (const Cursor& match : rule["match"].items()) {
      check_gateways(match["gateways"]);
      for (const Cursor& subnet : match["destinationSubnets"].items()) rules::cidr(subnet);
      for (const Cursor& sni : match["sniHosts"].items()) rules::host(sni);
      if (tls && match["sniHosts"].items().empty()) match.error("sniHosts is empty; name at least one host");
    }
  }
  return count;
}

}  // namespace

VirtualService decode_virtual_service(const Meta& meta, const Cursor& spec) {
  VirtualService out;
  out.meta = meta;
  out.hosts = spec["hosts"].texts();
  out.gateways = spec["gateways"].texts();
  out.export_to = spec["exportTo"].texts();
  check_hosts(spec, out);
  check_gateways(spec["gateways"]);
  rules::export_to(spec["exportTo"], false);
  for (const Cursor& rule : spec["http"].items()) out.http.push_back(http_route(rule, out));
  out.tls_rules = count_rules(spec["tls"], true);
  out.tcp_rules = count_rules(spec["tcp"], false);
  if (out.http.empty() && out.tls_rules + out.tcp_rules == 0) spec.error("http, tls or tcp is missing: there is no rule");
  return out;
}

}  // namespace api
