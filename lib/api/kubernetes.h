#pragma once

#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "api/meta.h"
#include "base/ip.h"

namespace api {

struct Namespace {
  Meta meta;
};

struct ServicePort {
  std::string name, protocol = "TCP", app_protocol;
  uint16_t port = 0;
  // targetPort: a number, or the name of a container port; both empty: the same as `port`.
  uint16_t target_number = 0;
  std::string target_name;
  doc::Mark at;
};
struct Service {
  Meta meta;
  std::string type = "ClusterIP", external_name;
  std::vector<base::Ip> cluster_ips;     // empty with headless = false: not assigned yet
  bool headless = false;                 // clusterIP: None
  bool publish_not_ready = false;
  bool has_selector = false;
  Labels selector;
  std::vector<ServicePort> ports;
};

struct EndpointAddress {
  base::Ip ip;
  bool ready = true, serving = true, terminating = false;
  std::string pod;                       // targetRef.name when it is a Pod, else empty
  std::string zone, node;
};
struct EndpointPort {
  std::string name;
  uint16_t port = 0;
};
// EndpointSlice, or one subset of Endpoints: the same meaning.
struct EndpointSlice {
  Meta meta;
  std::string service;                   // label kubernetes.io/service-name; for Endpoints: its own name
  std::vector<EndpointAddress> addresses;
  std::vector<EndpointPort> ports;
};

struct ContainerPort {
  std::string name, protocol = "TCP";
  uint16_t port = 0;
};
struct Container {
  std::string name;
  std::vector<ContainerPort> ports;
};
struct Pod {
  Meta meta;
  std::string service_account = "default", node, phase;
  std::vector<base::Ip> ips;             // status.podIP, status.podIPs
  bool ready = true;                     // the Ready condition is not False
  bool terminating = false;              // deletionTimestamp is set
  bool host_network = false;
  std::chrono::seconds termination_grace{30};   // between SIGTERM and SIGKILL; Kubernetes' own default
  std::vector<Container> containers;
};

struct ConfigMap {
  Meta meta;
  std::map<std::string, std::string> data;
};

}  // namespace api
