// What is open when the rules come, over a wire to a second namespace. Needs root.
#include "init/adopt.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <linux/filter.h>
#include <linux/netlink.h>
#include <linux/seccomp.h>
#include <netinet/in.h>
#include <poll.h>

#include <array>
#include <chrono>
#include <memory>
#include <optional>

#include "init/conntrack.h"
#include "init/namespace_testing.h"
#include "init/native.h"
#include "init/sockets.h"

namespace init {
namespace {

constexpr uint16_t kPort = 9000;

class Socket {
 public:
  explicit Socket(int fd = -1) : fd_(fd) {}
  Socket(Socket&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  ~Socket() {
    if (fd_ >= 0) ::close(fd_);
  }
  int get() const { return fd_; }

 private:
  int fd_;
};

struct Address {
  sockaddr_storage storage{};
  socklen_t size = 0;
  const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&storage); }
};
Address address(const char* ip, uint16_t port) {
  Address out;
  sockaddr_in four{};
  sockaddr_in6 six{};
  four.sin_family = AF_INET;
  six.sin6_family = AF_INET6;
  four.sin_port = six.sin6_port = htons(port);
  if (::inet_pton(AF_INET, ip, &four.sin_addr) == 1)
    std::memcpy(&out.storage, &four, out.size = sizeof four);
  else if (::inet_pton(AF_INET6, ip, &six.sin6_addr) == 1)
    std::memcpy(&out.storage, &six, out.size = sizeof six);
  return out;
}

Socket socket_for(const Address& at) {
  Socket out(::socket(at.storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const timeval limit{3, 0};
  const int yes = 1;
  ::setsockopt(out.get(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  ::setsockopt(out.get(), SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
  ::setsockopt(out.get(), SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
  return out;
}

Socket listener() {
  const auto at = address("::", kPort);
  auto out = socket_for(at);
  return ::bind(out.get(), at.get(), at.size) == 0 && ::listen(out.get(), 64) == 0 ? std::move(out) : Socket();
}

// errno; 0: connected.
int dial(const Socket& from, const char* to) {
  const auto at = address(to, kPort);
  return ::connect(from.get(), at.get(), at.size) == 0 ? 0 : errno;
}

bool says(const Socket& from, const Socket& to, char what) {
  char got = 0;
  return ::send(from.get(), &what, 1, MSG_NOSIGNAL) == 1 && ::recv(to.get(), &got, 1, 0) == 1 && got == what;
}

// This namespace is the pod; a wire leads to somebody else's, where somebody listens too.
class World {
 public:
  static std::unique_ptr<World> make() {
    auto out = std::make_unique<World>();
    out->pod_ = this_namespace();
    if (::unshare(CLONE_NEWNET) != 0) return nullptr;
    out->outside_ = this_namespace();
    if (!loopback_up() || !out->enter(false)) return nullptr;
    const auto there = fmt::format("/proc/{}/fd/{}", ::getpid(), out->outside_);
    if (!tool("ip", {"link", "add", "eth0", "type", "veth", "peer", "name", "eth1"}) ||
        !tool("ip", {"link", "set", "eth1", "netns", there}))
      return nullptr;
    for (const bool outside : {false, true}) {
      const std::string card = outside ? "eth1" : "eth0", host = outside ? "1" : "2";
      if (!out->enter(outside) || !tool("ip", {"addr", "add", "10.8.0." + host + "/24", "dev", card}) ||
          !tool("ip", {"addr", "add", "fd00:8::" + host + "/64", "dev", card, "nodad"}) || !tool("ip", {"link", "set", card, "up"}))
        return nullptr;
    }
    out->there_ = std::make_unique<Socket>(listener());
    if (!out->enter(false)) return nullptr;
    out->here_ = std::make_unique<Socket>(listener());
    return out->there_->get() >= 0 && out->here_->get() >= 0 ? std::move(out) : nullptr;
  }

  bool enter(bool outside) const { return ::setns(outside ? outside_ : pod_, CLONE_NEWNET) == 0; }

  struct Pair {
    Socket dialled, accepted;
  };
  // A connection from the pod, or into it.
  Pair connect(bool outbound, bool ipv4) const {
    const char* to = outbound ? (ipv4 ? "10.8.0.1" : "fd00:8::1") : (ipv4 ? "10.8.0.2" : "fd00:8::2");
    enter(!outbound);
    auto dialled = socket_for(address(to, kPort));
    enter(false);
    if (dial(dialled, to) != 0) return {Socket(), Socket()};
    return {std::move(dialled), accept(outbound)};
  }
  Socket accept(bool outbound) const {
    pollfd wait{(outbound ? there_ : here_)->get(), POLLIN, 0};
    Socket accepted(::poll(&wait, 1, 3000) == 1 ? ::accept4(wait.fd, nullptr, nullptr, SOCK_CLOEXEC) : -1);
    const timeval limit{3, 0};
    ::setsockopt(accepted.get(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    return accepted;
  }

 private:
  static int this_namespace() { return ::open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC); }
  int pod_ = -1, outside_ = -1;  // end with the process
  std::unique_ptr<Socket> there_, here_;
};

// Nobody listens at the proxy's port, so what is captured is refused.
bool captures(bool ipv4) {
  const char* to = ipv4 ? "10.8.0.1" : "fd00:8::1";
  return dial(socket_for(address(to, kPort)), to) == ECONNREFUSED;
}

struct Case {
  const char* name;
  std::vector<const char*> arguments;
};
const std::array<Case, 4> kCases{{{"nft", {"--force-iptables-binary=nft"}},
                                  {"legacy", {"--force-iptables-binary=legacy"}},
                                  {"native", {"--native-nftables"}},
                                  {"TPROXY", {"-m", "TPROXY", "--drop-invalid"}}}};

Config pod(const Case& of) {
  std::vector<const char*> arguments{"-i", "*", "-b", "*", "--enable-ipv6=true"};
  arguments.insert(arguments.end(), of.arguments.begin(), of.arguments.end());
  return config(arguments);
}

TEST(OpenConnections, FirstApplyAndApplyAfterCleanUp_GoOnUndisturbed) {
  for (const auto& one : kCases)
    EXPECT_TRUE(in_namespace([&] {
      const auto world = World::make();
      CHECK_THAT(world);
      const auto of = pod(one), none = config({});
      for (int round = 0; round < 2; ++round) {
        std::vector<World::Pair> all;
        for (const bool outbound : {true, false})
          for (const bool ipv4 : {true, false})
            for (int i = 0; i < 2; ++i) all.push_back(world->connect(outbound, ipv4));
        for (const auto& pair : all) CHECK_THAT(pair.accepted.get() >= 0 && says(pair.dialled, pair.accepted, 'a'));
        CHECK_THAT(::shutdown(all[1].dialled.get(), SHUT_WR) == 0 && ::shutdown(all[7].accepted.get(), SHUT_WR) == 0);
        CHECK_THAT(good(apply_rules(of.options, of.rules)));
        CHECK_THAT(captures(true) && captures(false));
        for (size_t i = 0; i < all.size(); ++i) {
          CHECK_THAT(i == 1 || says(all[i].dialled, all[i].accepted, 'b'));
          CHECK_THAT(i == 7 || says(all[i].accepted, all[i].dialled, 'c'));
        }
        all.clear();
        CHECK_THAT(good(clean_up(none.options, none.rules)));
      }
      return true;
    })) << one.name;
}

// What an earlier run's rules left in the kernel's list when they went.
TEST(OpenConnections, EntryOfOneThatIsOver_IsNoWayPastTheRules) {
  for (const auto& one : kCases)
    EXPECT_TRUE(in_namespace([&] {
      const auto world = World::make();
      CHECK_THAT(world);
      for (const bool ipv4 : {true, false}) {
        const char* const own = ipv4 ? "10.8.0.2" : "fd00:8::2";
        Conntrack conntrack;
        const auto added = conntrack.add({{*base::Ip::parse(own), 5555}, {*base::Ip::parse(ipv4 ? "10.8.0.1" : "fd00:8::1"), kPort}},
                                         Conntrack::Stage::kEstablished);
        CHECK_THAT(added && *added);
      }
      const auto of = pod(one);
      CHECK_THAT(good(apply_rules(of.options, of.rules)));
      for (const bool ipv4 : {true, false}) {
        const auto from = address(ipv4 ? "10.8.0.2" : "fd00:8::2", 5555);
        const auto socket = socket_for(from);
        CHECK_THAT(::bind(socket.get(), from.get(), from.size) == 0);
        CHECK_THAT(dial(socket, ipv4 ? "10.8.0.1" : "fd00:8::1") == ECONNREFUSED);
      }
      return true;
    })) << one.name;
}

// As the proxy does with TPROXY: to the app in the name of the client. {the proxy's end, the app's end}
World::Pair deliver(const World& world, bool ipv4) {
  const auto client = address(ipv4 ? "10.8.0.1" : "fd00:8::1", 7777);
  auto proxy = socket_for(client);
  const int yes = 1, mark = 1337;
  ::setsockopt(proxy.get(), ipv4 ? SOL_IP : SOL_IPV6, ipv4 ? IP_TRANSPARENT : IPV6_TRANSPARENT, &yes, sizeof yes);
  ::setsockopt(proxy.get(), SOL_SOCKET, SO_MARK, &mark, sizeof mark);
  if (::bind(proxy.get(), client.get(), client.size) != 0 || dial(proxy, ipv4 ? "10.8.0.2" : "fd00:8::2") != 0) return {Socket(), Socket()};
  return {std::move(proxy), world.accept(false)};
}

TEST(CleanUp, ConnectionsThatTproxyDelivered_AreAnsweredToTheirEnd) {
  for (const char* backend : {"--force-iptables-binary=nft", "--force-iptables-binary=legacy", "--native-nftables"})
    for (const bool ipv4 : {true, false})
      EXPECT_TRUE(in_namespace([&] {
        const auto world = World::make();
        CHECK_THAT(world);
        const auto of = config({backend, "-i", "*", "-b", "*", "-m", "TPROXY", "--enable-ipv6=true"}), none = config({});
        CHECK_THAT(good(apply_rules(of.options, of.rules)));
        std::optional<World::Pair> pair = deliver(*world, ipv4);
        CHECK_THAT(says(pair->dialled, pair->accepted, 'a') && says(pair->accepted, pair->dialled, 'b'));
        const pid_t child = ::fork();
        if (child == 0) {
          pair.reset();
          ::_exit(good(clean_up(none.options, none.rules)) ? 0 : 1);
        }
        const auto delivers = [] {
          return output("nft", {"list", "ruleset"}).find("jump istio-tproxy") != std::string::npos ||
                 output("iptables-nft-save", {"-t", "mangle"}).find("-j ISTIO_TPROXY") != std::string::npos ||
                 output("ip6tables-nft-save", {"-t", "mangle"}).find("-j ISTIO_TPROXY") != std::string::npos ||
                 output("iptables-legacy-save", {"-t", "mangle"}).find("-j ISTIO_TPROXY") != std::string::npos ||
                 output("ip6tables-legacy-save", {"-t", "mangle"}).find("-j ISTIO_TPROXY") != std::string::npos;
        };
        while (delivers()) CHECK_THAT(::waitpid(child, nullptr, WNOHANG) == 0);
        const bool answered = says(pair->dialled, pair->accepted, 'c') && says(pair->accepted, pair->dialled, 'd');
        const auto direct = world->connect(false, ipv4);  // nobody takes new ones any more
        const bool passes = direct.accepted.get() >= 0 && says(direct.dialled, direct.accepted, 'e');
        pair.reset();
        int status = 1;
        CHECK_THAT(::waitpid(child, &status, 0) == child && status == 0);
        CHECK_THAT(answered && passes);
        CHECK_THAT(state(true).find("ISTIO") == std::string::npos && native_tables().empty());
        return true;
      })) << backend
          << ipv4;
}

// Whatever the flags of this run say: the rules tell which ports are the proxy's.
TEST(CleanUp, ConnectionsAtAPortOfEarlierOptions_GoOnToTheirEnd) {
  for (const char* backend : {"--force-iptables-binary=nft", "--force-iptables-binary=legacy", "--native-nftables"})
    EXPECT_TRUE(in_namespace([&] {
      const auto world = World::make();
      CHECK_THAT(world);
      const auto of = config({backend, "-i", "*", "-b", "*", "-p", "16001", "--enable-ipv6=true"}), none = config({});
      CHECK_THAT(good(apply_rules(of.options, of.rules)));
      const auto at = address("::", 16001);
      auto proxy = socket_for(at);
      CHECK_THAT(::bind(proxy.get(), at.get(), at.size) == 0 && ::listen(proxy.get(), 1) == 0);
      auto dialled = std::make_unique<Socket>(socket_for(address("10.8.0.1", kPort)));
      CHECK_THAT(dial(*dialled, "10.8.0.1") == 0);
      auto accepted = std::make_unique<Socket>(::accept4(proxy.get(), nullptr, nullptr, SOCK_CLOEXEC));
      CHECK_THAT(says(*dialled, *accepted, 'a'));
      const pid_t child = ::fork();
      if (child == 0) {
        dialled.reset();
        accepted.reset();
        ::_exit(good(clean_up(none.options, none.rules)) ? 0 : 1);
      }
      const auto turns = [] {
        return (output("nft", {"list", "ruleset"}) + output("iptables-nft-save", {}) + output("iptables-legacy-save", {})).find("16001") !=
               std::string::npos;
      };
      while (turns()) CHECK_THAT(::waitpid(child, nullptr, WNOHANG) == 0);
      int status = 1;
      // Unless it has an eye on the connection, it is about to end; 300 ms are a tenth of what it waits.
      pollfd end{static_cast<int>(::syscall(SYS_pidfd_open, child, 0)), POLLIN, 0};
      CHECK_THAT(::poll(&end, 1, 300) == 0);
      CHECK_THAT(says(*dialled, *accepted, 'b') && says(*accepted, *dialled, 'c'));
      dialled.reset();
      accepted.reset();
      CHECK_THAT(::waitpid(child, &status, 0) == child && status == 0);
      CHECK_THAT(state(true).find("ISTIO") == std::string::npos && native_tables().empty());
      return true;
    })) << backend;
}

// The rules of nat by which these are told go first, so that connections can end.
TEST(CleanUp, ExcludedInterfaceWithTproxyAndASocket_NothingStays) {
  for (const char* program : {"iptables-nft", "iptables-legacy"})
    EXPECT_TRUE(in_namespace([&] {
      const auto world = World::make();
      CHECK_THAT(world);
      const auto forced = std::string("--force-iptables-binary=") + (program + std::string_view("iptables-").size());
      const auto of = config({forced.c_str(), "-i", "*", "-b", "*", "-m", "TPROXY", "-c", "eth7,eth8", "--enable-ipv6=true"}),
                 none = config({});
      CHECK_THAT(good(apply_rules(of.options, of.rules)) && somebody_uses_tcp());
      CHECK_THAT(good(clean_up(none.options, none.rules)));
      for (const std::string family : {"iptables", "ip6tables"})
        CHECK_THAT(output(family + (program + std::string_view("iptables").size()) + "-save", {}).find("\n-A ") == std::string::npos);
      return true;
    })) << program;
}

// As in a sandbox that has only half of netlink.
bool refuse_netlink(uint32_t protocol) {
  sock_filter program[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_socket, 0, 5),
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, args[0])), BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, AF_NETLINK, 0, 3),
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, args[2])), BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, protocol, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPROTONOSUPPORT),      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)};
  const sock_fprog all{.len = std::size(program), .filter = program};
  return ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 && ::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &all) == 0;
}

TEST(OpenConnections, KernelRefuses_OneWarningAndTheRulesStand) {
  EXPECT_TRUE(in_namespace([] {
    const auto world = World::make();
    CHECK_THAT(world);
    const auto of = pod(kCases[1]);
    const auto pair = world->connect(true, true);
    CHECK_THAT(refuse_netlink(NETLINK_NETFILTER));
    bool done = false;
    const auto said = warnings([&] { done = good(apply_rules(of.options, of.rules)); });
    CHECK_THAT(done && captures(true) && captures(false));
    CHECK_THAT(said ==
               "sluice-init: warning: connections that were open before the rules may break: the kernel's list of connections is "
               "out of reach: Protocol not supported\n");
    return true;
  }));
}

TEST(CleanUp, KernelDoesNotSayWhatIsOpen_WaitsAndWarns) {
  EXPECT_TRUE(in_namespace([] {
    const auto world = World::make();
    CHECK_THAT(world);
    const auto of = pod(kCases[0]), none = config({});
    CHECK_THAT(good(apply_rules(of.options, of.rules)));
    CHECK_THAT(refuse_netlink(NETLINK_SOCK_DIAG));
    const auto begun = std::chrono::steady_clock::now();
    bool done = false;
    const auto said = warnings([&] { done = good(clean_up(none.options, none.rules)); });
    CHECK_THAT(done && state(true).find("ISTIO") == std::string::npos);
    CHECK_THAT(std::chrono::steady_clock::now() - begun >= std::chrono::milliseconds(2900));
    CHECK_THAT(said.starts_with("sluice-init: warning: connections that the proxy has get ") &&
               said.ends_with("which connections are open: Protocol not supported\n"));
    return true;
  }));
}

TEST(OpenConnections, EntryOfAHandshake_Stays) {
  EXPECT_TRUE(in_namespace([] {
    const auto world = World::make();
    CHECK_THAT(world);
    const Conntrack::Tuple tuple{{*base::Ip::parse("10.8.0.1"), 5555}, {*base::Ip::parse("10.8.0.2"), kPort}};
    Conntrack conntrack;
    for (const auto stage : {Conntrack::Stage::kSynSent, Conntrack::Stage::kSynReceived, Conntrack::Stage::kEstablished}) {
      CHECK_THAT(conntrack.add(tuple, stage) == true);
      CHECK_THAT(good(forget_ended_connections(true)));
      CHECK_THAT(conntrack.add(tuple, stage) == (stage == Conntrack::Stage::kEstablished));  // true: it was not there any more
      CHECK_THAT(good(conntrack.remove(tuple)));
    }
    return true;
  }));
}

TEST(TcpSockets, EachEndWithItsStateAndMappedAddressesAsIpv4) {
  EXPECT_TRUE(in_namespace([] {
    const auto nothing = tcp_sockets();
    CHECK_THAT(nothing && nothing->connections.empty());
    CHECK_THAT(!somebody_uses_tcp());
    const auto world = World::make();
    CHECK_THAT(world);
    const auto pair = world->connect(false, true);
    const auto some = tcp_sockets();
    CHECK_THAT(some && some->listening == std::set<uint16_t>{kPort} && some->connections.size() == 1);
    const auto& one = *some->connections.begin();
    CHECK_THAT(one.own.text() == "10.8.0.2:9000" && one.other.text().starts_with("10.8.0.1:") && one.state == 1 && !one.transparent);
    CHECK_THAT(somebody_uses_tcp());
    return true;
  }));
}

TEST(CountsTcp, SockstatTexts_AnySocketOfEitherFamilyOrJustEnded) {
  constexpr std::string_view kNone = "sockets: used 13\nTCP: inuse 0 orphan 0 tw 0 alloc 11 mem 1\nUDP: inuse 2 mem 0\n";
  EXPECT_FALSE(counts_tcp(kNone, "TCP6: inuse 0\nUDP6: inuse 4\n"));
  EXPECT_FALSE(counts_tcp("", ""));
  EXPECT_TRUE(counts_tcp(kNone, "TCP6: inuse 1\nUDP6: inuse 0\n"));
  EXPECT_TRUE(counts_tcp("TCP: inuse 0 orphan 0 tw 12 alloc 11 mem 1\n", ""));
  EXPECT_TRUE(counts_tcp("TCP: inuse 30 orphan 0 tw 0 alloc 11 mem 1\n", ""));
}

}  // namespace
}  // namespace init
