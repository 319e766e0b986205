#include <fmt/format.h>

#include "ctl/commands.h"
#include "ctl/say.h"
#include "runner/state.h"
#include "runner/world.h"

namespace ctl {

int up(const UpOptions& options) {
  const Style out = Style::of(stdout);
  runner::World::Options world_options{options.folder, options.world, own_program(), [](const std::string& line) {
                                         fmt::print(stderr, "{}\n", line);
                                       }};
  runner::World world(std::move(world_options));
  if (const auto why = world.start(); !why.empty()) {
    complain("up: " + why);
    return kFailed;
  }
  world.run([&] {
    const auto record = world.record();
    size_t width = 0;
    for (const auto& pod : record.pods) width = std::max(width, pod.name.size());
    for (const auto& pod : record.pods)
      fmt::print("{:<{}}  {:<14} {:<22} {}\n", pod.name, width, pod.ip4, pod.ip6, pod.role);
    fmt::print("{}{} pods are ready.{} A shell in one: ip netns exec {} bash. Ctrl-C or `sluice down` removes everything.\n", out.bold, record.pods.size(), out.plain,
               record.pods.empty() ? std::string("NAME") : record.pods.front().netns);
    std::fflush(stdout);
  });
  return kFine;
}

int down(const std::string& world) {
  if (runner::take_down(world, std::chrono::seconds(15))) fmt::print("Everything is removed.\n");
  else fmt::print("Nothing is running.\n");
  return kFine;
}

}  // namespace ctl
