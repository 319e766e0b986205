#include "doc/writer.h"
#include "routing/tables.h"

// Route tables in Envoy's words, for /config_dump and `sluice routes`.
namespace routing {
namespace {
using Kind = api::StringMatch::Kind;

void string_match(doc::JsonWriter& out, const api::StringMatch& match, bool ignore_case = false) {
  out.begin_object();
  switch (match.kind) {
    case Kind::kExact: out.member("exact", match.value); break;
    case Kind::kPrefix: out.member("prefix", match.value); break;
    case Kind::kRegex: out.key("safe_regex").begin_object().member("regex", match.value).end_object(); break;
    case Kind::kPresent: out.member("present", true); break;
  }
  if (ignore_case) out.member("ignore_case", true);
  out.end_object();
}

void header(doc::JsonWriter& out, std::string_view name, const api::StringMatch& match, bool invert) {
  out.begin_object().member("name", name);
  if (match.kind == Kind::kPresent) {
    out.member("present_match", true);
  } else {
    out.key("string_match");
    string_match(out, match);
  }
  if (invert) out.member("invert_match", true);
  if (invert && match.kind != Kind::kPresent) out.member("treat_missing_header_as_empty", true);
  out.end_object();
}

void headers(doc::JsonWriter& out, const api::HttpMatch& match) {
  const bool any = match.scheme || match.method || match.authority || !match.headers.empty() || !match.without_headers.empty();
  if (!any) return;
  out.key("headers").begin_array();
  if (match.scheme) header(out, ":scheme", *match.scheme, false);
  if (match.method) header(out, ":method", *match.method, false);
  if (match.authority) header(out, ":authority", *match.authority, false);
  for (const auto& [name, value] : match.headers) header(out, name, value, false);
  for (const auto& [name, value] : match.without_headers) header(out, name, value, true);
  out.end_array();
}

void match(doc::JsonWriter& out, const Match* match) {
  out.key("match").begin_object();
  switch (match ? match->path_kind() : Match::Path::kAny) {
    case Match::Path::kAny: out.member("prefix", "/"); break;
    case Match::Path::kExact: out.member("path", match->source().uri->value); break;
    case Match::Path::kPrefix: out.member("prefix", match->source().uri->value); break;
    case Match::Path::kRegex: out.key("safe_regex").begin_object().member("regex", match->source().uri->value).end_object(); break;
  }
  if (match && match->ignores_case()) out.member("case_sensitive", false);
  if (match) {
    headers(out, match->source());
    if (!match->source().query_params.empty()) {
      out.key("query_parameters").begin_array();
      for (const auto& [name, value] : match->source().query_params) {
        out.begin_object().member("name", name).key("string_match");
        string_match(out, value);
        out.end_object();
      }
      out.end_array();
    }
  }
  out.end_object();
}

std::string seconds(std::chrono::milliseconds time) {
  const auto ms = time.count();
  std::string out = std::to_string(ms / 1000);
  if (ms % 1000 != 0) out += '.' + std::to_string(1000 + ms % 1000).substr(1);
  return out + 's';
}

void action(doc::JsonWriter& out, const Route& route) {
  const RoutePlan& plan = *route.plan;
  if (route.status != 0) {
    out.key("direct_response").begin_object().member("status", unsigned{route.status}).end_object();
    return;
  }
  out.key("route").begin_object();
  if (plan.split.size() == 1) {
    out.member("cluster", plan.split.front().cluster_name);
  } else {
    out.key("weighted_clusters").begin_object().key("clusters").begin_array();
    for (const auto& target : plan.split) out.begin_object().member("name", target.cluster_name).member("weight", target.weight).end_object();
    out.end_array().member("total_weight", plan.total_weight).end_object();
  }
  out.member("timeout", seconds(plan.timeout));
  if (plan.retries > 0) {
    out.key("retry_policy").begin_object().member("num_retries", plan.retries);
    if (plan.per_try.count() > 0) out.member("per_try_timeout", seconds(plan.per_try));
    out.end_object();
  }
  out.end_object();
}

// Istio says in each route's metadata which object it comes from; tools look there.
void metadata(doc::JsonWriter& out, const RoutePlan& plan) {
  const size_t slash = plan.virtual_service.find('/');
  if (slash == std::string::npos) return;
  const std::string_view id = plan.virtual_service;
  std::string config("/apis/networking.istio.io/v1/namespaces/");
  config.append(id.substr(0, slash)).append("/virtual-service/").append(id.substr(slash + 1));
  out.key("metadata").begin_object().key("filter_metadata").begin_object().key("istio").begin_object().member("config", config);
  out.end_object().end_object().end_object();
}
}  // namespace

std::string Snapshot::routes_json() const {
  doc::JsonWriter out;
  out.begin_array();
  for (const auto& table : tables_->routes) {
    out.begin_object().member("name", table.name).key("virtual_hosts").begin_array();
    for (const auto& host : table.hosts) {
      out.begin_object().member("name", host.name).key("domains").begin_array();
      for (const auto& domain : host.domains) out.value(domain);
      out.end_array().key("routes").begin_array();
      for (const auto& route : host.routes) {
        out.begin_object();
        if (!route.plan->name.empty()) out.member("name", route.plan->name);
        match(out, route.match.get());
        action(out, route);
        metadata(out, *route.plan);
        out.end_object();
      }
      out.end_array().end_object();
    }
    out.end_array().end_object();
  }
  return out.end_array().take();
}

}  // namespace routing
