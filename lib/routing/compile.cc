#include "routing/destination_rules.h"
#include "routing/endpoint_index.h"
#include "routing/engine.h"
#include "routing/tables.h"

#include "api/resource.h"

namespace routing {
namespace {
constexpr const char* kProxyConfigAnnotation = "proxy.istio.io/config";

// Fields that the pod's own configuration says win over the mesh's, one by one; proxyMetadata key by key.
void merge(api::ProxyConfig& mesh, const api::ProxyConfig& own) {
  const auto take = [](auto& into, const auto& from) {
    if (from) into = from;
  };
  take(mesh.concurrency, own.concurrency);
  for (const auto& [key, value] : own.proxy_metadata) mesh.proxy_metadata[key] = value;
  take(mesh.drain_duration, own.drain_duration);
  take(mesh.termination_drain_duration, own.termination_drain_duration);
  take(mesh.num_trusted_proxies, own.num_trusted_proxies);
  take(mesh.preserve_header_case, own.preserve_header_case);
  take(mesh.attempt_count_disabled, own.attempt_count_disabled);
  take(mesh.request_id_disabled, own.request_id_disabled);
  take(mesh.debug_headers_disabled, own.debug_headers_disabled);
  take(mesh.server_disabled, own.server_disabled);
  take(mesh.server_value, own.server_value);
}

api::MeshConfig config_for(const api::Mesh& mesh, const Proxy& self, doc::Problems& problems) {
  api::MeshConfig config = mesh.config;
  const api::Pod* pod = mesh.pod(self.name_space, self.name);
  if (!pod) return config;
  const auto own = pod->meta.annotations.find(kProxyConfigAnnotation);
  if (own != pod->meta.annotations.end()) merge(config.defaults, api::decode_proxy_config(own->second, pod->meta, problems));
  return config;
}
}  // namespace

Compiled compile(const api::Mesh& mesh, const Proxy& self) {
  Compiled out;
  auto tables = std::make_unique<Snapshot::Tables>();
  tables->self = self;
  tables->config = config_for(mesh, self, out.problems);
  auto registry = std::make_shared<const Registry>(mesh, self, out.problems);
  tables->registry = registry;
  const DestinationRules rules(mesh, self);
  tables->clusters.add_outbound(*registry, rules, tables->config);
  Build build{mesh, tables->self, tables->config, *registry, *tables, out.problems, rules};
  if (self.role == Proxy::Role::kGateway) {
    build_gateway(build);
  } else {
    build_outbound(build);
    build_inbound(build);
  }
  out.endpoints = endpoints_of(mesh, tables->clusters);
  out.snapshot = std::make_shared<Snapshot>(std::move(tables));
  return out;
}

}  // namespace routing
