#pragma once

#include "doc/node.h"
#include "inject/annotations.h"
#include "inject/inject.h"

namespace inject {

// The containers and volumes that are added, before the pod's own words are merged over them.
doc::Node init_container(const Choices& choices, std::string_view proxy_uid);
doc::Node proxy_container(const doc::Node& pod, const Owner& owner, const Choices& choices);
std::vector<doc::Node> volumes(const Choices& choices);

// Kubernetes' strategic merge of `patch` over `base`: maps key by key, null removes, lists of env, ports, volumeMounts and
// volumes by their keys (new items of the patch first), other lists and scalars replaced.
doc::Node merged(const doc::Node& base, const doc::Node& patch, std::string_view field = {});

// Turns httpGet, tcpSocket and grpc probes and hooks of every container but ours to the agent's port and returns what the
// agent has to ask, as JSON (empty: nothing). A probe whose named port the container does not declare is left alone.
std::string rewrite_probes(doc::Node& pod, uint16_t agent_port, const std::string& object, const doc::Document& document,
                           doc::Problems& problems);

}  // namespace inject
