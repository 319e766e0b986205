#include "runner/network.h"

#include <csignal>
#include <filesystem>
#include <system_error>

#include <fmt/format.h>

#include <sys/stat.h>
#include <unistd.h>

#include "runner/command.h"

namespace runner {
namespace {

namespace fs = std::filesystem;
constexpr std::string_view kGateway4 = "169.254.1.1", kGateway6 = "fe80::1";

std::string failure(std::string_view what, const Finished& finished) {
  if (finished.ok()) return {};
  std::string why = finished.err.empty() ? finished.out : finished.err;
  while (!why.empty() && why.back() == '\n') why.pop_back();
  return fmt::format("{}: {}", what, why.substr(0, 300));
}

// Values a pod has in a cluster, and what keeps neighbours from learning a way around the node.
void pod_sysctls() {
  for (const auto& [name, value] :
       {std::pair{"net.ipv4.ip_unprivileged_port_start", "0"}, std::pair{"net.ipv6.conf.all.disable_ipv6", "0"},
        std::pair{"net.ipv6.conf.default.accept_dad", "0"}, std::pair{"net.ipv4.conf.all.accept_redirects", "0"},
        std::pair{"net.ipv4.conf.default.accept_redirects", "0"}, std::pair{"net.ipv6.conf.default.accept_redirects", "0"},
        std::pair{"net.ipv6.conf.default.accept_ra", "0"}})
    set_sysctl(name, value);
}

void node_sysctls() {
  for (const auto& [name, value] :
       {std::pair{"net.ipv4.ip_forward", "1"}, std::pair{"net.ipv6.conf.all.disable_ipv6", "0"},
        std::pair{"net.ipv6.conf.all.forwarding", "1"}, std::pair{"net.ipv4.conf.all.send_redirects", "0"},
        std::pair{"net.ipv4.conf.default.send_redirects", "0"}, std::pair{"net.ipv4.conf.all.rp_filter", "0"},
        std::pair{"net.ipv4.conf.default.rp_filter", "0"}, std::pair{"net.ipv6.conf.default.accept_dad", "0"},
        // Where br_netfilter is loaded, bridged packets would meet the node's NAT twice.
        std::pair{"net.bridge.bridge-nf-call-iptables", "0"}, std::pair{"net.bridge.bridge-nf-call-ip6tables", "0"}})
    set_sysctl(name, value);
}

}  // namespace

std::string Network::up() {
  if (auto why = failure("ip netns add", run({"ip", "netns", "add", node_name()})); !why.empty()) return why;
  node_ = Netns::open(node_name());
  {
    const Inside inside(node_);
    if (!inside.ok()) return "cannot enter the node's network namespace";
    node_sysctls();
  }
  // A fixed hardware address: a bridge without one takes another whenever a port comes or goes, and every pod's gateway is
  // unreachable until it is learned again.
  const std::string links = fmt::format(
      "link set lo up\nlink add br0 address 02:00:00:00:00:01 type bridge stp_state 0 forward_delay 0\naddr add {}/32 dev br0\naddr add "
      "10.244.0.1/32 dev br0\n"
      "link set br0 up\nroute add 10.96.0.0/12 dev br0 src 10.244.0.1\n",
      kGateway4);
  if (auto why = failure("the bridge", run({"ip", "-n", node_name(), "-batch", "-"}, links)); !why.empty()) return why;
  const Inside inside(node_);
  for (const char* key : {"net.ipv4.conf.br0.send_redirects", "net.ipv4.conf.br0.rp_filter", "net.ipv6.conf.br0.accept_dad"})
    set_sysctl(key, "0");
  // The routes to cluster IPs are never used as they stand: they let the node's own connections begin, and NAT turns them.
  const std::string six = fmt::format(
      "addr add {}/64 dev br0 nodad\naddr add fd00:10:244::1/128 dev br0 nodad\nroute add fd00:10:96::/112 dev br0 src fd00:10:244::1\n",
      kGateway6);
  return failure("the bridge's IPv6 address (is IPv6 switched off in this kernel?)", run({"ip", "-6", "-batch", "-"}, six));
}

std::string Network::add_pod(const std::string& netns, const AddressPair& ip, unsigned number) {
  if (auto why = failure("ip netns add", run({"ip", "netns", "add", netns})); !why.empty()) return why;
  {
    const Netns pod = Netns::open(netns);
    const Inside inside(pod);
    if (!inside.ok()) return "cannot enter the pod's network namespace";
    pod_sysctls();
  }
  const auto& bytes = ip.v4.bytes;
  const std::string mac = fmt::format("02:00:{:02x}:{:02x}:{:02x}:{:02x}", bytes[0], bytes[1], bytes[2], bytes[3]);
  const std::string v4 = ip.v4.text(), v6 = ip.v6.text();
  const std::string node =
      fmt::format("link add v{0} type veth peer name eth0 address {1} netns {2}\nlink set v{0} master br0 up\nroute add {3}/32 dev br0\n",
                  number, mac, netns, v4);
  if (auto why = failure(netns, run({"ip", "-n", node_name(), "-batch", "-"}, node)); !why.empty()) return why;
  if (auto why = failure(netns, run({"ip", "-n", node_name(), "-6", "route", "add", v6 + "/128", "dev", "br0"})); !why.empty()) return why;
  const std::string pod = fmt::format(
      "link set lo up\naddr add {0}/32 dev eth0\nlink set eth0 up\naddr add {1}/128 dev eth0 nodad\n"
      "route add {2} dev eth0 scope link src {0}\nroute add default via {2} src {0}\n",
      v4, v6, kGateway4);
  if (auto why = failure(netns, run({"ip", "-n", netns, "-batch", "-"}, pod)); !why.empty()) return why;
  return failure(netns, run({"ip", "-n", netns, "-6", "route", "add", "default", "via", std::string(kGateway6), "dev", "eth0", "src", v6}));
}

void Network::remove_pod(const std::string& netns, const AddressPair& ip, unsigned number) {
  // Cable and routes go first: the namespace itself lives on until its last socket is closed.
  run({"ip", "-n", node_name(), "link", "del", fmt::format("v{}", number)});
  run({"ip", "-n", node_name(), "route", "del", ip.v4.text() + "/32"});
  run({"ip", "-n", node_name(), "-6", "route", "del", ip.v6.text() + "/128"});
  destroy_netns(netns);
}

std::string Network::set_rules(const std::string& v4, const std::string& v6) {
  const Inside inside(node_);
  if (!inside.ok()) return "cannot enter the node's network namespace";
  if (v4 != rules4_)
    if (auto why = failure("iptables-restore", run({"iptables-restore", "-w"}, v4)); !why.empty()) return why;
  rules4_ = v4;
  if (v6 != rules6_)
    if (auto why = failure("ip6tables-restore", run({"ip6tables-restore", "-w"}, v6)); !why.empty()) return why;
  rules6_ = v6;
  return {};
}

void destroy_netns(const std::string& name) {
  struct stat space{};
  if (::stat(("/run/netns/" + name).c_str(), &space) == 0) {
    // The namespace is ours, so whatever runs in it is ours.
    std::error_code error;
    for (const auto& entry : fs::directory_iterator("/proc", error)) {
      const std::string pid = entry.path().filename();
      if (pid.find_first_not_of("0123456789") != std::string::npos) continue;
      struct stat theirs{};
      if (::stat(("/proc/" + pid + "/ns/net").c_str(), &theirs) == 0 && theirs.st_ino == space.st_ino && theirs.st_dev == space.st_dev)
        ::kill(std::stoi(pid), SIGKILL);
    }
    run({"ip", "netns", "del", name});
  }
  std::error_code ignored;
  fs::remove_all("/etc/netns/" + name, ignored);
  fs::remove("/etc/netns", ignored);  // only when it is empty
}

}  // namespace runner
