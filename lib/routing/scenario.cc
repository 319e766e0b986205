#include "routing/scenario.h"

#include <algorithm>
#include <charconv>
#include <initializer_list>
#include <memory_resource>
#include <optional>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "api/resource.h"
#include "doc/reader.h"
#include "routing/names.h"
#include "routing/engine.h"

namespace routing {
namespace {
constexpr uint32_t kMissing = RoutePlan::kMissing;

struct FixedRandom final : Random {
  uint32_t value = 0;
  uint32_t below(uint32_t n) override { return value % n; }
};

std::string_view kind_name(Listener::Kind kind) noexcept {
  switch (kind) {
    case Listener::Kind::kHttp: return "http";
    case Listener::Kind::kTcp: return "tcp";
    case Listener::Kind::kAuto: return "auto";
    case Listener::Kind::kPassthrough: return "passthrough";
    case Listener::Kind::kBlackHole: return "blackhole";
  }
  return "";
}

std::vector<std::string> texts(const doc::Node& node) {
  std::vector<std::string> out;
  if (node.is_scalar()) out.push_back(node.scalar);
  for (const auto& item : node.list) out.emplace_back(item.text_or());
  return out;
}

class Scenario {
 public:
  Scenario(const doc::Document& file, const doc::Node& node, const doc::Node* base) : file_(file), node_(node), base_(base) {}

  ScenarioResult run() {
    result_.name = node_.find("name") ? node_.find("name")->text_or() : "(without a name)";
    if (known_keys(node_, {"name", "why", "from", "gateway", "resources", "calls", "problems", "endpoints", "listeners"}) && prepare()) {
      check_problems();
      check_endpoints();
      check_listeners();
      if (const auto* calls = node_.find("calls"))
        for (const auto& call : calls->list) check_call(call);
    }
    return std::move(result_);
  }

 private:
  void fail(const doc::Node& at, std::string text) { result_.failures.push_back(fmt::format("line {}: {}", at.line, text)); }

  bool known_keys(const doc::Node& map, std::initializer_list<std::string_view> keys) {
    for (const auto& entry : map.map)
      if (std::ranges::find(keys, entry.key) == keys.end()) {
        fail(map, fmt::format("unknown key {}; known are {}", entry.key, fmt::join(keys, ", ")));
        return false;
      }
    return true;
  }
  std::string_view text(const doc::Node& map, std::string_view key, std::string_view otherwise = {}) const {
    const auto* found = map.find(key);
    return found ? found->text_or(otherwise) : otherwise;
  }

  void read(const doc::Node* resources, std::vector<std::shared_ptr<const api::Resource>>& out) {
    if (!resources) return;
    const doc::File file = doc::read_embedded(file_, *resources);
    for (const auto& problem : file.problems) fail(*resources, doc::line_of(problem));
    for (const auto& document : file.documents)
      for (auto& resource : api::decode(document)) {
        const auto* map = resource->as<api::ConfigMap>();
        if (map && map->meta.name == "istio" && map->meta.name_space == "istio-system") config_ = api::decode_mesh_config(document, problems_);
        problems_.insert(problems_.end(), resource->problems.begin(), resource->problems.end());
        // A scenario may replace an object of the file's common ones.
        std::erase_if(out, [&](const auto& other) { return other->group_kind == resource->group_kind && other->meta.id() == resource->meta.id(); });
        if (resource->valid) out.push_back(std::move(resource));
      }
  }

  bool prepare() {
    std::vector<std::shared_ptr<const api::Resource>> resources;
    read(base_, resources);
    problems_.clear();                   // only the scenario's own are looked at
    read(node_.find("resources"), resources);
    mesh_ = api::make_mesh(std::move(resources), config_);
    gateway_ = node_.find("gateway") != nullptr;
    const std::string_view who = text(node_, gateway_ ? "gateway" : "from");
    const size_t slash = who.find('/');
    const api::Pod* pod = slash == who.npos ? nullptr : mesh_.pod(who.substr(0, slash), who.substr(slash + 1));
    if (!pod) {
      fail(node_, fmt::format("from/gateway must name a pod of the resources as namespace/name, not '{}'", who));
      return false;
    }
    self_ = proxy_of(*pod, gateway_ ? Proxy::Role::kGateway : Proxy::Role::kSidecar, mesh_.config);
    compiled_ = compile(mesh_, self_);
    problems_.insert(problems_.end(), compiled_.problems.begin(), compiled_.problems.end());
    return true;
  }

  void check_problems() {
    const auto* wanted = node_.find("problems");
    if (!wanted) return;
    for (const auto& each : wanted->list) {
      if (!known_keys(each, {"severity", "code", "object", "field", "contains"})) continue;
      const auto fits = [&](const doc::Problem& p) {
        const auto* contains = each.find("contains");
        return (!each.find("severity") || doc::severity_name(p.severity) == text(each, "severity")) && (!each.find("code") || p.code == text(each, "code")) &&
               p.object.find(text(each, "object")) != std::string::npos && p.field.find(text(each, "field")) != std::string::npos &&
               (!contains || std::ranges::all_of(texts(*contains), [&](const std::string& part) { return p.message.find(part) != std::string::npos; }));
      };
      if (std::ranges::any_of(problems_, fits)) continue;
      std::string all;
      for (const auto& p : problems_) all += "\n    " + doc::line_of(p);
      fail(each, "no such problem; there are:" + (all.empty() ? std::string(" none") : all));
    }
    if (wanted->list.empty())
      for (const auto& p : problems_) fail(*wanted, "unexpected problem: " + doc::line_of(p));
  }

  std::vector<std::string> endpoints_of_cluster(std::string_view cluster) const {
    std::vector<std::string> out;
    for (const auto& [name, set] : compiled_.endpoints)
      if (name == cluster)
        for (const auto& endpoint : set->list) out.push_back(endpoint.address.text() + (endpoint.healthy ? "" : " unhealthy"));
    return out;
  }
  void check_endpoints() {
    const auto* wanted = node_.find("endpoints");
    if (!wanted) return;
    for (const auto& entry : wanted->map) {
      const auto have = endpoints_of_cluster(entry.key);
      if (have != texts(entry.value)) fail(entry.value, fmt::format("endpoints of {} are [{}]", entry.key, fmt::join(have, ", ")));
    }
    if (routing::endpoints_of(mesh_, self_, *compiled_.snapshot).size() != compiled_.endpoints.size()) fail(*wanted, "endpoints_of and compile differ");
  }
  void check_listeners() {
    const auto* wanted = node_.find("listeners");
    if (!wanted) return;
    std::vector<std::string> have;
    for (const auto& listener : compiled_.snapshot->listeners()) have.push_back(listener.name);
    for (const auto& name : texts(*wanted))
      if (std::ranges::find(have, name) == have.end()) fail(*wanted, fmt::format("no listener {}; there are [{}]", name, fmt::join(have, ", ")));
  }

  // What a pod's resolver would answer: the service's first address, a headless service's first pod.
  std::optional<base::Ip> resolve(std::string_view name) const {
    if (const auto ip = base::Ip::parse(name)) return ip;
    for (const auto* service : mesh_.services) {
      const auto& meta = service->meta;
      const auto domains = service_domains(meta.name, meta.name_space, self_.domain, self_.name_space, false);
      if (std::ranges::find(domains, name) == domains.end()) continue;
      if (!service->cluster_ips.empty()) return service->cluster_ips.front();
      if (service->type == "ExternalName") return resolve(service->external_name);
      for (const auto& [cluster, set] : compiled_.endpoints)
        if (!set->list.empty() && cluster.ends_with("||" + service_host(meta.name, meta.name_space, self_.domain))) return set->list.front().address.ip;
    }
    return base::Ip::parse("198.51.100.1");   // somewhere outside
  }

  void check_call(const doc::Node& call) {
    if (!known_keys(call, {"to", "inbound", "direct", "host", "method", "path", "scheme", "headers", "draw", "expect"})) return;
    const auto* wanted = call.find("expect");
    if (!wanted || !known_keys(*wanted, {"status", "cluster", "route", "rule", "listener", "kind", "tcp", "endpoints", "split", "why", "timeout_ms", "per_try_ms", "retries"}))
      return fail(call, "a call needs 'expect'");
    const std::string_view to = text(call, "to");
    const size_t colon = to.rfind(':');
    uint16_t port = 0;
    if (colon != to.npos) std::from_chars(to.data() + colon + 1, to.data() + to.size(), port);
    std::string_view name = to.substr(0, std::min(colon, to.size()));
    if (port == 0 || (name.empty() && !gateway_)) return fail(call, "'to' must be HOST:PORT");
    base::OriginalDst dst{{base::Ip::any(true), port}, text(call, "direct") != "true"};
    if (name.starts_with('[')) name = name.substr(1, name.size() - 2);
    if (!name.empty()) dst.address.ip = *resolve(name);
    const auto direction = gateway_ ? Direction::kGateway : text(call, "inbound") == "true" ? Direction::kInbound : Direction::kOutbound;
    const Listener* listener = compiled_.snapshot->listener_for(direction, dst);
    if (!listener) {
      if (text(*wanted, "listener", "?") != "none") fail(call, fmt::format("nobody listens on {}", port));
      return;
    }
    check_listener(call, *wanted, *listener);
    if (listener->routes != ~0u) check_request(call, *wanted, *listener, name);
  }

  void same(const doc::Node& at, const doc::Node& wanted, std::string_view key, std::string_view have) {
    if (const auto* value = wanted.find(key); value && value->text_or() != have) fail(at, fmt::format("{}: expected '{}', is '{}'", key, value->text_or(), have));
  }
  std::string cluster_name(uint32_t number) const {
    const auto clusters = compiled_.snapshot->clusters();
    return number < clusters.size() ? clusters[number]->name : "none";
  }

  void check_listener(const doc::Node& call, const doc::Node& wanted, const Listener& listener) {
    same(call, wanted, "listener", listener.name);
    same(call, wanted, "kind", kind_name(listener.kind));
    same(call, wanted, "tcp", cluster_name(listener.tcp_cluster));
  }

  void check_request(const doc::Node& call, const doc::Node& wanted, const Listener& listener, std::string_view name) {
    std::pmr::monotonic_buffer_resource arena;
    base::Fields fields(&arena);
    if (const auto* headers = call.find("headers"))
      for (const auto& header : headers->map)
        for (const auto& value : texts(header.value)) fields.add(fields.keep(lower_case(header.key)), fields.keep(value));
    RequestView request{text(call, "method", "GET"), text(call, "scheme", "http"), text(call, "host", name), text(call, "path", "/"), &fields, {}};
    FixedRandom random;
    const std::string_view draw = text(call, "draw");
    std::from_chars(draw.data(), draw.data() + draw.size(), random.value);
    const Decision decision = compiled_.snapshot->route(listener, request, random);
    Trace trace;
    const Decision traced = compiled_.snapshot->route(listener, request, random, &trace);
    if (decision.plan != traced.plan || decision.cluster != traced.cluster || decision.kind != traced.kind) fail(call, "the trace found another route than the index");
    check_decision(call, wanted, decision);
    check_plan(call, wanted, decision.plan ? decision.plan->get() : nullptr);
    if (const auto* why = wanted.find("why"))
      for (const auto& part : texts(*why))
        if (std::ranges::none_of(trace.steps, [&](const Trace::Step& step) { return step.why.find(part) != std::string::npos; })) {
          std::string all;
          for (const auto& step : trace.steps) all += fmt::format("\n    {} {}: {}", step.matched ? "+" : "-", step.what, step.why);
          fail(call, fmt::format("no step of the trace says '{}':{}", part, all));
        }
  }

  void check_decision(const doc::Node& call, const doc::Node& wanted, const Decision& decision) {
    const int status = decision.kind == Decision::Kind::kNotFound ? 404
                       : decision.kind == Decision::Kind::kDirect ? decision.status
                       : decision.cluster == kMissing             ? 503
                                                                  : 200;
    const bool http_expected = wanted.find("status") || wanted.find("cluster") || wanted.find("route") || wanted.find("rule");
    if (http_expected && text(wanted, "status", "200") != std::to_string(status))
      fail(call, fmt::format("status: expected {}, is {} ({})", text(wanted, "status", "200"), status, decision.cluster_name));
    same(call, wanted, "cluster", decision.cluster_name);
    if (decision.cluster != kMissing && cluster_name(decision.cluster) != decision.cluster_name) fail(call, "cluster number and name differ");
    if (const auto* endpoints = wanted.find("endpoints")) {
      const auto have = endpoints_of_cluster(decision.cluster_name);
      if (have != texts(*endpoints)) fail(call, fmt::format("endpoints: expected [{}], are [{}]", fmt::join(texts(*endpoints), ", "), fmt::join(have, ", ")));
    }
  }

  void check_plan(const doc::Node& call, const doc::Node& wanted, const RoutePlan* plan) {
    if (!plan) {
      if (wanted.find("route") || wanted.find("rule")) fail(call, "no rule was found");
      return;
    }
    same(call, wanted, "route", plan->name);
    same(call, wanted, "rule", plan->virtual_service.empty() ? "generated" : fmt::format("{}[{}]", plan->virtual_service, plan->rule));
    same(call, wanted, "timeout_ms", std::to_string(plan->timeout.count()));
    same(call, wanted, "per_try_ms", std::to_string(plan->per_try.count()));
    same(call, wanted, "retries", std::to_string(plan->retries));
    const auto* split = wanted.find("split");
    if (!split) return;
    if (split->map.size() != plan->split.size()) fail(call, fmt::format("split: expected {} targets, are {}", split->map.size(), plan->split.size()));
    for (size_t i = 0; i < std::min(split->map.size(), plan->split.size()); ++i) {
      const auto& target = plan->split[i];
      if (split->map[i].key != target.cluster_name || split->map[i].value.text_or() != std::to_string(target.weight))
        fail(call, fmt::format("split[{}] is {}: {}", i, target.cluster_name, target.weight));
    }
  }

  const doc::Document& file_;
  const doc::Node& node_;
  const doc::Node* base_;
  ScenarioResult result_;
  api::MeshConfig config_;
  api::Mesh mesh_;
  Proxy self_;
  Compiled compiled_;
  doc::Problems problems_;
  bool gateway_ = false;
};
}  // namespace

std::vector<ScenarioResult> run_scenarios(const doc::Document& file) {
  const auto* list = file.root.find("scenarios");
  if (!list || !list->is_list()) return {{"(file)", {"no list 'scenarios' in it"}}};
  std::vector<ScenarioResult> out;
  for (const auto& node : list->list) out.push_back(Scenario(file, node, file.root.find("resources")).run());
  return out;
}

}  // namespace routing
