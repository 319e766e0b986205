#include "api/decode.h"

#include <chrono>

#include <fmt/format.h>

#include "api/kinds.h"
#include "api/rules.h"
#include "api/tables.h"
#include "doc/nearest.h"

namespace api {
namespace {

using doc::Node;
using doc::Problem;

struct ApiVersion {
  std::string_view group, version;
};

ApiVersion split(std::string_view text) {
  const size_t slash = text.find('/');
  if (slash == std::string_view::npos) return {{}, text};
  return {text.substr(0, slash), text.substr(slash + 1)};
}

std::string_view text_at(const Node& root, std::string_view key) {
  const Node* node = root.find(key);
  return node ? node->text_or() : std::string_view();
}

// RFC 3339 in UTC, as Kubernetes writes it. 0 when it is something else: such an object is as old as those of files.
int64_t created(std::string_view text) {
  if (text.size() < 20 || text[4] != '-' || text[7] != '-' || text[10] != 'T' || text[13] != ':' || text[16] != ':') return 0;
  const auto number = [text](size_t at, size_t length) {
    int value = 0;
    for (const char c : text.substr(at, length)) value = c >= '0' && c <= '9' ? value * 10 + (c - '0') : -100'000;
    return value;
  };
  const std::chrono::year_month_day day{std::chrono::year(number(0, 4)), std::chrono::month(static_cast<unsigned>(number(5, 2))), std::chrono::day(static_cast<unsigned>(number(8, 2)))};
  const int hour = number(11, 2), minute = number(14, 2), second = number(17, 2);
  if (!day.ok() || hour < 0 || minute < 0 || second < 0) return 0;
  return std::chrono::sys_days(day).time_since_epoch().count() * int64_t{86'400} + hour * 3'600 + minute * 60 + second;
}

// One document, from its root to a Resource.
class Decoder {
 public:
  explicit Decoder(const doc::Document& document) : document_(document), root_(document.root) {
    const ApiVersion version = split(text_at(root_, "apiVersion"));
    const std::string_view kind = text_at(root_, "kind");
    kind_ = find_kind(version.group, kind);
    out_.group_kind = kind.empty() ? std::string() : fmt::format("{}/{}", version.group, kind);
    // The name counts before anything is checked: what is said about a broken object must name it.
    const Node* metadata = root_.find("metadata");
    const Node& named = metadata && metadata->is_map() ? *metadata : root_;
    out_.meta.kind = kind;
    out_.meta.name = text_at(named, "name");
    if (!kind_ || !kind_->cluster_wide) out_.meta.name_space = text_at(named, "namespace");
    if (out_.meta.name_space.empty() && !(kind_ && kind_->cluster_wide)) out_.meta.name_space = "default";
    out_.meta.at = document.mark(root_);
  }

  std::shared_ptr<const Resource> run() {
    Report report(document_, out_.meta.kind.empty() || out_.meta.name.empty() ? "-" : out_.meta.id());
    const Cursor root(&root_, "", report);
    decode(root);
    out_.valid = !report.failed();
    if (!out_.valid) out_.typed = std::monostate();
    out_.problems = report.take();
    return std::make_shared<const Resource>(std::move(out_));
  }

 private:
  void decode(const Cursor& root) {
    if (!is_object(root)) return;
    const ApiVersion version = split(text_at(root_, "apiVersion"));
    if (!kind_) return other_kind(root, version);
    if (!version_known(root, version)) return;
    const Message* table = kind_->table;
    if (table && indentation_lost(root, *table)) return;
    check_schema(table ? root : root["metadata"], table ? *table : tables::kMetadata, root);
    if (report_failed(root)) return;
    metadata(root);
    if (!report_failed(root)) typed(root);
  }

  static bool report_failed(const Cursor& at) { return at.report().failed(); }

  void check_schema(const Cursor& at, const Message& table, const Cursor& root) const {
    if (!at) {
      if (!kind_->table) return;
      return root.error("an empty object");
    }
    // kubectl has judged Kubernetes' own kinds; of those we only say what looks like a mistake.
    api::check_schema(at, table, is_istio_group(kind_->group) ? Unknown::kError : Unknown::kWarning);
  }

  // Whatever has no kind and apiVersion is not for us; the files that people put here by mistake get a name.
  static bool is_object(const Cursor& root) {
    const auto refuse = [&root](std::string message) {
      root.say(Problem::Severity::kError, "NOT_KUBERNETES", std::move(message));
      return false;
    };
    const Node& node = root.node();
    if (!node.is_map()) return refuse("this document is no Kubernetes object: it has no fields");
    if (!text_at(node, "kind").empty() && !text_at(node, "apiVersion").empty()) return true;
    if (node.find("static_resources") || node.find("dynamic_resources") || (node.find("admin") && node.find("node")))
      return refuse("this is an Envoy bootstrap, not an Istio resource; write Gateway, VirtualService and DestinationRule objects instead");
    for (const std::string_view field : {"kind", "apiVersion"}) {
      const Node* value = node.find(field);
      if (value && !value->is_null() && !value->is_scalar()) return refuse(fmt::format("{} must be text", field));
    }
    const bool kind = !text_at(node, "kind").empty();
    return refuse(fmt::format("this document is no Kubernetes object: {} {} missing", kind ? "apiVersion" : text_at(node, "apiVersion").empty() ? "apiVersion and kind" : "kind",
                              !kind && text_at(node, "apiVersion").empty() ? "are" : "is"));
  }

  // A kind that is not in the table: a misspelt one of Istio's is an error, everything else is somebody else's.
  void other_kind(const Cursor& root, const ApiVersion& version) const {
    const std::string& name = out_.meta.kind;
    if (is_istio_group(version.group)) {
      const std::string_view near = doc::nearest(name, kinds_of(version.group));
      return root["kind"].error(fmt::format("{} has no kind {}{}", version.group, quoted(name), near.empty() ? "" : fmt::format("; did you mean {}?", near)));
    }
    for (const Kind* same : namesakes(name)) {
      const bool ours_alone = is_istio_group(same->group) && (version.group.empty() || version.group.ends_with("istio.io"));
      if (ours_alone || (same->group.empty() && version.group.empty())) {
        return root["apiVersion"].error(fmt::format("{} is not {}'s apiVersion; use {}/{}", quoted(text_at(root_, "apiVersion")), name, same->group, same->versions.empty() ? "v1" : same->versions[0]));
      }
    }
    root.say(Problem::Severity::kInfo, "IGNORED_KIND", fmt::format("ignored kind {}: it says nothing about traffic", name));
  }

  bool version_known(const Cursor& root, const ApiVersion& version) const {
    if (kind_->versions.empty()) return true;
    std::vector<std::string> known;
    for (const std::string_view v : kind_->versions) {
      if (v == version.version) return true;
      known.push_back(fmt::format("{}/{}", kind_->group, v));
    }
    root["apiVersion"].error(fmt::format("{} is no version that Istio serves; use {}", quoted(text_at(root_, "apiVersion")), any_of({known.begin(), known.end()})));
    return false;
  }

  // `spec:` with nothing in it and its fields at column 1: one message instead of one for each field.
  bool indentation_lost(const Cursor& root, const Message& table) const {
    const Field* field = find_field(table, "spec");
    const Node* spec = root_.find("spec");
    if (!field || !field->message || (spec && !spec->is_null())) return false;
    std::vector<std::string_view> lost;
    size_t of_spec = 0;
    const Node* metadata = root_.find("metadata");
    for (const Node::Entry& entry : root_.map) {
      const bool in_spec = find_field(*field->message, entry.key) && !find_field(table, entry.key);
      if (in_spec || (!(metadata && metadata->is_map()) && find_field(tables::kMetadata, entry.key))) lost.push_back(entry.key);
      of_spec += in_spec;
    }
    if (of_spec == 0) return false;
    std::string names;
    for (const std::string_view name : lost) names += fmt::format("{}{}", names.empty() ? "" : ", ", name);
    const Cursor at = spec ? Cursor(spec, "spec", root.report()) : Cursor(&root_, "spec", root.report());
    at.error(fmt::format("spec is {} and {} stand{} at document level: was the indentation lost? Indent them by 2 below spec{}", spec ? "empty" : "missing", names, lost.size() == 1 ? "s" : "",
                         of_spec < lost.size() ? " and metadata" : ""));
    return true;
  }

  void metadata(const Cursor& root) {
    const Cursor at = root["metadata"];
    Meta& meta = out_.meta;
    meta.labels = at["labels"].labels();
    meta.annotations = at["annotations"].labels();
    meta.created = created(at["creationTimestamp"].text());
    if (meta.name.empty()) return (at ? at : root).error("metadata.name is missing");
    if (!rules::is_object_name(meta.name)) at["name"].error(fmt::format("{} is no object name; use lower-case letters, digits, '-' and '.'", quoted(meta.name)));
    if (!meta.name_space.empty() && !rules::is_dns_label(meta.name_space)) at["namespace"].error(fmt::format("{} is no namespace name", quoted(meta.name_space)));
  }

  void typed(const Cursor& root) {
    const Cursor spec = root["spec"];
    const Meta& meta = out_.meta;
    switch (kind_->handling) {
      case Handling::kNamespace: out_.typed = Namespace{meta}; return;
      case Handling::kService: out_.typed = decode_service(meta, spec); return;
      case Handling::kEndpoints: out_.typed = decode_endpoints(meta, root["subsets"]); return;
      case Handling::kEndpointSlice: out_.typed = decode_endpoint_slice(meta, root); return;
      case Handling::kPod: out_.typed = decode_pod(meta, root); return;
      case Handling::kConfigMap: out_.typed = decode_config_map(meta, root); return;
      case Handling::kIngress: ingress(root); return;
      case Handling::kPending: pending(root); return;
      case Handling::kSilent: return;
      default: break;
    }
    if (!spec) return root.error("spec is missing");
    switch (kind_->handling) {
      case Handling::kVirtualService: out_.typed = decode_virtual_service(meta, spec); return;
      case Handling::kDestinationRule: out_.typed = decode_destination_rule(meta, spec); return;
      case Handling::kGateway: out_.typed = decode_gateway(meta, spec); return;
      case Handling::kServiceEntry: out_.typed = decode_service_entry(meta, spec); return;
      default: return;
    }
  }

  void pending(const Cursor& root) const { root.warn("NOT_IMPLEMENTED", fmt::format("{} is not implemented yet; this object has no effect", out_.meta.kind)); }

  void ingress(const Cursor& root) const {
    pending(root);
    const std::string version = root["apiVersion"].text();
    if (version != "networking.k8s.io/v1") root["apiVersion"].warn("IST0002", fmt::format("{} was removed in Kubernetes 1.22; write networking.k8s.io/v1 with backend.service", version));
    check_ingress(root);
  }

  const doc::Document& document_;
  const Node& root_;
  const Kind* kind_ = nullptr;
  Resource out_;
};

// `kind: List`, and the typed lists that `kubectl get -o yaml` and the API server write.
bool is_list(const Node& root) {
  const Node* items = root.find("items");
  return text_at(root, "kind").ends_with("List") && items && items->is_list();
}

}  // namespace

std::vector<std::shared_ptr<const Resource>> decode(const doc::Document& document) {
  std::vector<std::shared_ptr<const Resource>> out;
  if (!is_list(document.root)) {
    out.push_back(Decoder(document).run());
    return out;
  }
  const std::string_view list_kind = text_at(document.root, "kind");
  for (const Node& item : document.root.find("items")->list) {
    doc::Document inner{document.file, item, document.begin, document.end};
    if (inner.root.is_map() && list_kind != "List") {
      // Items of a typed list carry neither; they follow from the list's own.
      if (!inner.root.find("kind")) inner.root.set("kind", Node::text(std::string(list_kind.substr(0, list_kind.size() - 4))));
      if (!inner.root.find("apiVersion")) inner.root.set("apiVersion", Node::text(std::string(text_at(document.root, "apiVersion"))));
    }
    // A list inside a list is refused by Kubernetes too; the decoder then sees a kind that it ignores.
    out.push_back(Decoder(inner).run());
  }
  return out;
}

}  // namespace api
