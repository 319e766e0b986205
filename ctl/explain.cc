#include <algorithm>
#include <charconv>
#include <memory_resource>
#include <optional>

#include <fmt/format.h>

#include "base/fields.h"
#include "config/pipeline.h"
#include "ctl/commands.h"
#include "ctl/say.h"
#include "doc/writer.h"
#include "routing/engine.h"
#include "runner/state.h"

namespace ctl {
namespace {

struct Url {
  std::string host, path = "/";
  uint16_t port = 80;
};

std::optional<Url> parse_url(std::string_view text) {
  Url url;
  if (text.starts_with("http://"))
    text.remove_prefix(7);
  else if (text.starts_with("https://"))
    return std::nullopt;
  const size_t slash = text.find_first_of("/?");
  if (slash != std::string_view::npos) {
    url.path = text.substr(slash);
    if (url.path[0] == '?') url.path.insert(0, "/");
    text = text.substr(0, slash);
  }
  const size_t colon = text.rfind(':');
  const bool bracket = text.starts_with('[');
  if (colon != std::string_view::npos && (!bracket || text.find(']') < colon)) {
    const auto digits = text.substr(colon + 1);
    if (std::from_chars(digits.data(), digits.data() + digits.size(), url.port).ec != std::errc{}) return std::nullopt;
    text = text.substr(0, colon);
  }
  url.host = text;
  if (url.host.empty()) return std::nullopt;
  return url;
}

// As the pod's resolver would: the names of a Service from its own namespace, then the longer forms.
const api::Service* service_named(const api::Mesh& mesh, const std::string& host, const std::string& name_space,
                                  const std::string& domain) {
  for (const api::Service* service : mesh.services) {
    const std::string full = service->meta.name + '.' + service->meta.name_space;
    if (host == full + ".svc." + domain || host == full + ".svc" || host == full ||
        (host == service->meta.name && service->meta.name_space == name_space))
      return service;
  }
  return nullptr;
}

// Where the app's connection would go. Host names outside the mesh keep an address that belongs to nobody (RFC 5737).
base::OriginalDst dialled(const api::Mesh& mesh, const Url& url, const routing::Proxy& self) {
  const std::string bare = url.host.starts_with('[') ? url.host.substr(1, url.host.size() - 2) : url.host;
  base::Ip ip = base::Ip::parse(bare).value_or(*base::Ip::parse("192.0.2.1"));
  if (const api::Service* service = service_named(mesh, url.host, self.name_space, self.domain); service && !service->cluster_ips.empty())
    ip = service->cluster_ips.front();
  return {{ip, url.port}, true};
}

// The first destination with weight: what is explained must not change from call to call.
struct First final : routing::Random {
  uint32_t below(uint32_t) override { return 0; }
};

struct Answer {
  const routing::Listener* listener = nullptr;
  routing::Decision decision;
  routing::Trace trace;
  std::string flags, cluster;
  uint16_t status = 0;
  const base::EndpointSet* endpoints = nullptr;
};

Answer decide(const routing::Compiled& compiled, const routing::Listener* listener, const routing::RequestView& request) {
  Answer answer;
  answer.listener = listener;
  if (!listener) {
    answer.trace.steps.push_back({"no Gateway that selects this pod listens on this port", false, "connection refused", {}});
    return answer;
  }
  if (listener->kind == routing::Listener::Kind::kBlackHole) {
    answer.trace.steps.push_back({fmt::format("listener {}", listener->name), false, "this port takes no connection", {}});
    return answer;
  }
  if (listener->kind == routing::Listener::Kind::kTcp || listener->kind == routing::Listener::Kind::kPassthrough) {
    const bool known = listener->tcp_cluster < compiled.snapshot->clusters().size();
    answer.cluster = known ? compiled.snapshot->clusters()[listener->tcp_cluster]->name : "PassthroughCluster";
    if (known) answer.endpoints = compiled.endpoints[listener->tcp_cluster].second.get();
    answer.trace.steps.push_back({fmt::format("listener {} takes opaque bytes", listener->name), true, "no routes: the port is TCP", {}});
    return answer;
  }
  First first;
  answer.decision = compiled.snapshot->route(*listener, request, first, &answer.trace);
  switch (answer.decision.kind) {
    case routing::Decision::Kind::kNotFound:
      answer.status = 404;
      answer.flags = "NR";
      break;
    case routing::Decision::Kind::kDirect:
      answer.status = answer.decision.status;
      break;
    case routing::Decision::Kind::kRoute: {
      answer.cluster = answer.decision.cluster_name;
      if (answer.decision.cluster == routing::RoutePlan::kMissing) {
        answer.status = 503;
        answer.flags = "NC";
        break;
      }
      const auto& settings = compiled.snapshot->clusters()[answer.decision.cluster];
      answer.endpoints = compiled.endpoints[answer.decision.cluster].second.get();
      const bool any = answer.endpoints &&
                       std::any_of(answer.endpoints->list.begin(), answer.endpoints->list.end(), [](const auto& e) { return e.healthy; });
      if (!settings->original_dst && !any) {
        answer.status = 503;
        answer.flags = "UH";
      }
      break;
    }
  }
  return answer;
}

const routing::RoutePlan* plan_of(const Answer& answer) {
  return answer.decision.plan && *answer.decision.plan ? answer.decision.plan->get() : nullptr;
}

// outbound|9080|v1|reviews.default.svc.cluster.local
struct ClusterParts {
  std::string host, subset;
  uint16_t port = 0;
};
ClusterParts parts_of(const std::string& cluster) {
  ClusterParts parts;
  const size_t a = cluster.find('|'), b = cluster.find('|', a + 1), c = cluster.find('|', b + 1);
  if (a == std::string::npos || b == std::string::npos || c == std::string::npos) {
    parts.host = cluster;
    return parts;
  }
  std::from_chars(cluster.data() + a + 1, cluster.data() + b, parts.port);
  parts.subset = cluster.substr(b + 1, c - b - 1);
  parts.host = cluster.substr(c + 1);
  return parts;
}

void print_json(const Answer& answer) {
  doc::JsonWriter out(true);
  out.begin_object().key("matched");
  const routing::RoutePlan* plan = plan_of(answer);
  if (plan)
    out.begin_object()
        .member("virtual_service", plan->virtual_service)
        .member("rule", plan->rule)
        .member("route_name", plan->name)
        .member("file", plan->at.file_name())
        .member("line", plan->at.line)
        .end_object();
  else
    out.null();
  out.key("destination");
  if (answer.cluster.empty()) {
    out.null();
  } else {
    const auto parts = parts_of(answer.cluster);
    out.begin_object()
        .member("host", parts.host)
        .member("port", static_cast<unsigned>(parts.port))
        .member("subset", parts.subset)
        .member("cluster", answer.cluster);
    out.key("endpoints").begin_array();
    if (answer.endpoints)
      for (const auto& endpoint : answer.endpoints->list) out.value(endpoint.address.text());
    out.end_array().end_object();
  }
  out.key("status");
  if (answer.status != 0)
    out.value(static_cast<unsigned>(answer.status));
  else
    out.null();
  out.member("flags", answer.flags).key("steps").begin_array();
  for (const auto& step : answer.trace.steps)
    out.begin_object()
        .member("what", step.what)
        .member("matched", step.matched)
        .member("why", step.why)
        .member("file", step.at.file_name())
        .member("line", step.at.line)
        .end_object();
  out.end_array().end_object();
  fmt::print("{}\n", out.take());
}

void print_split(const routing::RoutePlan& plan) {
  if (plan.split.size() < 2) return;
  fmt::print("split        ");
  for (const auto& target : plan.split)
    fmt::print("{}{}: {} %", &target == plan.split.data() ? "" : ", ", target.cluster_name,
               plan.total_weight ? target.weight * 100 / plan.total_weight : 0);
  fmt::print("\n");
}

void print_text(const Answer& answer) {
  const Style style = Style::of(stdout);
  for (const auto& step : answer.trace.steps) {
    fmt::print("{}{}{} {}", step.matched ? style.green : style.dim, step.matched ? "+" : "-", style.plain, step.what);
    if (!step.why.empty()) fmt::print(": {}", step.why);
    if (step.at.line > 0) fmt::print("  {}({}:{}){}", style.dim, step.at.file_name(), step.at.line, style.plain);
    fmt::print("\n");
  }
  if (answer.listener) fmt::print("listener     {}\n", answer.listener->name);
  if (const auto* plan = plan_of(answer)) {
    if (!plan->virtual_service.empty())
      fmt::print("rule         {} http[{}] ({}:{})\n", plan->virtual_service, plan->rule, plan->at.file_name(), plan->at.line);
    else
      fmt::print("rule         {} (made from the Service; no VirtualService speaks of it)\n", plan->name.empty() ? "-" : plan->name);
    print_split(*plan);
  }
  if (!answer.cluster.empty()) fmt::print("destination  {}\n", answer.cluster);
  if (answer.endpoints)
    for (const auto& endpoint : answer.endpoints->list)
      fmt::print("endpoint     {}{}\n", endpoint.address.text(), endpoint.healthy ? "" : " (not ready)");
  if (answer.status != 0) fmt::print("{}answer       {} {}{}\n", style.red, answer.status, answer.flags, style.plain);
}

const api::Pod* pod_named(const api::Mesh& mesh, const std::string& name) {
  const size_t slash = name.find('/');
  return slash == std::string::npos ? mesh.pod("default", name) : mesh.pod(name.substr(0, slash), name.substr(slash + 1));
}

// A gateway's listener is known by the port it binds, the URL names the port that clients use.
uint16_t bound_port(const routing::Snapshot& snapshot, uint16_t port) {
  for (const auto& gateway : snapshot.gateway_ports())
    if (gateway.server_port == port) return gateway.port;
  return port;
}

// Without --config the running world is meant, and there pods have names that nobody wants to type.
bool fill_from_world(ExplainOptions& options) {
  if (!options.config.empty()) return true;
  const auto record = runner::read_record(options.world);
  if (!record || !runner::is_alive(*record)) {
    complain("explain: --config DIR says which configuration; without it a `sluice up` must be running");
    return false;
  }
  options.config = {record->folder, record->generated};
  for (std::string* name : {&options.from, &options.gateway})
    for (const auto& pod : record->pods)
      if (!name->empty() && pod.workload.ends_with('/' + *name)) {
        *name = pod.name_space + '/' + pod.name;
        break;
      }
  return true;
}

}  // namespace

int explain(const ExplainOptions& given) {
  ExplainOptions options = given;
  if (!fill_from_world(options)) return kUsage;
  const auto url = parse_url(options.url);
  if (!url) {
    complain(fmt::format(
        "explain: '{}' is no URL such as http://reviews:9080/path (https is decided by its SNI alone and cannot be explained yet)",
        options.url));
    return kUsage;
  }
  if (options.from.empty() == options.gateway.empty()) {
    complain("explain: say who asks: --from NAMESPACE/POD, or --gateway NAMESPACE/POD for a request from outside");
    return kUsage;
  }
  const auto loaded = config::load(options.config);
  const bool at_gateway = options.from.empty();
  const std::string& name = at_gateway ? options.gateway : options.from;
  const api::Pod* pod = pod_named(loaded.mesh, name);
  if (!pod) {
    std::string known;
    for (const auto* other : loaded.mesh.pods) known += (known.empty() ? "" : ", ") + other->meta.name_space + '/' + other->meta.name;
    complain(fmt::format("explain: no Pod {} in the configuration; there {}", name,
                         known.empty() ? "is none (`sluice up` writes them: add its generated folder with --config)" : "are " + known));
    return kFailed;
  }
  const auto self =
      routing::proxy_of(*pod, at_gateway ? routing::Proxy::Role::kGateway : routing::Proxy::Role::kSidecar, loaded.mesh.config);
  const auto compiled = routing::compile(loaded.mesh, self);
  std::pmr::monotonic_buffer_resource arena;
  base::Fields fields(&arena);
  for (const auto& header : options.headers) {
    const size_t colon = header.find(':');
    if (colon == std::string::npos) {
      complain(fmt::format("explain: -H '{}' is not 'name: value'", header));
      return kUsage;
    }
    std::string lower = header.substr(0, colon);
    std::transform(lower.begin(), lower.end(), lower.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
    std::string_view value = std::string_view(header).substr(colon + 1);
    while (value.starts_with(' ')) value.remove_prefix(1);
    fields.add(fields.keep(lower), fields.keep(value));
  }
  std::string authority = url->port == 80 ? url->host : fmt::format("{}:{}", url->host, url->port);
  if (const auto* host = fields.find("host")) authority = host->value;
  fields.remove("host");
  const routing::RequestView request{options.method, "http", authority, url->path, &fields, {}};
  base::OriginalDst dst = dialled(loaded.mesh, *url, self);
  if (at_gateway) dst.address.port = bound_port(*compiled.snapshot, url->port);
  const auto* listener = compiled.snapshot->listener_for(at_gateway ? routing::Direction::kGateway : routing::Direction::kOutbound, dst);
  const Answer answer = decide(compiled, listener, request);
  if (options.json)
    print_json(answer);
  else
    print_text(answer);
  return kFine;
}

}  // namespace ctl
