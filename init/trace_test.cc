// What the model of the rules says, against what real connections meet, in namespaces that end with the test. Needs root.
#include "iptables/trace.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstring>
#include <random>
#include <vector>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "init/apply.h"
#include "init/environment.h"
#include "init/program.h"
#include "init/say.h"

namespace init {
namespace {

constexpr int kConfigurations = 16, kFlows = 24;
constexpr int kArrivesWithin = 2000;  // milliseconds; a healthy run needs one or two
constexpr uint16_t kPorts[] = {53, 80, 443, 8080, 15008, 15020};

sockaddr_storage storage(const base::SocketAddress& at, socklen_t& size) {
  sockaddr_storage out{};
  if (at.ip.v4) {
    auto& four = reinterpret_cast<sockaddr_in&>(out);
    four.sin_family = AF_INET;
    four.sin_port = htons(at.port);
    std::memcpy(&four.sin_addr, at.ip.bytes.data(), 4);
    size = sizeof four;
  } else {
    auto& six = reinterpret_cast<sockaddr_in6&>(out);
    six.sin6_family = AF_INET6;
    six.sin6_port = htons(at.port);
    std::memcpy(&six.sin6_addr, at.ip.bytes.data(), 16);
    size = sizeof six;
  }
  return out;
}

struct Ear {  // somebody who listens, in the pod or outside of it
  int fd;
  bool in_pod, udp;
  uint16_t port;
};

// The pod's namespace and one of a machine that owns every other address. A socket stays in the namespace it was made in.
class Lab {
 public:
  ~Lab() {
    for (const auto& ear : ears_) ::close(ear.fd);
    if (holder_ > 0) {
      ::kill(holder_, SIGKILL);
      ::waitpid(holder_, nullptr, 0);
    }
    for (const int fd : {pod_, outside_}) ::close(fd);
  }
  bool build() {
    if (::unshare(CLONE_NEWNET) != 0) return false;
    outside_ = ::open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
    holder_ = ::fork();  // `ip` names a namespace by a process in it
    if (holder_ == 0) {
      ::prctl(PR_SET_PDEATHSIG, SIGKILL);
      ::pause();
      ::_exit(0);
    }
    if (::unshare(CLONE_NEWNET) != 0) return false;
    pod_ = ::open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
    const bool made = batch(fmt::format("link set lo up\nlink add eth0 type veth peer name eth0 netns {}\naddr add 10.8.0.2/24 dev eth0\n"
                                        "addr add fd00:8::2/64 dev eth0 nodad\nlink set eth0 up\n",
                                        holder_)) &&
                      enter(false) &&
                      batch(
                          "link set lo up\naddr add 10.8.0.1/24 dev eth0\naddr add fd00:8::1/64 dev eth0 nodad\nlink set eth0 up\n"
                          "route add local 10.9.0.0/16 dev lo\nroute add local fd00:9::/64 dev lo\n") &&
                      enter(true) && batch("route add default via 10.8.0.1\nroute add ::/0 via fd00:8::1\n");
    if (!made) return false;
    for (const bool in_pod : {true, false})
      for (const bool udp : {false, true})
        for (const uint16_t port : kPorts)
          if (!listen(in_pod, udp, port)) return false;
    return listen(true, false, 15001) && listen(true, false, 15006) && listen(true, false, 15053) && listen(true, true, 15053);
  }

  // Sends the flow and says who got it: "pod:15001"; "nobody" when nobody did.
  std::string send(const iptables::Flow& flow) {
    if (!enter(flow.outbound)) return "no namespace";
    // The owner of a socket is who made it, so its creation is all that needs the id.
    if (flow.outbound && (::setresgid(-1, id(flow.gid), -1) != 0 || ::setresuid(-1, id(flow.uid), -1) != 0)) return "no ids";
    const int fd = ::socket(flow.to.ip.v4 ? AF_INET : AF_INET6, (flow.udp ? SOCK_DGRAM : SOCK_STREAM) | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (::setresuid(-1, 0, -1) != 0 || ::setresgid(-1, 0, -1) != 0) return "no root";
    socklen_t size = 0;
    const auto from = storage({flow.from, 0}, size);
    if (::bind(fd, reinterpret_cast<const sockaddr*>(&from), size) != 0) return fmt::format("bind: {}", std::strerror(errno));
    const auto to = storage(flow.to, size);
    std::string got;
    if (::connect(fd, reinterpret_cast<const sockaddr*>(&to), size) != 0 && errno != EINPROGRESS)
      got = fmt::format("connect: {}", std::strerror(errno));
    else if (flow.udp && ::send(fd, "?", 1, 0) != 1)
      got = fmt::format("send: {}", std::strerror(errno));
    else
      got = heard();
    ::close(fd);
    enter(true);
    return got;
  }

  bool enter(bool pod) const { return ::setns(pod ? pod_ : outside_, CLONE_NEWNET) == 0; }

 private:
  static unsigned id(const std::string& text) { return static_cast<unsigned>(std::stoul(text)); }
  static bool batch(const std::string& lines) {
    const std::vector<std::string> arguments{"-batch", "-"}, environment{"LC_ALL=C"};
    const auto done = run_program(find_program("ip"), arguments, environment, lines);
    if (done && done->status == 0) return true;
    std::fprintf(stderr, "ip: %s\n", done ? done->err.c_str() : done.error().c_str());
    return false;
  }
  bool listen(bool in_pod, bool udp, uint16_t port) {
    if (!enter(in_pod)) return false;
    const int fd = ::socket(AF_INET6, (udp ? SOCK_DGRAM : SOCK_STREAM) | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    ears_.push_back({fd, in_pod, udp, port});
    const int no = 0, yes = 1;
    ::setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &no, sizeof no);
    if (port == 15006 && ::setsockopt(fd, IPPROTO_IP, IP_TRANSPARENT, &yes, sizeof yes) != 0) return false;
    socklen_t size = 0;
    const auto at = storage({base::Ip::any(false), port}, size);
    return ::bind(fd, reinterpret_cast<const sockaddr*>(&at), size) == 0 && (udp || ::listen(fd, 64) == 0) && enter(true);
  }
  std::string heard() {
    std::vector<pollfd> waits;
    for (const auto& ear : ears_) waits.push_back({ear.fd, POLLIN, 0});
    if (::poll(waits.data(), waits.size(), kArrivesWithin) <= 0) return "nobody";
    std::string who = "nobody";
    for (size_t i = 0; i < waits.size(); ++i) {
      if (!waits[i].revents) continue;
      char byte;
      const int fd = ears_[i].udp ? -1 : ::accept4(ears_[i].fd, nullptr, nullptr, SOCK_CLOEXEC);
      if (fd >= 0) ::close(fd);
      if (ears_[i].udp) [[maybe_unused]]
        const auto n = ::recv(ears_[i].fd, &byte, 1, 0);
      who = fmt::format("{}:{}", ears_[i].in_pod ? "pod" : "outside", ears_[i].port);
    }
    return who;
  }

  int pod_ = -1, outside_ = -1;
  pid_t holder_ = -1;
  std::vector<Ear> ears_;
};

// A configuration and flows, drawn at random among what decides.
class Draw {
 public:
  explicit Draw(unsigned seed) : random_(seed) {}
  template <class T, size_t N>
  const T& one(const T (&of)[N]) {
    return of[random_() % N];
  }
  bool flip() { return random_() % 2; }

  std::vector<std::string> arguments() {
    static constexpr const char* kRanges[] = {"*", "*", "10.9.0.0/24,fd00:9::/120", "10.9.1.0/24", "127.0.0.0/8,10.9.0.0/16", ""};
    static constexpr const char* kInbound[] = {"*", "*", "80,8080", "80:443", ""};
    static constexpr const char* kExcluded[] = {"", "15020", "15020,8080", "443:8080"};
    static constexpr const char* kIds[] = {"1337", "1337", "1000", "1336-1338", "1337,1000"};
    std::vector<std::string> out{"--enable-ipv6=true", "--force-iptables-binary=nft", "-m", flip() ? "TPROXY" : "REDIRECT"};
    const auto add = [&](const char* flag, const char* value) { out.insert(out.end(), {flag, value}); };
    add("-i", one(kRanges));
    add("-b", one(kInbound));
    add("-d", one(kExcluded));
    add("-u", one(kIds));
    if (flip()) add("-g", one(kIds));
    if (flip()) add("-x", flip() ? "10.9.0.7/32" : "fd00:9::7/128,10.9.1.0/24");
    if (random_() % 3 == 0) add("-o", flip() ? "443" : "53,80");
    if (random_() % 3 == 0) add("-q", flip() ? "443" : "8080");
    if (random_() % 4 == 0) add("-c", flip() ? "eth0" : "et+");
    if (random_() % 3 == 0) {
      out.emplace_back("--redirect-dns");
      if (flip())
        out.emplace_back("--capture-all-dns");
      else
        add("--dns-servers", "10.9.0.7,fd00:9::7");
    }
    if (random_() % 4 == 0) out.emplace_back("--drop-invalid");
    if (random_() % 3 == 0) out.emplace_back("--hold-until-ready");
    return out;
  }
  iptables::Flow flow(std::span<const base::Ip> own) {
    static constexpr const char* kOut4[] = {"10.9.0.7", "10.9.0.8", "10.9.1.9", "10.8.0.2", "127.0.0.1", "127.0.0.6", "127.0.0.9"};
    static constexpr const char* kOut6[] = {"fd00:9::7", "fd00:9::8", "fd00:9::1:9", "fd00:8::2", "::1", "::6"};
    static constexpr const char* kWho[] = {"1000", "1337", "1336", "0"};
    const bool v4 = flip(), outbound = random_() % 3 != 0;
    const auto to = outbound ? v4 ? one(kOut4) : one(kOut6) : v4 ? "10.8.0.2" : "fd00:8::2";
    auto text = fmt::format("{} {}{}{}:{}", outbound ? "out" : "in", v4 ? "" : "[", to, v4 ? "" : "]", one(kPorts));
    if (random_() % 4 == 0) text += " udp";
    if (outbound)
      text += fmt::format(" uid {} gid {}", one(kWho), one(kWho));
    else
      text += v4 ? " from 10.8.0.1" : " from fd00:8::1";
    // What the proxy binds when it delivers to the app.
    if (outbound && random_() % 4 == 0 && std::string_view(to) == (v4 ? "10.8.0.2" : "fd00:8::2"))
      text += v4 ? " from 127.0.0.6" : " from ::6";
    auto parsed = iptables::parse_flow(text, own);
    if (!parsed) std::fprintf(stderr, "%s: %s\n", text.c_str(), parsed.error().c_str());
    return parsed ? *parsed : iptables::Flow{};
  }

 private:
  std::mt19937 random_;
};

std::string expected(const iptables::Flow& flow, const iptables::Verdict& verdict, std::span<const base::Ip> own) {
  const bool here = flow.to.ip.is_loopback() || std::ranges::find(own, flow.to.ip) != own.end() || flow.to.ip == base::Ip::parse("::6");
  switch (verdict.kind) {
    case iptables::Verdict::Kind::kRedirect:
    case iptables::Verdict::Kind::kTproxy:
      return fmt::format("pod:{}", verdict.port);
    case iptables::Verdict::Kind::kDrop:
      return "nobody";
    case iptables::Verdict::Kind::kUntouched:
      break;
  }
  return fmt::format("{}:{}", here ? "pod" : "outside", flow.to.port);
}

// In a child: true when model and kernel agree on everything drawn from this seed.
bool agree(unsigned seed) {
  Lab lab;
  if (!lab.build()) return false;
  Draw draw(seed);
  const auto words = draw.arguments();
  std::vector<const char*> arguments;
  for (const auto& word : words) arguments.push_back(word.c_str());
  const auto invocation = iptables::parse_options(arguments, [](const char*) -> const char* { return nullptr; });
  if (!invocation) return std::fprintf(stderr, "%s\n", invocation.error().c_str()), false;
  const auto rules = build_rules(invocation->options, observe(invocation->options));
  if (const auto done = apply_rules(invocation->options, rules); !done) return std::fprintf(stderr, "%s\n", done.error().c_str()), false;
  auto own = own_addresses();
  bool good = true;
  for (int i = 0; i < kFlows; ++i) {
    const auto flow = draw.flow(own);
    const auto verdict = trace(rules.family(flow.to.ip.v4), flow);
    const auto wanted = expected(flow, verdict, own), got = lab.send(flow);
    if (got == wanted) continue;
    good = false;
    std::string line;
    for (const auto& word : words) line += " " + (word.empty() ? "''" : word);
    std::fprintf(stderr, "seed %u:%s\n%sbut it arrived at %s instead of %s\n", seed, line.c_str(), trace_text(flow, verdict).c_str(),
                 got.c_str(), wanted.c_str());
  }
  return good;
}

TEST(Trace, RandomRulesAndConnections_ModelSaysWhatTheKernelDoes) {
  for (unsigned seed = 1; seed <= kConfigurations; ++seed) {
    const pid_t child = ::fork();
    if (child == 0) {
      say_as(Severity::kError, false);
      ::alarm(60);
      ::_exit(agree(seed) ? 0 : 1);
    }
    int status = 1;
    while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {
    }
    EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << "seed " << seed;
  }
}

}  // namespace
}  // namespace init
