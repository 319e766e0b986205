#include <algorithm>
#include <memory>

#include <fmt/format.h>

#include "ctl/commands.h"
#include "ctl/say.h"
#include "runner/http_client.h"
#include "runner/publish.h"
#include "runner/state.h"
#include "runner/world.h"

namespace ctl {

namespace {

// The gateway of this machine's loopback, for browsers. Its Service may map ports; the first port of the gateway's pod that
// accepts is where requests go in.
std::unique_ptr<runner::Publisher> publish(const runner::Record& record, uint16_t port) {
  const auto gateway = std::find_if(record.pods.begin(), record.pods.end(), [](const auto& pod) { return pod.role == "gateway"; });
  if (gateway == record.pods.end()) {
    complain("up: --publish leads to a gateway, and there is none");
    return nullptr;
  }
  const auto ip = base::Ip::parse(gateway->ip4);
  const runner::Netns node = runner::Netns::open(record.prefix + "net");
  for (const uint16_t there : {8080, 80})
    if (ip && node.valid() && runner::accepts(node, {*ip, there}, std::chrono::seconds(1))) {
      std::string why;
      auto publisher = runner::Publisher::open(record.prefix + "net", {base::Ip::loopback(true), port}, {*ip, there}, why);
      if (publisher)
        fmt::print("The gateway is at http://localhost:{}/\n", port);
      else
        complain("up: " + why);
      return publisher;
    }
  complain("up: the gateway listens on neither 8080 nor 80");
  return nullptr;
}

}  // namespace

int up(const UpOptions& options) {
  const Style out = Style::of(stdout);
  runner::World::Options world_options{options.folder, options.world, own_program(),
                                       [](const std::string& line) { fmt::print(stderr, "{}\n", line); }};
  std::unique_ptr<runner::Publisher> published;
  runner::World world(std::move(world_options));
  if (const auto why = world.start(); !why.empty()) {
    complain("up: " + why);
    return kFailed;
  }
  world.run([&] {
    const auto record = world.record();
    size_t width = 0;
    for (const auto& pod : record.pods) width = std::max(width, pod.name.size());
    for (const auto& pod : record.pods) fmt::print("{:<{}}  {:<14} {:<22} {}\n", pod.name, width, pod.ip4, pod.ip6, pod.role);
    fmt::print("{}{} pods are ready.{} A shell in one: ip netns exec {} bash. Ctrl-C or `sluice down` removes everything.\n", out.bold,
               record.pods.size(), out.plain, record.pods.empty() ? std::string("NAME") : record.pods.front().netns);
    if (options.publish != 0) published = publish(record, options.publish);
    std::fflush(stdout);
  });
  return kFine;
}

int down(const std::string& world) {
  if (runner::take_down(world, std::chrono::seconds(15)))
    fmt::print("Everything is removed.\n");
  else
    fmt::print("Nothing is running.\n");
  return kFine;
}

}  // namespace ctl
