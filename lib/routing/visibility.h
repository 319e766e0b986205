#pragma once

#include <string_view>
#include <vector>

#include "api/networking.h"

namespace routing {

// How far an object reaches: its exportTo against the namespace of the proxy that reads it (traffic.md §2.1.1).
enum class Reach : uint8_t { kNone, kPrivate, kListed, kPublic };   // private: "." and the same namespace

// An empty list means the mesh default, `*`.
Reach reach(const std::vector<api::Text>& export_to, std::string_view owner_namespace, std::string_view reader_namespace);
// The same for a Kubernetes Service: annotation networking.istio.io/exportTo, comma-separated.
Reach reach_of_service(const api::Meta& meta, std::string_view reader_namespace);

// VirtualServices that `reader_namespace` sees, in the order in which Istio lets them win: private ones, those exported to the
// namespace, public ones; each oldest first.
std::vector<const api::VirtualService*> visible(const std::vector<const api::VirtualService*>& all, std::string_view reader_namespace);

}  // namespace routing
