#include "iptables/rules.h"

#include <algorithm>

#include <fmt/format.h>

namespace iptables {
namespace {

constexpr uint32_t kSelfCallMark = 1338;  // Istio: constants.OutboundMark, the proxy on its way to its own pod
constexpr int kDnsPort = 15053;           // Istio: constants.IstioAgentDNSListenerPort

// One address family. The methods stand in the order in which their rules are made, and order decides what a packet meets.
class Family {
 public:
  Family(const Options& options, const Facts& facts, bool ipv4)
      : o_(options),
        facts_(facts),
        v4_(ipv4),
        tproxy_(options.mode == Mode::kTproxy),
        loopback_(ipv4 ? options.loopback.text() : "::1/128"),
        marker_(ipv4 ? "127.0.0.6/32" : "::6/128"),
        uids_(options.proxy_uids.empty() ? std::vector{facts.proxy_id} : options.proxy_uids),
        gids_(options.proxy_gids.empty() ? uids_ : options.proxy_gids) {
    // Istio: without a resolver to protect, DNS capture is silently off.
    dns_ = o_.redirect_dns && (o_.capture_all_dns || !facts_.dns_servers.empty());
  }

  FamilyRules build() && {
    excluded_interfaces();
    virtual_interfaces();
    drop_invalid();
    targets();
    inbound();
    outbound_start();
    proxy_user();
    proxy_group();
    owner_groups();
    dns();
    outbound_rest();
    tproxy_marks();
    hold();
    return std::move(rules_);
  }

 private:
  template <class... A>
  void add(Table table, std::string_view chain, fmt::format_string<A...> spec, A&&... arguments) {
    rules_[table].push_back({std::string(chain), 0, fmt::format(spec, std::forward<A>(arguments)...), why_});
  }
  template <class... A>
  void insert(Table table, std::string_view chain, int position, fmt::format_string<A...> spec, A&&... arguments) {
    rules_[table].push_back({std::string(chain), position, fmt::format(spec, std::forward<A>(arguments)...), why_});
  }

  // The reason of the rules that follow, until the next one.
  void because(std::string_view why) { why_ = why; }

  void excluded_interfaces() {
    because("the interface is excluded");
    for (const auto& nic : o_.excluded_interfaces) {
      add(Table::kNat, "PREROUTING", "-i {} -j RETURN", nic);
      add(Table::kNat, "OUTPUT", "-o {} -j RETURN", nic);
      if (!tproxy_) continue;
      add(Table::kMangle, "PREROUTING", "-i {} -j RETURN", nic);
      add(Table::kMangle, "OUTPUT", "-o {} -j RETURN", nic);
    }
  }

  // What a virtual machine in the pod sends comes in through its own card. Here it leaves PREROUTING; the inserts of
  // outbound_rest() end up above these and take what is to be captured.
  void virtual_interfaces() {
    because("what a virtual machine sends is outbound, not inbound");
    for (const auto& nic : o_.virtual_interfaces) insert(Table::kNat, "PREROUTING", 1, "-i {} -j RETURN", nic);
  }

  // An out-of-window segment is not NATed, so without this the pod answers the peer with RST and kills the connection.
  void drop_invalid() {
    if (!o_.drop_invalid) return;
    because("a segment outside the window would make the pod reset the connection");
    add(Table::kMangle, "PREROUTING", "-m conntrack --ctstate INVALID -j ISTIO_DROP");
    add(Table::kMangle, "ISTIO_DROP", "-j DROP");
  }

  void targets() {
    because("the tunnel port is the proxy's own");
    add(Table::kNat, "ISTIO_INBOUND", "-p tcp --dport {} -j RETURN", o_.tunnel_port);
    because("the proxy's outbound port");
    add(Table::kNat, "ISTIO_REDIRECT", "-p tcp -j REDIRECT --to-ports {}", o_.proxy_port);
    because("the proxy's inbound port");
    add(Table::kNat, "ISTIO_IN_REDIRECT", "-p tcp -j REDIRECT --to-ports {}", o_.inbound_port);
  }

  void inbound() {
    if (o_.inbound_ports.empty()) return;
    if (tproxy_) {
      because("packets of a connection that the proxy has taken stay on lo");
      add(Table::kMangle, "ISTIO_DIVERT", "-j MARK --set-mark {}", o_.tproxy_mark);
      add(Table::kMangle, "ISTIO_DIVERT", "-j ACCEPT");
      because("the proxy's transparent inbound port");
      add(Table::kMangle, "ISTIO_TPROXY", "! -d {} -p tcp -j TPROXY --tproxy-mark {}/0xffffffff --on-port {}", loopback_, o_.tproxy_mark,
          o_.inbound_port);
    }
    const Table table = tproxy_ ? Table::kMangle : Table::kNat;
    because("new connections from outside");
    add(table, "PREROUTING", "-p tcp -j ISTIO_INBOUND");
    if (!o_.inbound_ports.all) {
      for (const auto& port : o_.inbound_ports.list) capture_inbound(table, fmt::format("-p tcp --dport {}", port.text()));
      return;
    }
    because("the inbound port is excluded");
    for (const auto& port : o_.inbound_excluded) add(table, "ISTIO_INBOUND", "-p tcp --dport {} -j RETURN", port.text());
    capture_inbound(table, "-p tcp");
  }

  void capture_inbound(Table table, const std::string& match) {
    because("inbound ports to capture");
    if (!tproxy_) return add(table, "ISTIO_INBOUND", "{} -j ISTIO_IN_REDIRECT", match);
    // Packets of a connection that exists only need the route to lo; TPROXY is for the first one.
    add(table, "ISTIO_INBOUND", "{} -m conntrack --ctstate RELATED,ESTABLISHED -j ISTIO_DIVERT", match);
    add(table, "ISTIO_INBOUND", "{} -j ISTIO_TPROXY", match);
  }

  void outbound_start() {
    because("everything that a process of the pod sends");
    add(Table::kNat, "OUTPUT", "-j ISTIO_OUTPUT");  // no -p tcp: DNS over udp is decided inside
    because("the outbound port is excluded");
    for (const auto& port : o_.outbound_excluded) {
      add(Table::kNat, "ISTIO_OUTPUT", "-p tcp --dport {} -j RETURN", port.text());
      add(Table::kNat, "ISTIO_OUTPUT", "-p udp --dport {} -j RETURN", port.text());
    }
    // The proxy binds the marker address when it hands an inbound connection to the app; without this it would loop.
    because("this source means that the connection has been through the proxy");
    add(Table::kNat, "ISTIO_OUTPUT", "-o lo -s {} -j RETURN", marker_);
  }

  // The proxy dialling its own pod by address is a call of the app to its own service: it goes in through the front door.
  void proxy_user() {
    for (const auto& uid : uids_) {
      because("the proxy dials its own pod: a call of the app to its own service comes in as from anybody");
      if (dns_)
        add(Table::kNat, "ISTIO_OUTPUT", "-o lo ! -d {} -p tcp -m multiport ! --dports 53,{} -m owner --uid-owner {} -j ISTIO_IN_REDIRECT",
            loopback_, o_.tunnel_port, uid);
      else
        add(Table::kNat, "ISTIO_OUTPUT", "-o lo ! -d {} -p tcp ! --dport {} -m owner --uid-owner {} -j ISTIO_IN_REDIRECT", loopback_,
            o_.tunnel_port, uid);
      app_to_itself("uid", uid);
      because("the proxy's own connections");
      add(Table::kNat, "ISTIO_OUTPUT", "-m owner --uid-owner {} -j RETURN", uid);
    }
  }
  void proxy_group() {
    for (const auto& gid : gids_) {
      because("the proxy dials its own pod: a call of the app to its own service comes in as from anybody");
      add(Table::kNat, "ISTIO_OUTPUT", "-o lo ! -d {} -p tcp ! --dport {} -m owner --gid-owner {} -j ISTIO_IN_REDIRECT", loopback_,
          o_.tunnel_port, gid);
      app_to_itself("gid", gid);
      because("the proxy's own connections");
      add(Table::kNat, "ISTIO_OUTPUT", "-m owner --gid-owner {} -j RETURN", gid);
    }
  }
  // The app may talk to itself over lo untouched, unless the user asked to capture loopback destinations.
  // Port 53 goes on to the DNS rules: the resolver may live on 127.0.0.53.
  void app_to_itself(std::string_view kind, const std::string& id) {
    if (std::ranges::any_of(o_.outbound_ranges.list, [](const base::Cidr& c) { return c.base.is_loopback(); })) return;
    because("the app talks to itself");
    add(Table::kNat, "ISTIO_OUTPUT", "-o lo{} -m owner ! --{}-owner {} -j RETURN", dns_ ? " -p tcp ! --dport 53" : "", kind, id);
  }

  void owner_groups() {
    because("the group is excluded");
    if (o_.owner_groups.all) {
      for (const auto& group : o_.owner_groups_excluded) add(Table::kNat, "ISTIO_OUTPUT", "-m owner --gid-owner {} -j RETURN", group);
      return;
    }
    because("only these groups are captured");
    std::string none_of;
    for (const auto& group : o_.owner_groups.list) none_of += fmt::format("-m owner ! --gid-owner {} ", group);
    add(Table::kNat, "ISTIO_OUTPUT", "{}-j RETURN", none_of);
  }

  // Queries of the app and of the proxy may use the same source port; separate conntrack zones keep the kernel from taking
  // one for the other (zone 1: proxy to resolver, zone 2: app to proxy).
  void dns() {
    if (!dns_) return;
    because("queries of the app and of the proxy are kept apart in conntrack");
    add(Table::kRaw, "OUTPUT", "-j ISTIO_OUTPUT_DNS");
    const auto exempt = [&](std::string_view kind, const std::string& id) {
      add(Table::kRaw, "ISTIO_OUTPUT_DNS", "-p udp --dport 53 -m owner --{}-owner {} -j CT --zone 1", kind, id);
      add(Table::kRaw, "ISTIO_OUTPUT_DNS", "-p udp --sport {} -m owner --{}-owner {} -j CT --zone 2", kDnsPort, kind, id);
    };
    for (const auto& uid : uids_) exempt("uid", uid);
    for (const auto& gid : gids_) exempt("gid", gid);

    std::vector<std::string> servers;  // one empty entry: any resolver
    if (o_.capture_all_dns)
      servers.emplace_back();
    else
      for (const auto& ip : facts_.dns_servers)
        if (ip.v4 == v4_) servers.push_back(fmt::format("{}/{}", ip.text(), v4_ ? 32 : 128));
    if (servers.empty()) return;  // every resolver is of the other family
    const auto at = [](std::string_view flag, const std::string& server) {
      return server.empty() ? std::string() : fmt::format(" {} {}", flag, server);
    };
    because("DNS goes to the proxy");
    add(Table::kNat, "ISTIO_OUTPUT", "-j ISTIO_OUTPUT_DNS");
    for (const auto& server : servers)
      add(Table::kNat, "ISTIO_OUTPUT_DNS", "-p tcp --dport 53{} -j REDIRECT --to-ports {}", at("-d", server), kDnsPort);
    for (const auto& server : servers)
      add(Table::kNat, "ISTIO_OUTPUT_DNS", "-p udp --dport 53{} -j REDIRECT --to-port {}", at("-d", server), kDnsPort);
    because("queries of the app and of the proxy are kept apart in conntrack");
    add(Table::kRaw, "PREROUTING", "-j ISTIO_INBOUND");
    for (const auto& server : servers) {
      add(Table::kRaw, "ISTIO_OUTPUT_DNS", "-p udp --dport 53{} -j CT --zone 2", at("-d", server));
      add(Table::kRaw, "ISTIO_INBOUND", "-p udp --sport 53{} -j CT --zone 1", at("-s", server));
    }
  }

  void outbound_rest() {
    because("localhost is from container to container");
    add(Table::kNat, "ISTIO_OUTPUT", "-d {} -j RETURN", loopback_);  // localhost is from container to container
    because("the destination is excluded");
    for (const auto& range : o_.outbound_excluded_ranges)
      if (range.base.v4 == v4_) add(Table::kNat, "ISTIO_OUTPUT", "-d {} -j RETURN", range.text());
    because("the outbound port is captured whatever the destination");
    for (const auto& port : o_.outbound_included) add(Table::kNat, "ISTIO_OUTPUT", "-p tcp --dport {} -j ISTIO_REDIRECT", port.text());
    because("outbound destinations to capture");
    if (o_.outbound_ranges.all) {
      add(Table::kNat, "ISTIO_OUTPUT", "-j ISTIO_REDIRECT");
      for (const auto& nic : o_.virtual_interfaces) insert(Table::kNat, "PREROUTING", 1, "-i {} -j ISTIO_REDIRECT", nic);
    }
    for (const auto& range : o_.outbound_ranges.list) {
      if (range.base.v4 != v4_) continue;
      for (const auto& nic : o_.virtual_interfaces)
        insert(Table::kNat, "PREROUTING", 1, "-i {} -d {} -j ISTIO_REDIRECT", nic, range.text());
      add(Table::kNat, "ISTIO_OUTPUT", "-d {} -j ISTIO_REDIRECT", range.text());
    }
  }

  // The proxy marks what it sends to the app with the client's address as source; the mark is kept on the connection and
  // brings the app's answers back to lo.
  void tproxy_marks() {
    if (!tproxy_) return;
    const auto mark = o_.tproxy_mark;
    because("the proxy delivers to the app under the client's address; the mark brings the answers back");
    add(Table::kMangle, "PREROUTING", "-p tcp -m mark --mark {} -j CONNMARK --save-mark", mark);
    add(Table::kMangle, "OUTPUT", "-p tcp -o lo -m mark --mark {} -j RETURN", mark);
    because("the proxy dials its own pod: this mark brings the connection to the inbound port");
    for (const auto& uid : uids_)
      add(Table::kMangle, "OUTPUT", "! -d {} -p tcp -o lo -m owner --uid-owner {} -j MARK --set-mark {}", loopback_, uid, kSelfCallMark);
    for (const auto& gid : gids_)
      add(Table::kMangle, "OUTPUT", "! -d {} -p tcp -o lo -m owner --gid-owner {} -j MARK --set-mark {}", loopback_, gid, kSelfCallMark);
    because("the app answers a client whose connection the proxy delivered");
    add(Table::kMangle, "OUTPUT", "-p tcp -m connmark --mark {} -j CONNMARK --restore-mark", mark);
    because("has been through the proxy");
    insert(Table::kMangle, "ISTIO_INBOUND", 1, "-p tcp -m mark --mark {} -j RETURN", mark);
    insert(Table::kMangle, "ISTIO_INBOUND", 2, "-p tcp -s {} -i lo -j RETURN", marker_);
    because("what stays in the pod is no inbound connection, unless the proxy sent it to itself");
    insert(Table::kMangle, "ISTIO_INBOUND", 3, "-p tcp -i lo -m mark ! --mark {} -j RETURN", kSelfCallMark);
  }

  // Until the proxy listens, what the other rules turned to it finds nobody: the kernel would refuse the connection. A SYN that
  // is dropped comes again after a second and then finds the proxy. Conntrack knows what was turned, so nothing that the
  // other rules select is repeated here. xt_TPROXY drops by itself what no socket takes. Queries over udp need nothing: the
  // refusal does not find its way back through the two conntrack zones, and the resolver asks again.
  void hold() {
    if (!o_.hold_until_ready) return;
    because("what was turned to the proxy");
    // Before the rules of others, for an ACCEPT of theirs would end the hold; where a socket waits, theirs are asked as ever.
    int position = 0;
    for (const int port : {int{o_.proxy_port}, int{o_.inbound_port}, dns_ ? kDnsPort : 0})
      if (port) insert(Table::kFilter, "INPUT", ++position, "-p tcp --dport {} --syn -m conntrack --ctstate DNAT -j {}", port, kHoldChain);
    because("the proxy is there");
    add(Table::kFilter, kHoldChain, "-m socket --nowildcard -j RETURN");
    because("it waits for the proxy and is sent again");
    add(Table::kFilter, kHoldChain, "-j DROP");
  }

  const Options& o_;
  const Facts& facts_;
  const bool v4_, tproxy_;
  const std::string loopback_, marker_;
  const std::vector<std::string> uids_, gids_;
  bool dns_ = false;
  std::string_view why_;
  FamilyRules rules_;
};

}  // namespace

std::string_view name_of(Table table) noexcept {
  switch (table) {
    case Table::kRaw:
      return "raw";
    case Table::kMangle:
      return "mangle";
    case Table::kFilter:
      return "filter";
    case Table::kNat:
      return "nat";
  }
  return "?";
}

bool FamilyRules::empty() const noexcept {
  return std::ranges::all_of(tables, [](const auto& rules) { return rules.empty(); });
}

bool is_own_chain(std::string_view chain) noexcept {
  return chain.starts_with("ISTIO_") || chain == kHoldChain || chain == kOthersChain;
}

bool is_builtin_chain(std::string_view chain) noexcept {
  return chain == "PREROUTING" || chain == "INPUT" || chain == "FORWARD" || chain == "OUTPUT" || chain == "POSTROUTING";
}

RuleSet build_rules(const Options& options, const Facts& facts) {
  RuleSet out{.v4 = Family(options, facts, true).build(), .v6 = {}};
  if (facts.ipv6) out.v6 = Family(options, facts, false).build();
  return out;
}

bool needs_tproxy_routes(const Options& options) noexcept { return options.mode == Mode::kTproxy && !options.inbound_ports.empty(); }

}  // namespace iptables
