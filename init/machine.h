#pragma once

#include <expected>
#include <string>

namespace init {

// Where this process runs, as far as it tells a pod from the machine that pods run on.
struct Surroundings {
  bool first_netns = false;    // the network namespace that the kernel booted with
  bool first_pidns = false;    // the same of process ids: no container, or one with hostPID
  bool serves_others = false;  // bridges or veth pairs: other namespaces get their network from this one
};

// Reads /proc and asks rtnetlink; what cannot be read counts as a pod.
Surroundings surroundings();

// Whether rules here would take the traffic of a whole machine. Alone, the first network namespace is no proof: inside a small
// virtual machine that runs one pod (Kata) the pod has it too, but then with process ids of its own and a single card. A
// namespace made by `ip netns`, a container engine or kind is never taken for the machine; a hostNetwork pod inside kind,
// whose node is a container itself, is not recognised either.
bool is_machine(const Surroundings& at) noexcept;

// Whether rules may be made there; --host allows the machine. The error is one line.
std::expected<void, std::string> may_make_rules(const Surroundings& at, bool host);

}  // namespace init
