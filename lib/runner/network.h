#pragma once

#include <expected>
#include <string>

#include "runner/addresses.h"
#include "runner/netns.h"

namespace runner {

// The machine-in-the-machine: a namespace that plays the node (bridge, routes, cluster IPs) and one namespace for each pod.
// Every pod has one address of each family, alone on its link, and routes everything through the node, so that addresses the
// node rewrites (cluster IPs) work between neighbours too. Nothing is changed outside these namespaces.
class Network {
 public:
  explicit Network(std::string prefix) : prefix_(std::move(prefix)) {}
  // All of these return what went wrong, in words; empty: nothing.
  std::string up();
  std::string add_pod(const std::string& netns, const AddressPair& ip, unsigned number);
  void remove_pod(const std::string& netns, const AddressPair& ip, unsigned number);
  std::string set_rules(const std::string& v4, const std::string& v6);
  std::string node_name() const { return prefix_ + "net"; }
  const Netns& node() const noexcept { return node_; }

 private:
  std::string prefix_;
  Netns node_;
  std::string rules4_, rules6_;
};

// Removes the namespace with everything that still runs inside it, and its files in /etc/netns.
void destroy_netns(const std::string& name);

}  // namespace runner
