#include <array>
#include <chrono>
#include <fstream>
#include <optional>
#include <string>

#include <fmt/format.h>

#include <fcntl.h>
#include <netinet/in.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

#include "ctl/commands.h"
#include "ctl/say.h"
#include "runner/command.h"
#include "runner/netns.h"

namespace ctl {
namespace {

// Prints findings as they come; `mend` is the command that puts a bad one right.
class Findings {
 public:
  void good(std::string_view what, std::string_view detail = {}) { print(style_.green, "ok  ", what, detail, {}); }
  void note(std::string_view what, std::string_view detail, std::string_view mend) { print(style_.yellow, "note", what, detail, mend); }
  void bad(std::string_view what, std::string_view detail, std::string_view mend) {
    print(style_.red, "BAD ", what, detail, mend);
    any_bad_ = true;
  }
  bool any_bad() const { return any_bad_; }

 private:
  void print(std::string_view colour, std::string_view mark, std::string_view what, std::string_view detail, std::string_view mend) const {
    fmt::print("{}{}{} {:<28} {}\n", colour, mark, style_.plain, what, detail);
    if (!mend.empty()) fmt::print("       mend it: {}{}{}\n", style_.bold, mend, style_.plain);
  }
  Style style_ = Style::of(stdout);
  bool any_bad_ = false;
};

// Runs `attempt` in a child, because what it tries (namespaces) cannot be taken back. Its result is the exit status.
template <class F>
int in_child(F attempt) {
  std::fflush(stdout);
  const pid_t pid = ::fork();
  if (pid == 0) ::_exit(attempt());
  int status = 0;
  if (pid < 0 || ::waitpid(pid, &status, 0) != pid || !WIFEXITED(status)) return 255;
  return WEXITSTATUS(status);
}

bool can_namespace(int kinds) {
  return in_child([kinds] { return ::unshare(kinds) == 0 ? 0 : 1; }) == 0;
}

// Programs one REDIRECT rule in a namespace of its own that ends with the child.
std::string try_tables(const std::string& tool) {
  int pipe_ends[2];
  if (::pipe2(pipe_ends, O_CLOEXEC) != 0) return "no pipe";
  const int status = in_child([&] {
    if (::unshare(CLONE_NEWNET) != 0) return 2;
    const auto done = runner::run({tool, "-w"}, "*nat\n-A OUTPUT -p tcp -j REDIRECT --to-ports 15001\nCOMMIT\n");
    if (done.ok()) return 0;
    const std::string why = done.err.substr(0, done.err.find('\n'));
    [[maybe_unused]] const auto put = ::write(pipe_ends[1], why.data(), why.size());
    return 1;
  });
  ::close(pipe_ends[1]);
  std::array<char, 512> text{};
  const ssize_t got = ::read(pipe_ends[0], text.data(), text.size());
  ::close(pipe_ends[0]);
  if (status == 0) return {};
  return got > 0 ? std::string(text.data(), static_cast<size_t>(got)) : status == 2 ? "no network namespace" : "it failed";
}

void check_rights(Findings& findings) {
  if (::geteuid() == 0)
    findings.good("user", "root");
  else
    findings.bad("user", fmt::format("uid {}: namespaces and rules need root", ::geteuid()), "sudo sluice check");
  if (::geteuid() != 0) return;  // the rest would all fail for this one reason
  constexpr int kNetAdmin = 12, kSysAdmin = 21;
  for (const auto& [name, number] : {std::pair{"CAP_NET_ADMIN", kNetAdmin}, std::pair{"CAP_SYS_ADMIN", kSysAdmin}}) {
    if (::prctl(PR_CAPBSET_READ, number) == 1)
      findings.good(name);
    else
      findings.bad(name, "not in this process's bounding set", "run it outside the container, or: docker run --privileged …");
  }
  for (const auto& [name, kind] : {std::pair{"network namespaces", CLONE_NEWNET}, std::pair{"mount namespaces", CLONE_NEWNS},
                                   std::pair{"process namespaces", CLONE_NEWPID}}) {
    if (can_namespace(kind))
      findings.good(name);
    else
      findings.bad(name, "this kernel or container refuses them",
                   "sysctl -w user.max_net_namespaces=10000 user.max_mnt_namespaces=10000 user.max_pid_namespaces=10000");
  }
}

void check_rules(Findings& findings) {
  if (runner::find_program("ip").empty())
    findings.bad("ip", "not installed", "apt-get install -y iproute2");
  else
    findings.good("ip", runner::find_program("ip"));
  bool any4 = false, any6 = false;
  for (const char* backend : {"nft", "legacy"})
    for (const bool v4 : {true, false}) {
      const std::string tool = fmt::format("ip{}tables-{}-restore", v4 ? "" : "6", backend);
      if (runner::find_program(tool).empty()) {
        findings.note(tool, "not installed", "apt-get install -y iptables");
        continue;
      }
      const std::string why = try_tables(tool);
      (v4 ? any4 : any6) |= why.empty();
      if (why.empty())
        findings.good(tool, "table nat, REDIRECT");
      else
        findings.note(
            tool, why,
            backend == std::string_view("legacy") ? (v4 ? "modprobe iptable_nat" : "modprobe ip6table_nat") : "modprobe nft_chain_nat");
    }
  if (!any4) findings.bad("IPv4 rules", "no backend can redirect", "apt-get install -y iptables && modprobe nft_chain_nat");
  if (!any6) findings.note("IPv6 rules", "no backend can redirect IPv6; IPv6 stays uncaptured", "modprobe ip6table_nat");
}

void check_network(Findings& findings) {
  const int six = ::socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (six >= 0)
    findings.good("IPv6");
  else
    findings.note("IPv6", "switched off in this kernel; pods get IPv4 only", "boot without ipv6.disable=1");
  if (six >= 0) ::close(six);
  // A proxy on this machine itself would need these ports; pods have their own.
  for (const uint16_t port : {15000, 15001, 15006, 15020, 15021, 15090}) {
    const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_ANY);
    const int one = 1;
    ::setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (::bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0)
      findings.note(fmt::format("port {}", port),
                    "in use in this network namespace: no proxy can run here besides it (pods are not affected)",
                    fmt::format("ss -ltnp 'sport = :{}'", port));
    ::close(fd);
  }
}

void check_machine(Findings& findings) {
  utsname kernel{};
  ::uname(&kernel);
  findings.good("kernel", kernel.release);
  // Certificates and tokens are judged by the clock; a machine that lost its time refuses all of them.
  constexpr std::time_t kBuiltAfter = 1'735'689'600;  // 2025-01-01
  const auto now = std::chrono::system_clock::to_time_t(std::chrono::system_clock::now());
  if (now > kBuiltAfter)
    findings.good("clock");
  else
    findings.bad("clock", "is years behind: every certificate will look not yet valid", "timedatectl set-ntp true");
  std::ifstream files("/proc/sys/fs/inotify/max_user_instances");
  long instances = 0;
  files >> instances;
  if (instances >= 128)
    findings.good("inotify", fmt::format("{} instances", instances));
  else
    findings.note("inotify", fmt::format("{} instances; every proxy needs one", instances), "sysctl -w fs.inotify.max_user_instances=1024");
  for (const char* name : {"sluice-init", "sluice-proxy"}) {
    const std::string folder = own_program().substr(0, own_program().rfind('/') + 1);
    if (::access((folder + name).c_str(), X_OK) == 0)
      findings.good(name, folder + name);
    else
      findings.bad(name, "does not lie beside sluice", "make build");
  }
}

}  // namespace

int check() {
  Findings findings;
  check_machine(findings);
  check_rights(findings);
  if (::geteuid() == 0) check_rules(findings);
  check_network(findings);
  return findings.any_bad() ? kFailed : kFine;
}

}  // namespace ctl
