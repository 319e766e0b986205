#include <algorithm>
#include <atomic>
#include <chrono>
#include <csignal>
#include <filesystem>
#include <memory>
#include <thread>

#include <fmt/format.h>

#include "ctl/commands.h"
#include "ctl/demo_yaml.h"
#include "ctl/say.h"
#include "ctl/tour.h"
#include "runner/publish.h"
#include "runner/state.h"
#include "runner/world.h"

namespace ctl {
namespace {

namespace fs = std::filesystem;

// Seven pods take a second or two; a machine that needs more than this cannot run them.
constexpr std::chrono::milliseconds kPatience{60'000};

bool write_demo(const std::string& folder) {
  std::error_code error;
  fs::create_directories(folder, error);
  return std::all_of(demo_files().begin(), demo_files().end(),
                     [&folder](const DemoFile& file) { return runner::write_file(folder + '/' + std::string(file.name), file.text); });
}

void say_what_to_try(const runner::Record& record, const std::string& published, const std::string& folder) {
  const Style style = Style::of(stdout);
  const auto client =
      std::find_if(record.pods.begin(), record.pods.end(), [](const auto& pod) { return pod.workload.ends_with("/productpage"); });
  const std::string netns = client == record.pods.end() ? "" : client->netns;
  fmt::print("\n{}Try{} (in another terminal; Ctrl-C here removes everything)\n", style.bold, style.plain);
  if (!published.empty()) fmt::print("  a browser, or: curl -s http://{}/productpage\n", published);
  fmt::print("  ip netns exec {} curl -s http://reviews:9080/reviews/0\n", netns);
  fmt::print("  sluice explain http://reviews:9080/ --from productpage -H 'end-user: jason'\n");
  fmt::print("  sluice routes productpage; sluice endpoints productpage\n");
  fmt::print("  edit {}/4-reviews.yaml and watch the weights follow\n", folder);
  std::fflush(stdout);
}

// Beside the world's own folder, which is made anew when the world starts.
std::string demo_folder(const std::string& world) { return runner::run_folder(world) + "-demo"; }

}  // namespace

int demo(const DemoOptions& options) {
  if (!options.write.empty()) {
    if (!write_demo(options.write)) {
      complain(fmt::format("demo: {} cannot be written", options.write));
      return kFailed;
    }
    fmt::print("{} files in {}: sluice up {}\n", demo_files().size(), options.write, options.write);
    return kFine;
  }
  const std::string folder = demo_folder(options.world);
  if (const auto other = runner::read_record(options.world); other && runner::is_alive(*other)) {
    complain(fmt::format("demo: a world is running already (process {}, {}): `sluice down` ends it", other->pid, other->folder));
    return kFailed;
  }
  if (!write_demo(folder)) {
    complain(fmt::format("demo: {} cannot be written (it needs root)", folder));
    return kFailed;
  }
  const bool stay = options.stay || (is_terminal(stdout) && is_terminal(stdin));
  fmt::print("Building seven pods on this machine …\n");
  std::fflush(stdout);
  runner::World world({folder, options.world, own_program(), [](const std::string& line) { fmt::print(stderr, "{}\n", line); }});
  const auto clean = [&folder, &options] {
    std::error_code ignored;
    fs::remove_all(folder, ignored);
    runner::forget_folder(options.world);
  };
  if (const auto why = world.start(); !why.empty()) {
    complain("demo: " + why);
    clean();
    return kFailed;
  }
  bool good = false, toured = false;
  std::atomic<bool> over{false};
  std::unique_ptr<runner::Publisher> published;
  std::thread guide;
  world.run(
      [&] {
        const auto record = world.record();
        const auto gateway = std::find_if(record.pods.begin(), record.pods.end(), [](const auto& pod) { return pod.role == "gateway"; });
        std::string address, why;
        if (options.publish != 0 && stay && gateway != record.pods.end()) {
          const base::SocketAddress here{base::Ip::loopback(true), options.publish};
          published = runner::Publisher::open(record.prefix + "net", here, {*base::Ip::parse(gateway->ip4), 8080}, why);
          if (published)
            address = fmt::format("localhost:{}", options.publish);
          else
            fmt::print(stderr, "not published: {} (--publish PORT takes another)\n", why);
        }
        guide = std::thread([&, address, record] {
          // Signals belong to the supervisor's thread.
          sigset_t all;
          sigfillset(&all);
          ::pthread_sigmask(SIG_BLOCK, &all, nullptr);
          good = Tour(options.world, folder, over).run();
          toured = true;
          if (stay)
            say_what_to_try(record, address, folder);
          else
            world.stop();
        });
      },
      kPatience);
  over = true;
  if (guide.joinable()) guide.join();
  published.reset();
  clean();
  if (!toured) complain("demo: ended before the tour was over");
  return good ? kFine : kFailed;
}

}  // namespace ctl
