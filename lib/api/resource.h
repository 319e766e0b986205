#pragma once

#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "api/kubernetes.h"
#include "api/mesh_config.h"
#include "api/networking.h"
#include "doc/node.h"

namespace api {

// What a document turned out to be. monostate: a kind that is only named in messages (Deployment, AuthorizationPolicy …).
using Typed = std::variant<std::monostate, Namespace, Service, EndpointSlice, std::vector<EndpointSlice>, Pod, ConfigMap, VirtualService,
                           DestinationRule, Gateway, ServiceEntry>;

// One object of the configuration: identity, typed form, and what the reader had to say. Immutable once made, shared.
struct Resource {
  std::string group_kind;                // "networking.istio.io/VirtualService", "/Pod": without the version
  Meta meta;                             // cluster-wide kinds have no namespace
  Typed typed;
  // False: has errors, must not be used (the store keeps the last good version). Warnings and infos do not count.
  bool valid = true;
  doc::Problems problems;
  template <class T> const T* as() const noexcept { return std::get_if<T>(&typed); }
};

// Turns one document into typed objects (a `kind: List` into several). Every field is used, or is one warning with file:line
// (UNKNOWN_FIELD with the field that was probably meant, NOT_IMPLEMENTED for Istio's fields that we do not act on yet); wrong
// types and values are errors of the object. Pure. `namespace_default` is what a missing namespace means.
std::vector<std::shared_ptr<const Resource>> decode(const doc::Document& document);

// MeshConfig from the text of key `mesh`; problems name ConfigMap/istio-system/istio and the true line. When one of them is an
// error the result is the defaults: the caller keeps the MeshConfig it had.
MeshConfig decode_mesh_config(const doc::Document& config_map_document, doc::Problems& problems);
// proxy.istio.io/config of a pod; `text` is YAML.
ProxyConfig decode_proxy_config(std::string_view text, const Meta& owner, doc::Problems& problems);

// Kubernetes' and Istio's durations ("1.5s", "300ms", "1h"), exact to a millisecond.
std::optional<std::chrono::milliseconds> parse_duration(std::string_view text);

}  // namespace api
