#include "inject/annotations.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <charconv>

#include <fmt/format.h>

#include "api/resource.h"
#include "base/ip.h"
#include "doc/reader.h"
#include "inject/build.h"
#include "inject/lists.h"

namespace inject {
namespace {

template <class T>
std::optional<T> number_of(std::string_view digits) {
  T value{};
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
  if (error != std::errc{} || end != digits.data() + digits.size() || digits.empty()) return std::nullopt;
  return value;
}

// The checks give the reason why a value is refused; empty: it is good.
std::string ports_problem(std::string_view text, bool star) {
  if (text.empty() || (star && text == "*")) return {};
  for (const std::string_view part : split(text))
    if (!number_of<uint16_t>(trimmed(part))) return fmt::format("'{}' is no port (0 to 65535)", trimmed(part));
  return {};
}
std::string ranges_problem(std::string_view text, bool star) {
  if (text.empty() || (star && text == "*")) return {};
  for (const std::string_view part : split(text)) {
    // Istio neither trims nor takes a bare address here.
    if (part.find('/') == std::string_view::npos || !base::Cidr::parse(part))
      return fmt::format("'{}' is no address range such as 10.0.0.0/8", part);
  }
  return {};
}
std::string interfaces_problem(std::string_view text) {
  for (const std::string_view part : split(text)) {
    const auto good = [](unsigned char c) { return std::isalnum(c) || c == '_' || c == '.' || c == '-'; };
    if (part.empty() || part.size() > 15 || !std::isalpha(static_cast<unsigned char>(part[0])) ||
        !std::all_of(part.begin(), part.end(), good))
      return fmt::format("'{}' is no interface name", part);
  }
  return {};
}
std::string quantity_problem(std::string_view text) {
  size_t digits = text.find_first_not_of("+-");
  if (digits == std::string_view::npos) digits = 0;
  const size_t end = text.find_first_not_of("0123456789.", digits);
  static constexpr std::array<std::string_view, 15> kSuffixes{"",  "n", "u",  "m",  "k",  "M",  "G", "T",
                                                              "P", "E", "Ki", "Mi", "Gi", "Ti", "Pi"};
  const std::string_view suffix = end == std::string_view::npos ? std::string_view{} : text.substr(end);
  const bool number = digits <= 1 && digits < text.size() && std::isdigit(static_cast<unsigned char>(text[digits])) &&
                      std::count(text.begin(), text.end(), '.') <= 1;
  const bool exponent = suffix.size() > 1 && (suffix[0] == 'e' || suffix[0] == 'E') && number_of<int>(suffix.substr(1));
  if (!number || (std::find(kSuffixes.begin(), kSuffixes.end(), suffix) == kSuffixes.end() && suffix != "Ei" && !exponent))
    return "it is no quantity such as 100m or 128Mi";
  return {};
}
std::string word_problem(std::string_view text) {
  const auto control = [](unsigned char c) { return c < 0x20 || c == 0x7f; };
  return std::any_of(text.begin(), text.end(), control) ? "it holds a control character" : "";
}

constexpr std::array<std::string_view, 8> kNotYet{"prometheus.istio.io/scrape-targets",
                                                  "prometheus.istio.io/secure-port",
                                                  "k8s.v1.cni.cncf.io/networks",
                                                  "apm.datadoghq.com/env",
                                                  "sidecar.istio.io/discoveryAddress",
                                                  "sidecar.istio.io/statsInclusionPrefixes",
                                                  "sidecar.istio.io/statsInclusionRegexps",
                                                  "sidecar.istio.io/extraStatTags"};

class Pod {
 public:
  Pod(const doc::Node& pod, const std::string& object, const doc::Document& document, doc::Problems& problems)
      : annotations_(pod.at_path("metadata.annotations")), object_(object), document_(document), problems_(problems) {}

  const doc::Node* find(std::string_view name) const { return annotations_ ? annotations_->find(name) : nullptr; }
  void refuse(std::string_view name, const doc::Node& at, std::string_view why) const {
    problems_.push_back({doc::Problem::Severity::kError, "IST0125", object_, fmt::format("metadata.annotations[{}]", name),
                         fmt::format("invalid value '{}' for annotation '{}': {}", at.text_or("(no text)"), name, why),
                         document_.mark(at)});
  }
  void warn(std::string_view name, const doc::Node& at, std::string_view code, std::string why) const {
    problems_.push_back({doc::Problem::Severity::kWarning, std::string(code), object_, fmt::format("metadata.annotations[{}]", name),
                         std::move(why), document_.mark(at)});
  }
  // Takes the text when `check` finds nothing wrong. True: it was there and good.
  template <class Check>
  bool take(std::string_view name, std::string& out, Check check) const {
    const doc::Node* node = find(name);
    if (!node) return false;
    const std::string why = node->is_scalar() ? check(std::string_view(node->scalar)) : "it must be text";
    if (!why.empty()) {
      refuse(name, *node, why);
      return false;
    }
    out = node->scalar;
    return true;
  }
  template <class T>
  void number(std::string_view name, T& out) const {
    const doc::Node* node = find(name);
    if (!node) return;
    if (const auto value = number_of<T>(node->text_or()))
      out = *value;
    else
      refuse(name, *node, "it is no number in range");
  }
  void truth(std::string_view name, bool& out) const {
    const doc::Node* node = find(name);
    if (!node) return;
    if (const auto value = parse_bool(node->text_or("?")))
      out = *value;
    else
      warn(name, *node, "IST0125", fmt::format("'{}' is neither true nor false and has no effect", node->text_or()));
  }
  void json_object(std::string_view name, doc::Node& out) const {
    const doc::Node* node = find(name);
    if (!node) return;
    doc::File file = doc::read_json(document_.file ? *document_.file : "", node->text_or());
    if (file.documents.size() != 1 || !file.problems.empty() || !file.documents[0].root.is_map())
      return refuse(name, *node, "it is no JSON object");
    for (const auto& entry : file.documents[0].root.map)
      if (!entry.value.is_map()) return refuse(name, *node, fmt::format("'{}' is no JSON object", entry.key));
    out = std::move(file.documents[0].root);
  }
  void list_not_yet() const {
    for (const std::string_view name : kNotYet)
      if (const doc::Node* node = find(name)) warn(name, *node, "NOT_IMPLEMENTED", "this annotation is not acted on yet");
  }
  const doc::Document& document() const { return document_; }
  const std::string& object() const { return object_; }
  doc::Problems& problems() const { return problems_; }

 private:
  const doc::Node* annotations_;
  const std::string& object_;
  const doc::Document& document_;
  doc::Problems& problems_;
};

// proxyMetadata is merged key by key, every other field is replaced (inject.md §2.1).
void merge_proxy_config(doc::Node& config, const doc::Node& given) {
  for (const auto& entry : given.map) {
    if ((entry.key == "proxyMetadata" || entry.key == "proxyHeaders") && entry.value.is_map()) {
      doc::Node& ours = map_at(config, entry.key);
      for (const auto& item : entry.value.map) ours.set(item.key, item.value);
    } else {
      config.set(entry.key, entry.value);
    }
  }
}

void read_proxy_config(const Pod& pod, Choices& out) {
  Settings& settings = out.settings;
  if (const doc::Node* node = pod.find("proxy.istio.io/config")) {
    doc::Problems found;
    const doc::File file = doc::read_embedded(pod.document(), *node);
    if (!file.problems.empty()) return pod.refuse("proxy.istio.io/config", *node, file.problems.front().message);
    if (!file.documents.empty()) {
      if (!file.documents[0].root.is_map()) return pod.refuse("proxy.istio.io/config", *node, "it is no map of ProxyConfig fields");
      api::Meta owner;
      owner.kind = pod.object().substr(0, pod.object().find('/'));
      (void)api::decode_proxy_config(node->text_or(), owner, found);
      for (const auto& problem : found)
        if (problem.severity == doc::Problem::Severity::kError)
          return pod.refuse("proxy.istio.io/config", *node, problem.field + ": " + problem.message);
      merge_proxy_config(settings.proxy_config, file.documents[0].root);
    }
  }
  const doc::Node& config = settings.proxy_config;
  if (const doc::Node* hold = config.find("holdApplicationUntilProxyStarts"))
    settings.hold_application = parse_bool(hold->text_or()).value_or(settings.hold_application);
  if (const doc::Node* mode = config.find("interceptionMode")) settings.interception = mode->text_or("REDIRECT");
  if (const doc::Node* type = config.at_path("image.imageType")) out.image_type = type->text_or();
  if (const doc::Node* metadata = config.find("proxyMetadata"))
    for (const auto& entry : metadata->map) out.proxy_metadata.emplace_back(entry.key, entry.value.text_or());
}

void read_traffic(const Pod& pod, Choices& out) {
  Settings& s = out.settings;
  const auto ports = [](std::string_view text) { return ports_problem(text, false); };
  const auto ports_or_star = [](std::string_view text) { return ports_problem(text, true); };
  const auto ranges = [](std::string_view text) { return ranges_problem(text, false); };
  const auto ranges_or_star = [](std::string_view text) { return ranges_problem(text, true); };
  pod.take("traffic.sidecar.istio.io/includeOutboundIPRanges", s.include_ip_ranges, ranges_or_star);
  pod.take("traffic.sidecar.istio.io/excludeOutboundIPRanges", s.exclude_ip_ranges, ranges);
  pod.take("traffic.sidecar.istio.io/includeInboundPorts", s.include_inbound_ports, ports_or_star);
  pod.take("traffic.sidecar.istio.io/excludeInboundPorts", s.exclude_inbound_ports, ports);
  // Istio does not look at this one at all; a value that is no port list would reach the command line, so it is refused here.
  out.include_outbound_ports_set = pod.take("traffic.sidecar.istio.io/includeOutboundPorts", s.include_outbound_ports, ports_or_star);
  out.exclude_outbound_ports_set = pod.take("traffic.sidecar.istio.io/excludeOutboundPorts", s.exclude_outbound_ports, ports);
  pod.take("traffic.sidecar.istio.io/excludeInterfaces", s.exclude_interfaces, interfaces_problem);
  pod.take("traffic.sidecar.istio.io/kubevirtInterfaces", out.interfaces, interfaces_problem);
  pod.take("istio.io/reroute-virtual-interfaces", out.interfaces, interfaces_problem);  // wins over the one before
  pod.take("sidecar.istio.io/interceptionMode", s.interception, [](std::string_view mode) -> std::string {
    return mode == "REDIRECT" || mode == "TPROXY" || mode == "NONE" ? "" : "it is not REDIRECT, TPROXY or NONE";
  });
}

void read_resources(const Pod& pod, Choices& out) {
  static constexpr std::array<std::array<std::string_view, 3>, 4> kNames{{{"sidecar.istio.io/proxyCPU", "requests", "cpu"},
                                                                          {"sidecar.istio.io/proxyMemory", "requests", "memory"},
                                                                          {"sidecar.istio.io/proxyCPULimit", "limits", "cpu"},
                                                                          {"sidecar.istio.io/proxyMemoryLimit", "limits", "memory"}}};
  doc::Node given = doc::Node::make_map();
  for (const auto& [name, kind, what] : kNames) {
    std::string amount;
    if (pod.take(name, amount, quantity_problem)) map_at(given, kind).set(what, str(amount));
  }
  // Istio: one of the four drops every default.
  if (!given.map.empty()) out.settings.resources = std::move(given);
}

void read_templates(const Pod& pod, Choices& out) {
  const doc::Node* node = pod.find("inject.istio.io/templates");
  if (!node) return;
  bool sidecar = false;
  for (const std::string_view part : split(node->text_or())) {
    const std::string_view name = trimmed(part);
    if (name == "sidecar")
      sidecar = true;
    else if (name == "gateway")
      out.gateway = true;
    else
      return pod.refuse("inject.istio.io/templates", *node,
                        fmt::format("requested template \"{}\" not found; have gateway, sidecar", name));
  }
  if (sidecar && out.gateway) pod.refuse("inject.istio.io/templates", *node, "sidecar and gateway exclude each other");
}

}  // namespace

std::optional<bool> parse_bool(std::string_view text) {
  for (const std::string_view yes : {"1", "t", "T", "true", "TRUE", "True"})
    if (text == yes) return true;
  for (const std::string_view no : {"0", "f", "F", "false", "FALSE", "False"})
    if (text == no) return false;
  return std::nullopt;
}

api::Labels texts_of(const doc::Node* map) {
  api::Labels labels;
  if (map)
    for (const auto& entry : map->map) labels[entry.key] = entry.value.text_or();
  return labels;
}

Choices read_annotations(const doc::Node& node, const Settings& settings, const std::string& object, const doc::Document& document,
                         doc::Problems& problems) {
  const Pod pod(node, object, document, problems);
  Choices out;
  out.settings = settings;
  read_proxy_config(pod, out);
  read_traffic(pod, out);
  read_resources(pod, out);
  read_templates(pod, out);
  Settings& s = out.settings;
  pod.take("sidecar.istio.io/proxyImage", out.proxy_image, word_problem);
  pod.take("sidecar.istio.io/proxyImageType", out.image_type, word_problem);
  pod.take("sidecar.istio.io/logLevel", s.log_level, word_problem);
  pod.take("sidecar.istio.io/componentLogLevel", out.component_log_level, word_problem);
  pod.take("sidecar.istio.io/agentLogLevel", out.agent_log_level, word_problem);
  pod.take("sidecar.istio.io/bootstrapOverride", out.bootstrap_override, word_problem);
  pod.number("status.sidecar.istio.io/port", s.status_port);
  pod.number("readiness.status.sidecar.istio.io/initialDelaySeconds", s.readiness_initial_delay);
  pod.number("readiness.status.sidecar.istio.io/periodSeconds", s.readiness_period);
  pod.number("readiness.status.sidecar.istio.io/failureThreshold", s.readiness_failures);
  pod.truth("sidecar.istio.io/rewriteAppHTTPProbers", s.rewrite_probes);
  pod.truth("prometheus.istio.io/merge-metrics", s.prometheus_merge);
  pod.json_object("sidecar.istio.io/userVolume", out.user_volumes);
  pod.json_object("sidecar.istio.io/userVolumeMount", out.user_mounts);
  if (const doc::Node* native = pod.find("sidecar.istio.io/nativeSidecar")) {
    if (native->text_or() == "true")
      s.native_sidecars = true;
    else if (native->text_or() == "false")
      s.native_sidecars = false;
    else
      pod.warn("sidecar.istio.io/nativeSidecar", *native, "IST0125", "neither \"true\" nor \"false\": has no effect");
  }
  if (const doc::Node* bind = pod.find("sidecar.istio.io/capNetBindService")) out.cap_net_bind_service = bind->text_or() == "true";
  if (!out.component_log_level.empty())
    pod.warn("sidecar.istio.io/componentLogLevel", *pod.find("sidecar.istio.io/componentLogLevel"), "NOT_IMPLEMENTED",
             "levels per component are set at run time (POST /logging)");
  if (!out.bootstrap_override.empty())
    pod.warn("sidecar.istio.io/bootstrapOverride", *pod.find("sidecar.istio.io/bootstrapOverride"), "NOT_IMPLEMENTED",
             "the volume is mounted, the proxy has no Envoy bootstrap to override");
  pod.list_not_yet();
  return out;
}

}  // namespace inject
