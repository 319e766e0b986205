#pragma once

#include <map>
#include <string>
#include <vector>

#include "api/meta.h"
#include "doc/node.h"
#include "doc/problem.h"
#include "inject/inject.h"

namespace runner {

enum class Role : uint8_t { kPlain, kSidecar, kGateway };
std::string_view name_of(Role role) noexcept;  // "no proxy", "sidecar", "gateway"

// One pod that should run: what a cluster would make of a Pod, or of one replica of a Deployment, injection included.
struct PodPlan {
  std::string name_space, name;
  std::string workload;  // Deployment/default/reviews-v1
  Role role = Role::kPlain;
  doc::Node pod;  // kind Pod with metadata and spec, no status
  std::string key() const { return name_space + '/' + name; }
};
struct PlannedPort {
  std::string name, protocol = "TCP", target;  // target: a number or the name of a container port
  uint16_t port = 0;
};
struct ServicePlan {
  std::string name_space, name, type = "ClusterIP";
  bool headless = false, has_selector = false;
  api::Labels selector;
  std::vector<PlannedPort> ports;
  std::vector<std::string> cluster_ips;  // as the user wrote them
  doc::Node service;                     // the whole object
  std::string key() const { return name_space + '/' + name; }
};
struct Plan {
  std::vector<PodPlan> pods;          // sorted by key; a Deployment's replicas have names of their own each
  std::vector<ServicePlan> services;  // sorted by key
  std::map<std::string, std::map<std::string, std::string>> config_maps;  // namespace/name → data, for env
  std::vector<std::string> notes;  // one line each: what cannot run and why, what injection had to say
  doc::Problems problems;          // files that cannot be read as YAML
};

// Pure: the same documents give the same plan, names included. A pod's name holds a hash of its template, so a changed
// template is other pods, as with a ReplicaSet.
Plan make_plan(std::vector<doc::Document> documents, const inject::Settings& settings);

// Text of at most ten letters and digits that a ReplicaSet would put into names.
std::string short_hash(std::string_view text, size_t length);

}  // namespace runner
