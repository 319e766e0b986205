#include <array>
#include <charconv>
#include <map>
#include <optional>

#include <fmt/format.h>

#include "doc/writer.h"
#include "inject/build.h"
#include "inject/container.h"

namespace inject {
namespace {

std::optional<uint16_t> port_number(std::string_view text) {
  uint16_t port = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), port);
  if (error != std::errc{} || end != text.data() + text.size() || text.empty()) return std::nullopt;
  return port;
}

// Named ports are looked up among the same container's ports only, as the kubelet does.
std::optional<uint16_t> resolve(const doc::Node& container, std::string_view port) {
  if (const auto number = port_number(port)) return number;
  if (const doc::Node* own = container.find("ports"))
    for (const auto& declared : own->list)
      if (!port.empty() && text_at(declared, "name") == port) return port_number(text_at(declared, "containerPort"));
  return std::nullopt;
}

class Rewriter {
 public:
  Rewriter(uint16_t agent, const std::string& object, const doc::Document& document, doc::Problems& problems)
      : agent_(agent), object_(object), document_(document), problems_(problems) {}

  void container(doc::Node& node) {
    const std::string name(text_at(node, "name"));
    static constexpr std::array<std::pair<const char*, const char*>, 3> kProbes{
        {{"readinessProbe", "readyz"}, {"livenessProbe", "livez"}, {"startupProbe", "startupz"}}};
    for (const auto& [field, leaf] : kProbes)
      if (doc::Node* probe = node.find(field)) handler(node, *probe, fmt::format("/app-health/{}/{}", name, leaf), true);
    doc::Node* hooks = node.find("lifecycle");
    if (!hooks) return;
    static constexpr std::array<std::pair<const char*, const char*>, 2> kHooks{{{"preStop", "prestopz"}, {"postStart", "poststartz"}}};
    for (const auto& [field, leaf] : kHooks)
      if (doc::Node* hook = hooks->find(field)) handler(node, *hook, fmt::format("/app-lifecycle/{}/{}", name, leaf), false);
  }

  std::string json() const {
    if (found_.empty()) return {};
    doc::Node out = doc::Node::make_map();
    for (const auto& [path, what] : found_) out.set(path, what);
    return doc::to_json(out);
  }

 private:
  void handler(const doc::Node& container, doc::Node& probe, const std::string& path, bool with_timeout) {
    for (const char* kind : {"httpGet", "tcpSocket", "grpc"}) {
      doc::Node* target = probe.find(kind);
      if (!target || (!with_timeout && std::string_view(kind) == "grpc")) continue;
      const auto port = resolve(container, text_at(*target, "port"));
      if (!port) {
        // Rewritten it would answer 400 for ever; left alone it works wherever the port is not mTLS-only.
        problems_.push_back(
            {doc::Problem::Severity::kWarning, "IST0125", object_, fmt::format("{}.{}.port", text_at(container, "name"), kind),
             fmt::format("port '{}' is not declared by the container; its probe is left as it is", text_at(*target, "port")),
             document_.mark(*target)});
        return;
      }
      if (*port == agent_) return;
      remember(probe, kind, *target, *port, path, with_timeout);
      redirect(probe, kind, path);
      return;
    }
  }
  void remember(const doc::Node& probe, std::string_view kind, const doc::Node& target, uint16_t port, const std::string& path,
                bool with_timeout) {
    doc::Node copy = target;
    copy.set("port", num(port));
    doc::Node entry = doc::Node::make_map();
    entry.set(kind, std::move(copy));
    if (const doc::Node* timeout = probe.find("timeoutSeconds"); with_timeout && timeout) entry.set("timeoutSeconds", *timeout);
    found_[path] = std::move(entry);
  }
  void redirect(doc::Node& probe, std::string_view kind, const std::string& path) const {
    if (kind != "httpGet") {
      probe.erase(kind);
      probe.set("httpGet", doc::Node::make_map());
    }
    doc::Node& get = *probe.find("httpGet");
    get.set("path", str(path));
    get.set("port", num(agent_));
    if (const doc::Node* scheme = get.find("scheme"); scheme && scheme->text_or() == "HTTPS") get.set("scheme", str("HTTP"));
    // Istio leaves `host`, and the kubelet then asks that host for our path; the agent dials the pod anyway.
    get.erase("host");
  }

  uint16_t agent_;
  const std::string& object_;
  const doc::Document& document_;
  doc::Problems& problems_;
  std::map<std::string, doc::Node> found_;  // sorted by path, as the agent's variable is
};

}  // namespace

std::string rewrite_probes(doc::Node& pod, uint16_t agent_port, const std::string& object, const doc::Document& document,
                           doc::Problems& problems) {
  Rewriter rewriter(agent_port, object, document, problems);
  doc::Node* spec = pod.find("spec");
  if (!spec) return {};
  for (const char* field : {"containers", "initContainers"})
    if (doc::Node* items = spec->find(field))
      for (auto& container : items->list)
        if (const auto name = text_at(container, "name"); name != "istio-proxy" && name != "istio-init") rewriter.container(container);
  return rewriter.json();
}

}  // namespace inject
