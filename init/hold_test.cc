// --hold-until-ready with real connections: they wait for the proxy instead of being refused. Needs root.
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>

#include <cstring>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "init/namespace_testing.h"
#include "init/native.h"

namespace init {
namespace {

constexpr int kPatience = 10'000;  // milliseconds; the second SYN comes after one second, the third after three

class Fd {
 public:
  explicit Fd(int fd = -1) : fd_(fd) {}
  Fd(Fd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Fd& operator=(Fd&&) = delete;
  ~Fd() {
    if (fd_ >= 0) ::close(fd_);
  }
  int get() const noexcept { return fd_; }

 private:
  int fd_;
};

struct Address {
  sockaddr_storage storage{};
  socklen_t size = 0;
  explicit Address(const base::SocketAddress& at) {
    auto& four = reinterpret_cast<sockaddr_in&>(storage);
    auto& six = reinterpret_cast<sockaddr_in6&>(storage);
    if (at.ip.v4) {
      four.sin_family = AF_INET;
      four.sin_port = htons(at.port);
      std::memcpy(&four.sin_addr, at.ip.bytes.data(), 4);
      size = sizeof four;
    } else {
      six.sin6_family = AF_INET6;
      six.sin6_port = htons(at.port);
      std::memcpy(&six.sin6_addr, at.ip.bytes.data(), 16);
      size = sizeof six;
    }
  }
  const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&storage); }
};

base::SocketAddress at(std::string_view text) { return *base::SocketAddress::parse(text); }

// A connection that has just been begun.
Fd begin(std::string_view to) {
  const auto where = at(to);
  Fd fd(::socket(where.ip.v4 ? AF_INET : AF_INET6, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  const Address address(where);
  [[maybe_unused]] const auto started = ::connect(fd.get(), address.get(), address.size);
  return fd;
}

// The error of a socket once it has one or is connected; ETIMEDOUT when neither comes.
int outcome(const Fd& fd) {
  pollfd wait{fd.get(), POLLOUT, 0};
  if (::poll(&wait, 1, kPatience) != 1) return ETIMEDOUT;
  int error = 0;
  socklen_t size = sizeof error;
  ::getsockopt(fd.get(), SOL_SOCKET, SO_ERROR, &error, &size);
  return error;
}

Fd serve(std::string_view where) {
  const Address address(at(where));
  Fd fd(::socket(address.storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (::bind(fd.get(), address.get(), address.size) != 0 || ::listen(fd.get(), 8) != 0) return Fd();
  return fd;
}

// The pod in which this process is, and a machine outside whose namespace can be entered.
class Outside {
 public:
  bool build() {
    if (!add_card()) return false;
    Fd pod(::open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC));
    if (::unshare(CLONE_NEWNET) != 0) return false;
    const int outside = ::open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
    if (!loopback_up() || ::setns(pod.get(), CLONE_NEWNET) != 0) return false;
    if (!tool("ip", {"link", "set", "other", "netns", fmt::format("/proc/{}/fd/{}", ::getpid(), outside)})) return false;
    if (::setns(outside, CLONE_NEWNET) != 0) return false;
    const bool made = tool("ip", {"addr", "add", "10.8.0.1/24", "dev", "other"}) &&
                      tool("ip", {"addr", "add", "fd00:8::1/64", "dev", "other", "nodad"}) && tool("ip", {"link", "set", "other", "up"});
    ::close(outside_);
    outside_ = outside;
    return made && ::setns(pod.get(), CLONE_NEWNET) == 0;
  }
  ~Outside() { ::close(outside_); }
  // A connection that somebody outside begins.
  Fd begins(std::string_view to) const {
    const Fd pod(::open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC));
    if (::setns(outside_, CLONE_NEWNET) != 0) return Fd();
    auto fd = begin(to);
    return ::setns(pod.get(), CLONE_NEWNET) == 0 ? std::move(fd) : Fd();
  }

 private:
  int outside_ = -1;
};

struct Wait {
  const char* what;
  Fd connection;
};

// One of each way that ends at the proxy.
std::vector<Wait> begin_all(const Outside& outside) {
  std::vector<Wait> out;
  out.push_back({"outbound IPv4", begin("192.0.2.1:80")});
  out.push_back({"outbound IPv6", begin("[2001:db8::1]:80")});
  out.push_back({"inbound IPv4", outside.begins("10.8.0.2:80")});
  out.push_back({"inbound IPv6", outside.begins("[fd00:8::2]:80")});
  out.push_back({"DNS over TCP", begin("192.0.2.53:53")});
  return out;
}

Config pod(const char* backend, const char* hold) {
  return config({"-i", "*", "-b", "*", "--redirect-dns", "--capture-all-dns", "--enable-ipv6=true", backend, hold});
}

constexpr const char* kBackends[] = {"--force-iptables-binary=nft", "--force-iptables-binary=legacy", "--native-nftables"};

class Hold : public testing::TestWithParam<const char*> {};

TEST_P(Hold, ConnectionsBeforeTheProxyListens_WaitForIt) {
  EXPECT_TRUE(in_namespace([] {
    Outside outside;
    CHECK_THAT(outside.build());
    const auto of = pod(GetParam(), "--hold-until-ready");
    CHECK_THAT(good(apply_rules(of.options, of.rules)));
    const auto waiting = begin_all(outside);
    // What is not captured is refused as ever.
    CHECK_THAT(outcome(begin("127.0.0.1:15001")) == ECONNREFUSED && outcome(begin("10.8.0.2:80")) == ECONNREFUSED);
    // Any way to bind counts.
    const auto out4 = serve("127.0.0.1:15001"), out6 = serve("[::1]:15001"), in = serve("[::]:15006"), dns = serve("0.0.0.0:15053");
    CHECK_THAT(out4.get() >= 0 && out6.get() >= 0 && in.get() >= 0 && dns.get() >= 0);
    bool all = true;
    for (const auto& wait : waiting)
      if (const int error = outcome(wait.connection)) {
        std::fprintf(stderr, "%s: %s\n", wait.what, std::strerror(error));
        all = false;
      }
    CHECK_THAT(all);
    for (const auto& now : begin_all(outside)) CHECK_THAT(outcome(now.connection) == 0);
    return true;
  }));
}

TEST_P(Hold, WithoutTheOption_TheyAreRefused) {
  EXPECT_TRUE(in_namespace([] {
    Outside outside;
    CHECK_THAT(outside.build());
    const auto held = pod(GetParam(), "--hold-until-ready"), plain = pod(GetParam(), "--hold-until-ready=false");
    CHECK_THAT(good(apply_rules(held.options, held.rules)));
    CHECK_THAT(good(apply_rules(plain.options, plain.rules)));  // the hold is retired
    for (const auto& refused : begin_all(outside)) CHECK_THAT(outcome(refused.connection) == ECONNREFUSED);
    return true;
  }));
}

TEST_P(Hold, CleanUpWithoutFlags_LeavesNothingOfIt) {
  EXPECT_TRUE(in_namespace([] {
    const bool legacy = std::string_view(GetParam()).ends_with("legacy");
    const std::string tables = legacy ? "iptables-legacy" : "iptables-nft";
    CHECK_THAT(tool(tables, {"-A", "INPUT", "-p", "udp", "--dport", "9", "-j", "DROP"}));
    const auto before = output(tables + "-save", {"-t", "filter"});
    const auto of = pod(GetParam(), "--hold-until-ready");
    CHECK_THAT(good(apply_rules(of.options, of.rules)));
    const auto full = output("nft", {"list", "ruleset"}) + output(tables + "-save", {"-t", "filter"});
    CHECK_THAT(good(apply_rules(of.options, of.rules)));  // a second run changes nothing
    CHECK_THAT(native_tables().size() == (std::string_view(GetParam()) == "--native-nftables" ? 6u : 0u));
    const auto none = config({});
    CHECK_THAT(good(clean_up(none.options, none.rules)));
    CHECK_THAT(native_tables().empty());
    const auto rules = [](std::string text) {  // without the comments, which tell the time
      std::string out;
      for (size_t from = 0; from < text.size();) {
        const auto end = text.find('\n', from);
        if (text[from] != '#') out += text.substr(from, end - from + 1);
        from = end == std::string::npos ? text.size() : end + 1;
      }
      return out;
    };
    CHECK_THAT(full.find("HOLD") != std::string::npos || full.find("sluice-hold") != std::string::npos);
    CHECK_THAT(rules(output(tables + "-save", {"-t", "filter"})) == rules(before));
    CHECK_THAT(output("nft", {"list", "ruleset"}).find("HOLD") == std::string::npos);
    return true;
  }));
}

// Connections that stay in the pod are often let in first.
TEST_P(Hold, AcceptOfSomebodyElse_DoesNotEndIt) {
  EXPECT_TRUE(in_namespace([] {
    CHECK_THAT(add_card());
    for (const char* tables : {"iptables-nft", "ip6tables-nft", "iptables-legacy", "ip6tables-legacy"})
      CHECK_THAT(tool(tables, {"-A", "INPUT", "-i", "lo", "-j", "ACCEPT"}));
    const auto of = pod(GetParam(), "--hold-until-ready");
    CHECK_THAT(good(apply_rules(of.options, of.rules)));
    const auto four = begin("192.0.2.1:80"), six = begin("[2001:db8::1]:80");
    const auto out4 = serve("127.0.0.1:15001"), out6 = serve("[::1]:15001");
    CHECK_THAT(out4.get() >= 0 && out6.get() >= 0);
    CHECK_THAT(outcome(four) == 0 && outcome(six) == 0);
    return true;
  }));
}

INSTANTIATE_TEST_SUITE_P(Backends, Hold, testing::ValuesIn(kBackends), [](const auto& info) {
  const std::string_view name(info.param);
  return std::string(name.ends_with("legacy") ? "legacy" : name.ends_with("=nft") ? "nft" : "native");
});

}  // namespace
}  // namespace init
