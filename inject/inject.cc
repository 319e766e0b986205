#include "inject/inject.h"

#include <algorithm>
#include <array>
#include <charconv>

#include <fmt/format.h>

#include "doc/reader.h"
#include "doc/writer.h"
#include "inject/annotations.h"
#include "inject/build.h"
#include "inject/container.h"
#include "inject/decision.h"

namespace inject {
namespace {

constexpr std::string_view kStatus = "sidecar.istio.io/status";
constexpr std::string_view kOverrides = "proxy.istio.io/overrides";

// The pod's own words about our containers, taken out of its lists before ours are made.
struct Overlays {
  doc::Node proxy, init;  // null: none
  bool proxy_was_init = false;
};

doc::Node take_out(doc::Node& spec, const char* field, std::string_view name) {
  doc::Node* items = spec.find(field);
  if (!items) return {};
  const auto at = std::find_if(items->list.begin(), items->list.end(), [name](const doc::Node& c) { return text_at(c, "name") == name; });
  if (at == items->list.end()) return {};
  doc::Node out = std::move(*at);
  items->list.erase(at);
  if (items->list.empty() && std::string_view(field) == "initContainers") spec.erase(field);
  // `auto` says: the injector's image. A probe of the API's defaults or an empty map says nothing.
  if (text_at(out, "image") == "auto") out.erase("image");
  return out;
}

Overlays take_overlays(doc::Node& spec) {
  Overlays out;
  out.init = take_out(spec, "initContainers", "istio-init");
  out.proxy = take_out(spec, "containers", "istio-proxy");
  if (out.proxy.is_null()) {
    out.proxy = take_out(spec, "initContainers", "istio-proxy");
    out.proxy_was_init = !out.proxy.is_null();
  }
  return out;
}

std::string proxy_uid(const Overlays& overlays) {
  const doc::Node* uid = overlays.proxy.at_path("securityContext.runAsUser");
  return uid && uid->is_scalar() && uid->scalar != "0" ? uid->scalar : "1337";
}

doc::Node overlaid(const doc::Node& ours, const doc::Node& overlay) { return overlay.is_null() ? ours : merged(ours, overlay); }

std::string canonical(std::string name) {
  if (name.size() > 63) name.resize(63);
  const auto cut = [](char c) { return c == '-' || c == '_' || c == '.'; };
  while (!name.empty() && cut(name.back())) name.pop_back();
  while (!name.empty() && cut(name.front())) name.erase(0, 1);
  return name;
}

void add_labels(doc::Node& pod, const Owner& owner, const Choices& choices) {
  const auto have = texts_of(pod.at_path("metadata.labels"));
  doc::Node& labels = map_at(map_at(pod, "metadata"), "labels");
  const auto first_of = [&have](std::initializer_list<const char*> names, std::string fallback) {
    for (const char* name : names)
      if (const auto at = have.find(name); at != have.end() && !at->second.empty()) return at->second;
    return fallback;
  };
  const auto add = [&](const char* name, const std::string& value) {
    if (!have.contains(name)) labels.set(name, str(value));
  };
  if (!choices.gateway) add("security.istio.io/tlsMode", "istio");
  add("service.istio.io/canonical-name", canonical(first_of({"app.kubernetes.io/name", "app"}, owner.name)));
  add("service.istio.io/canonical-revision", first_of({"app.kubernetes.io/version", "version"}, "latest"));
  if (!choices.settings.network.empty()) add("topology.istio.io/network", choices.settings.network);
}

std::string sanitised(std::string name) {
  for (char& c : name)
    if (!std::isalnum(static_cast<unsigned char>(c))) c = '_';
  return name;
}

// The app's own scrape settings move into the environment, the annotations then name the agent, which merges (inject.md §3.7).
std::string merge_prometheus(doc::Node& pod, const Settings& settings, const std::string& object, const doc::Document& document,
                             doc::Problems& problems) {
  if (!settings.prometheus_merge) return {};
  doc::Node& annotations = map_at(map_at(pod, "metadata"), "annotations");
  std::map<std::string, doc::Node> said;
  for (const auto& entry : annotations.map)
    if (const std::string name = sanitised(entry.key);
        name == "prometheus_io_scrape" || name == "prometheus_io_port" || name == "prometheus_io_path")
      said[name.substr(14)] = entry.value;
  if (const auto scrape = said.find("scrape"); scrape != said.end() && parse_bool(scrape->second.text_or()) == false) return {};
  // Istio: the mesh's own port, whatever the pod's status port annotation says.
  const std::string own_port = "15020";
  doc::Node out = doc::Node::make_map();
  if (const auto port = said.find("port"); port != said.end()) {
    const std::string_view text = port->second.text_or();
    if (text == own_port) return {};
    uint16_t number = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
    static constexpr std::array<uint16_t, 9> kReserved{15000, 15001, 15004, 15006, 15008, 15020, 15021, 15053, 15090};
    if (error != std::errc{} || end != text.data() + text.size() ||
        std::find(kReserved.begin(), kReserved.end(), number) != kReserved.end()) {
      problems.push_back({doc::Problem::Severity::kError, "IST0125", object, "metadata.annotations[prometheus.io/port]",
                          fmt::format("invalid value '{}' for annotation 'prometheus.io/port': it is no port of the app", text),
                          document.mark(port->second)});
      return {};
    }
  }
  for (const char* what : {"scrape", "path", "port"})
    if (const auto at = said.find(what); at != said.end()) out.set(what, str(at->second.text_or()));
  std::erase_if(annotations.map, [&said](const auto& entry) {
    const std::string name = sanitised(entry.key);
    return name.starts_with("prometheus_io_") && said.contains(name.substr(14));
  });
  annotations.set("prometheus.io/port", str(own_port));
  annotations.set("prometheus.io/path", str("/stats/prometheus"));
  annotations.set("prometheus.io/scrape", str("true"));
  return out.map.empty() ? std::string{} : doc::to_json(out);
}

void place(doc::Node& spec, const Choices& choices, const doc::Node& init, const doc::Node& proxy) {
  const bool native = choices.settings.native_sidecars && !choices.gateway;
  const auto front = [&spec](const char* field, const doc::Node& item) {
    auto& items = list_at(spec, field).list;
    items.insert(items.begin(), item);
  };
  if (native)
    front("initContainers", proxy);
  else if (choices.settings.hold_application && !choices.gateway)
    front("containers", proxy);
  else
    list_at(spec, "containers").list.push_back(proxy);
  if (init.is_null()) return;
  // Not native: last of all, or the app's own init containers would be captured with no proxy running (inject.md §3.4).
  if (native)
    front("initContainers", init);
  else
    list_at(spec, "initContainers").list.push_back(init);
}

std::vector<std::string> add_volumes(doc::Node& spec, const Choices& choices) {
  std::vector<std::string> names;
  auto& items = list_at(spec, "volumes").list;
  for (doc::Node& volume : volumes(choices)) {
    names.emplace_back(text_at(volume, "name"));
    if (!named(spec.find("volumes"), names.back())) items.push_back(std::move(volume));
  }
  if (!choices.settings.image_pull_secrets.empty()) {
    auto& secrets = list_at(spec, "imagePullSecrets");
    for (const auto& name : choices.settings.image_pull_secrets)
      if (!named(&secrets, name)) secrets.list.push_back(map({{"name", str(name)}}));
  }
  return names;
}

void add_status(doc::Node& pod, const Choices& choices, bool with_init, const std::vector<std::string>& volume_names,
                const Overlays& overlays) {
  const bool native = choices.settings.native_sidecars && !choices.gateway;
  std::vector<std::string> inits, mains;
  if (with_init) inits.emplace_back("istio-init");
  (native ? inits : mains).emplace_back("istio-proxy");
  const auto or_null = [](const std::vector<std::string>& names) { return names.empty() ? doc::Node{} : strings(names); };
  doc::Node& annotations = map_at(map_at(pod, "metadata"), "annotations");
  const doc::Node status = map({{"initContainers", or_null(inits)},
                                {"containers", or_null(mains)},
                                {"volumes", strings(volume_names)},
                                {"imagePullSecrets", or_null(choices.settings.image_pull_secrets)},
                                {"revision", str(choices.settings.revision)}});
  annotations.set("istio.io/rev", str(choices.settings.revision));
  if (const doc::Node* containers = pod.at_path("spec.containers"); containers && !choices.gateway) {
    const auto app = std::find_if(containers->list.begin(), containers->list.end(),
                                  [](const doc::Node& c) { return text_at(c, "name") != "istio-proxy"; });
    if (app != containers->list.end())
      for (const char* name : {"kubectl.kubernetes.io/default-container", "kubectl.kubernetes.io/default-logs-container"})
        if (!annotations.find(name)) annotations.set(name, str(text_at(*app, "name")));
  }
  if (!overlays.proxy.is_null() || !overlays.init.is_null()) {
    doc::Node saved_inits = doc::Node::make_list(), saved = doc::Node::make_list();
    if (!overlays.init.is_null()) saved_inits.list.push_back(overlays.init);
    if (!overlays.proxy.is_null()) (native ? saved_inits : saved).list.push_back(overlays.proxy);
    doc::Node out = doc::Node::make_map();
    if (!saved_inits.list.empty()) out.set("initContainers", saved_inits);
    if (!saved.list.empty()) out.set("containers", saved);
    annotations.set(kOverrides, str(doc::to_json(out)));
  }
  annotations.set(kStatus, str(doc::to_json(status)));
}

void add_variable(doc::Node& spec, std::string_view name, const std::string& value) {
  if (value.empty()) return;
  for (const char* field : {"initContainers", "containers"})
    if (doc::Node* proxy = named(spec.find(field), "istio-proxy"))
      list_at(*proxy, "env").list.push_back(map({{"name", str(name)}, {"value", str(value)}}));
}

// An app with the proxy's uid would pass by the rules, unseen (IST0144).
void warn_same_uid(const doc::Node& spec, const std::string& uid, Report& report, const doc::Document& document) {
  const doc::Node* pod_uid = spec.at_path("securityContext.runAsUser");
  const doc::Node* containers = spec.find("containers");
  if (!containers) return;
  for (const auto& container : containers->list) {
    const doc::Node* own = container.at_path("securityContext.runAsUser");
    if (!own) own = pod_uid;
    if (own && own->text_or() == uid)
      report.problems.push_back({doc::Problem::Severity::kWarning, "IST0144", report.object,
                                 "spec.containers[" + std::string(text_at(container, "name")) + "].securityContext.runAsUser",
                                 fmt::format("{} is the proxy's own uid: traffic of this container is not captured", uid),
                                 document.mark(*own)});
  }
}

bool has_error(const doc::Problems& problems) {
  return std::any_of(problems.begin(), problems.end(), [](const auto& p) { return p.severity == doc::Problem::Severity::kError; });
}

Report refused(Report report) {
  report.outcome = Report::Outcome::kRefused;
  report.why.clear();
  for (const auto& problem : report.problems)
    if (problem.severity == doc::Problem::Severity::kError) report.why += (report.why.empty() ? "" : "; ") + problem.message;
  return report;
}

}  // namespace

Report inject_pod(doc::Node& pod, const Owner& owner, const Settings& settings, const doc::Document& document) {
  Report report;
  report.object = fmt::format("{}/{}/{}", owner.kind, owner.name_space, owner.name);
  report.at = document.mark(pod);
  const Verdict verdict = required(pod, owner.name_space);
  report.why = verdict.why;
  if (!verdict.warning.empty())
    report.problems.push_back({doc::Problem::Severity::kWarning, "IST0125", report.object, "metadata", verdict.warning, report.at});
  if (!verdict.inject) return report;
  if (const doc::Node* status = pod.at_path("metadata.annotations"); status && status->find(kStatus)) {
    const doc::File parsed = doc::read_json("", text_at(*status, kStatus));
    if (parsed.documents.size() == 1 && parsed.documents[0].root.is_map()) {
      report.outcome = Report::Outcome::kAlready;
      report.why = "has been injected already";
      return report;
    }
  }
  const Choices choices = read_annotations(pod, settings, report.object, document, report.problems);
  if (has_error(report.problems)) return refused(std::move(report));

  doc::Node patched = pod;
  map_at(patched, "metadata");  // made now: a new key later would move `spec`
  doc::Node& spec = map_at(patched, "spec");
  const Overlays overlays = take_overlays(spec);
  const std::string uid = proxy_uid(overlays);
  warn_same_uid(spec, uid, report, document);
  const doc::Node proxy = overlaid(proxy_container(patched, owner, choices), overlays.proxy);
  const bool with_init = !choices.gateway && choices.settings.interception != "NONE";
  const doc::Node init = with_init ? overlaid(init_container(choices, uid), overlays.init) : doc::Node{};
  const std::string scrape = merge_prometheus(patched, choices.settings, report.object, document, report.problems);
  if (has_error(report.problems)) return refused(std::move(report));
  place(spec, choices, init, proxy);
  if (choices.gateway && !spec.find("securityContext"))
    spec.set("securityContext",
             map({{"sysctls", list({map({{"name", str("net.ipv4.ip_unprivileged_port_start")}, {"value", str("0")}})})}}));
  const auto volume_names = add_volumes(spec, choices);
  add_variable(spec, "ISTIO_PROMETHEUS_ANNOTATIONS", scrape);
  if (choices.settings.rewrite_probes && choices.settings.status_port != 0)
    add_variable(spec, "ISTIO_KUBE_APP_PROBERS",
                 rewrite_probes(patched, choices.settings.status_port, report.object, document, report.problems));
  add_labels(patched, owner, choices);
  add_status(patched, choices, with_init, volume_names, overlays);
  pod = std::move(patched);
  report.outcome = Report::Outcome::kInjected;
  return report;
}

}  // namespace inject
