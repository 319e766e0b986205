// For tests: a network namespace that ends with its process, and what is in it. Needs root.
#pragma once

#include <grp.h>
#include <net/if.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <expected>
#include <functional>
#include <string>
#include <vector>

#include "init/apply.h"
#include "init/environment.h"
#include "init/program.h"
#include "init/say.h"
#include "init/tools.h"
#include "init/validate.h"
#include "iptables/plan.h"

namespace init {

#define CHECK_THAT(condition)                                                      \
  do {                                                                             \
    if (!(condition)) {                                                            \
      std::fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition); \
      return false;                                                                \
    }                                                                              \
  } while (false)

inline bool loopback_up() {
  const int fd = ::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  ifreq request{};
  request.ifr_name[0] = 'l';
  request.ifr_name[1] = 'o';
  request.ifr_flags = IFF_UP;
  const bool up = fd >= 0 && ::ioctl(fd, SIOCSIFFLAGS, &request) == 0;
  ::close(fd);
  return up;
}

// Runs the body in a child with a fresh network namespace; true when it returned true.
inline bool in_namespace(const std::function<bool()>& body) {
  const pid_t child = ::fork();
  if (child == 0) {
    say_as(Severity::kError, false);
    const bool good = ::unshare(CLONE_NEWNET) == 0 && loopback_up() && body();
    ::_exit(good ? 0 : 1);
  }
  int status = 1;
  while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

struct Config {
  iptables::Options options;
  iptables::Facts facts;
  iptables::RuleSet rules;
};

inline bool tool(std::string_view name, const std::vector<std::string>& arguments) {
  const std::vector<std::string> environment{"LC_ALL=C"};
  const auto done = run_program(find_program(name), arguments, environment, {});
  if (done && done->status != 0) std::fprintf(stderr, "%s: %s\n", std::string(name).c_str(), done->err.c_str());
  return done && done->status == 0;
}
inline std::string output(std::string_view name, const std::vector<std::string>& arguments) {
  const std::vector<std::string> environment{"LC_ALL=C"};
  const auto done = run_program(find_program(name), arguments, environment, {});
  return done ? done->out : "";
}

// A card with addresses of both families and ways to everywhere; nobody is at its other end.
inline bool add_card() {
  const std::vector<std::string> arguments{"-batch", "-"}, environment{"LC_ALL=C"};
  const auto done =
      run_program(find_program("ip"), arguments, environment,
                  "link add eth0 type veth peer name other\naddr add 10.8.0.2/24 dev eth0\naddr add fd00:8::2/64 dev eth0 nodad\n"
                  "link set eth0 up\nlink set other up\nroute add default dev eth0\nroute add ::/0 dev eth0\n");
  return done && done->status == 0;
}

// From here on this process is a user with these capabilities and no others, and so are the programs that it starts.
inline bool become(unsigned id, uint32_t capabilities) {
  // The effective, permitted and inheritable sets of the first 32 capabilities, then those of the rest; see capget(2).
  struct {
    uint32_t version = 0x20080522;
    int pid = 0;
  } header;
  const uint32_t sets[6] = {capabilities, capabilities, capabilities, 0, 0, 0};
  if (::prctl(PR_SET_KEEPCAPS, 1) != 0 || ::setgroups(0, nullptr) != 0 || ::setresgid(id, id, id) != 0 || ::setresuid(id, id, id) != 0)
    return false;
  if (::syscall(SYS_capset, &header, sets) != 0) return false;
  for (unsigned bit = 0; bit < 32; ++bit)
    if (capabilities >> bit & 1 && ::prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, bit, 0, 0) != 0) return false;
  return true;
}
inline constexpr uint32_t kAdmin = 1u << 12, kRaw = 1u << 13;  // CAP_NET_ADMIN, CAP_NET_RAW

// In nft unless the arguments say otherwise: the other backend may be missing from the kernel.
inline Config config(std::vector<const char*> arguments) {
  arguments.insert(arguments.begin(), "--force-iptables-binary=nft");
  auto invocation = iptables::parse_options(arguments, [](const char*) -> const char* { return nullptr; });
  if (!invocation) std::fprintf(stderr, "%s\n", invocation.error().c_str());
  Config out;
  if (invocation) out.options = invocation->options;
  out.facts = observe(out.options);
  out.rules = build_rules(out.options, out.facts);
  return out;
}

template <class T>
bool good(const std::expected<T, std::string>& done) {
  if (!done) std::fprintf(stderr, "%s\n", done.error().c_str());
  return done.has_value();
}

inline bool good(const std::expected<std::string, Invalid>& done) {
  if (!done) std::fprintf(stderr, "%s\n", done.error().why.c_str());
  return done.has_value();
}

// What the body writes to stderr, our warnings included.
template <class Body>
std::string warnings(Body body) {
  const int file = ::memfd_create("stderr", MFD_CLOEXEC), before = ::dup(STDERR_FILENO);
  ::dup2(file, STDERR_FILENO);
  say_as(Severity::kWarning, false);
  body();
  say_as(Severity::kError, false);
  ::dup2(before, STDERR_FILENO);
  ::close(before);
  std::string out(4096, '\0');
  const auto got = ::pread(file, out.data(), out.size(), 0);
  ::close(file);
  out.resize(got > 0 ? static_cast<size_t>(got) : 0);
  return out;
}

// Rules and chains of a family, by table, with counters cut off.
inline std::string state(bool ipv4) {
  const auto tools = Tools::installed({});
  if (tools.empty()) return "no iptables programs";
  const auto saved = tools.front().save(ipv4);
  if (!saved) return saved.error();
  std::string out;
  for (const auto table : iptables::kTables) {
    for (const auto& chain : (*saved)[table].chains) out += chain + '\n';
    for (const auto& rule : (*saved)[table].rules) out += rule.chain + ' ' + rule.spec + '\n';
  }
  return out;
}

}  // namespace init
