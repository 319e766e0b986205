#include <fmt/format.h>

#include "api/report.h"
#include "api/resource.h"
#include "api/tables.h"
#include "doc/reader.h"

namespace api {
namespace {

template <class Value, class From> void set(std::optional<Value>& into, const Cursor& at, From from) {
  if (at) into = static_cast<Value>(from(at));
}

ProxyConfig proxy_config(const Cursor& at) {
  const auto truth = [](const Cursor& c) { return c.truth(); };
  const auto number = [](const Cursor& c) { return c.number(); };
  const auto duration = [](const Cursor& c) { return *parse_duration(c.text()); };
  ProxyConfig out;
  set(out.concurrency, at["concurrency"], number);
  for (const doc::Node::Entry& entry : at["proxyMetadata"].entries()) out.proxy_metadata[entry.key] = entry.value.text_or();
  set(out.drain_duration, at["drainDuration"], duration);
  set(out.termination_drain_duration, at["terminationDrainDuration"], duration);
  set(out.num_trusted_proxies, at["gatewayTopology"]["numTrustedProxies"], number);
  const Cursor headers = at["proxyHeaders"];
  set(out.preserve_header_case, headers["preserveHttp1HeaderCase"], truth);
  set(out.attempt_count_disabled, headers["attemptCount"]["disabled"], truth);
  set(out.request_id_disabled, headers["requestId"]["disabled"], truth);
  set(out.debug_headers_disabled, headers["envoyDebugHeaders"]["disabled"], truth);
  set(out.server_disabled, headers["server"]["disabled"], truth);
  if (headers["server"]["value"]) out.server_value = headers["server"]["value"].text();
  return out;
}

MeshConfig mesh_config(const Cursor& at) {
  MeshConfig out;
  out.at = at.mark();
  const Cursor outbound = at["outboundTrafficPolicy"]["mode"];
  if (outbound.text() == "REGISTRY_ONLY") out.outbound = OutboundPolicy::kRegistryOnly;
  if (outbound.text() == "ALLOW_ANY_DYNAMIC_DNS") outbound.warn("NOT_IMPLEMENTED", "ALLOW_ANY_DYNAMIC_DNS is not implemented yet; ALLOW_ANY is used");
  const std::string normalization = at["pathNormalization"]["normalization"].text();
  if (normalization == "NONE") out.normalization = PathNormalization::kNone;
  if (normalization == "MERGE_SLASHES") out.normalization = PathNormalization::kMergeSlashes;
  if (normalization == "DECODE_AND_MERGE_SLASHES") out.normalization = PathNormalization::kDecodeAndMergeSlashes;
  out.access_log_file = at["accessLogFile"].text();
  out.access_log_format = at["accessLogFormat"].text();
  out.access_log_json = at["accessLogEncoding"].text() == "JSON";
  out.root_namespace = at["rootNamespace"].text(out.root_namespace);
  out.trust_domain = at["trustDomain"].text(out.trust_domain);
  if (at["connectTimeout"]) out.connect_timeout = *parse_duration(at["connectTimeout"].text());
  if (at["protocolDetectionTimeout"]) out.protocol_detection_timeout = *parse_duration(at["protocolDetectionTimeout"].text());
  out.auto_mtls = at["enableAutoMtls"].truth(true);
  out.defaults = proxy_config(at["defaultConfig"]);
  return out;
}

void append(doc::Problems& to, doc::Problems from) {
  for (doc::Problem& problem : from) to.push_back(std::move(problem));
}

}  // namespace

MeshConfig decode_mesh_config(const doc::Document& config_map_document, doc::Problems& problems) {
  const std::string object = "ConfigMap/istio-system/istio";
  const doc::Node* text = config_map_document.root.at_path("data.mesh");
  if (!text || !text->is_scalar()) {
    const doc::Node& place = text ? *text : config_map_document.root;
    problems.push_back({doc::Problem::Severity::kWarning, "NO_MESH_CONFIG", object, "data.mesh", "the key mesh is missing; Istio's defaults are used", config_map_document.mark(place)});
    return {};
  }
  doc::File inner = doc::read_embedded(config_map_document, *text);
  for (doc::Problem& problem : inner.problems) problem.object = object;
  const bool broken = !inner.problems.empty();
  append(problems, std::move(inner.problems));
  if (broken || inner.documents.empty()) return {};

  Report report(inner.documents[0], object);
  const Cursor root(&inner.documents[0].root, "data.mesh", report);
  check_schema(root, tables::kMeshConfig, Unknown::kWarning);
  MeshConfig out;
  if (!report.failed()) out = mesh_config(root);
  append(problems, report.take());
  return out;
}

ProxyConfig decode_proxy_config(std::string_view text, const Meta& owner, doc::Problems& problems) {
  const std::string field = "metadata.annotations.proxy.istio.io/config";
  doc::File inner = doc::read_yaml(owner.at.file_name(), text);
  const bool broken = !inner.problems.empty();
  Report report(owner.at.file, owner.id());
  ProxyConfig out;
  if (!broken && !inner.documents.empty()) {
    const Cursor root(&inner.documents[0].root, field, report);
    check_schema(root, tables::kProxyConfig, Unknown::kWarning);
    if (!report.failed()) out = proxy_config(root);
  }
  for (doc::Problem& problem : report.take()) inner.problems.push_back(std::move(problem));
  for (doc::Problem& problem : inner.problems) {
    problem.object = owner.id();
    if (problem.field.empty()) problem.field = field;
    problem.at = owner.at;   // lines inside an annotation's text are not the file's
  }
  append(problems, std::move(inner.problems));
  return out;
}

}  // namespace api
