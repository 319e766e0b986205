#pragma once

#include <map>
#include <string>
#include <vector>

#include <sys/types.h>

#include "runner/addresses.h"
#include "runner/plan.h"

namespace runner {

// One container as a process to start, everything decided.
struct ContainerSpec {
  std::string name;
  std::vector<std::string> command;
  std::vector<std::string> environment;  // NAME=value
  std::string working_folder = "/";
  unsigned uid = 1000, gid = 1000;
  bool drop_all = false, no_new_privileges = false;
  std::vector<std::string> capabilities;  // that stay in the bounding set when drop_all
  std::vector<uint16_t> ports;            // TCP ports it declares
  bool builtin = false;                   // the echo app stands in for an image
};

// What the runner knows and a container may ask for by fieldRef.
struct PodFacts {
  const PodPlan* plan = nullptr;
  AddressPair ip;
  std::string program;       // this `sluice`, for the built-in app
  std::string config_roots;  // colon-separated, for SLUICE_CONFIG of proxies
  const std::map<std::string, std::map<std::string, std::string>>* config_maps = nullptr;
};

// Pure. `notes` get one line for each thing that the container asks for and does not get.
ContainerSpec container_spec(const doc::Node& container, const PodFacts& facts, std::vector<std::string>& notes);

// Where a container's process lives.
struct Surroundings {
  std::string netns, hosts_file, resolv_file, log_file, host_name;
  std::vector<std::pair<std::string, std::string>> binds;  // from (any folder of this machine) → to (an existing empty folder)
  std::string bin_folder;                                  // put in front of PATH
};

// Starts it in mount, process, host-name and IPC namespaces of its own. The first process in there is ours: it reaps, hands
// signals on, ends with the container's exit status, and dies with the thread that called this. -1: could not be started.
pid_t start_container(const ContainerSpec& spec, const Surroundings& around, const std::string& program);

// The other side of start_container: `sluice` run as `sluice run-container …`. Returns only on failure or with the status.
int container_main(int argc, char** argv);

}  // namespace runner
