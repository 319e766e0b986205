#include <csignal>
#include <cstdio>

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include "base/version.h"
#include "ctl/commands.h"
#include "ctl/say.h"
#include "runner/container.h"
#include "runner/demo_app.h"

namespace {

struct Given {
  ctl::LintOptions lint;
  ctl::ExplainOptions explain;
  ctl::InjectOptions inject;
  ctl::WaitOptions wait;
  ctl::UpOptions up;
  ctl::DemoOptions demo;
  ctl::QueryOptions query;
  runner::DemoApp app;
  std::string uninject_file, down_world, drain_admin = "127.0.0.1:15000";
  int status = 0;
};

void add_world(CLI::App* command, std::string& world) {
  command->add_option("--world", world, "name of the world, when there is more than one on this machine")
      ->check([](const std::string& name) {
        const bool good =
            !name.empty() && name.size() <= 20 && name.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789-") == std::string::npos;
        return good ? std::string() : "use small letters, digits and -, at most 20";
      });
}

void add_offline(CLI::App& app, Given& given) {
  auto* lint = app.add_subcommand("lint", "check files and folders of Kubernetes and Istio YAML");
  lint->add_option("paths", given.lint.paths, "files or folders")->required();
  lint->add_option("--output,-o", given.lint.output, "text, json or sarif")->check(CLI::IsMember({"text", "json", "sarif"}));
  lint->callback([&given] { given.status = ctl::lint(given.lint); });

  auto* explain = app.add_subcommand("explain", "say where a request goes, and why");
  explain->add_option("url", given.explain.url, "http://HOST[:PORT]/PATH as the app would ask")->required();
  explain->add_option("--config", given.explain.config,
                      "file or folder of YAML; may be given several times; without it the running `sluice up`");
  explain->add_option("--from", given.explain.from, "NAMESPACE/POD that sends the request (in a running world also a Deployment's name)");
  explain->add_option("--gateway", given.explain.gateway, "NAMESPACE/POD of the gateway that receives it");
  explain->add_option("--method", given.explain.method);
  explain->add_option("-H,--header", given.explain.headers, "'name: value'; may be given several times")->expected(1)->take_all();
  explain->add_flag("--json", given.explain.json);
  add_world(explain, given.explain.world);
  explain->callback([&given] { given.status = ctl::explain(given.explain); });

  auto* inject = app.add_subcommand("inject", "print YAML with the proxy put into every workload");
  inject->add_option("-f,--filename", given.inject.file, "file, or - for stdin")->required();
  inject->add_option("--config", given.inject.config, "folder with the ConfigMap istio (MeshConfig)");
  inject->add_option("--injection-values", given.inject.values, "values as Istio's Helm chart takes them");
  inject->add_flag("--explain", given.inject.explain, "say for each workload why it is or is not injected");
  inject->callback([&given] { given.status = ctl::inject(given.inject); });

  auto* uninject = app.add_subcommand("uninject", "print YAML with the proxy taken out again");
  uninject->add_option("-f,--filename", given.uninject_file, "file, or - for stdin")->required();
  uninject->callback([&given] { given.status = ctl::uninject(given.uninject_file); });
}

void add_worlds(CLI::App& app, Given& given) {
  auto* up = app.add_subcommand("up", "run every Pod and Deployment of a folder on this machine, injected");
  up->add_option("folder", given.up.folder, "folder of YAML; it is watched")->required();
  up->add_option("--publish", given.up.publish, "port of this machine's loopback that leads to the gateway");
  add_world(up, given.up.world);
  up->callback([&given] { given.status = ctl::up(given.up); });

  auto* down = app.add_subcommand("down", "remove everything that `sluice up` made, also after a kill");
  add_world(down, given.down_world);
  down->add_option("folder", given.up.folder, "for symmetry with up; there is one world and it goes");
  down->callback([&given] { given.status = ctl::down(given.down_world); });

  auto* demo = app.add_subcommand("demo", "a mesh of six apps and a gateway on this machine, with a tour");
  demo->add_option("--write", given.demo.write, "only put the YAML into this folder");
  demo->add_option("--publish", given.demo.publish, "port of this machine's loopback that leads to the gateway; 0: none");
  demo->add_flag("--stay", given.demo.stay, "stay up after the tour, also without a terminal");
  add_world(demo, given.demo.world);
  demo->callback([&given] { given.status = ctl::demo(given.demo); });

  auto* demo_app = app.add_subcommand("demo-app", "one of the demo's apps: productpage, details, ratings, reviews, echo");
  demo_app->add_option("name", given.app.name)->required()->check([](const std::string& name) {
    return runner::is_demo_app(name) ? std::string() : "there is productpage, details, ratings, reviews and echo";
  });
  demo_app->add_option("--port", given.app.ports, "may be given several times");
  demo_app->add_option("--version-label", given.app.version, "the version it says it is");
  demo_app->add_option("--namespace", given.app.name_space);
  demo_app->callback([&given] { given.status = runner::serve_demo_app(given.app); });

  auto* wait = app.add_subcommand("wait", "until the proxies have this configuration live");
  wait->add_option("--config", given.wait.config, "as the proxies were given it; may be given several times");
  wait->add_option("--admin", given.wait.admin, "HOST:PORT of a proxy's admin port; without it every proxy of `sluice up`");
  wait->add_option("--timeout", given.wait.timeout, "30s");
  wait->add_flag("--ready", given.wait.ready, "only until the proxy of this pod is ready");
  add_world(wait, given.wait.world);
  wait->callback([&given] { given.status = ctl::wait(given.wait); });
}

void add_live(CLI::App& app, Given& given) {
  app.add_subcommand("check", "what on this machine stands in the way, and the command that mends it")->callback([&given] {
    given.status = ctl::check();
  });
  for (const char* what : {"listeners", "routes", "clusters", "endpoints"}) {
    auto* command = app.add_subcommand(what, fmt::format("{} of one proxy", what));
    command->add_option("pod", given.query.pod, "NAMESPACE/POD or Deployment of a running `sluice up`");
    command->add_option("--admin", given.query.admin, "admin port to ask, when no pod is named");
    add_world(command, given.query.world);
    command->callback([&given, what] {
      given.query.what = what;
      given.status = ctl::query(given.query);
    });
  }
  auto* drain = app.add_subcommand("drain", "ask the proxy of this pod to drain its inbound side");
  drain->add_option("--admin", given.drain_admin);
  drain->callback([&given] { given.status = ctl::drain(given.drain_admin); });
  for (const char* what : {"test", "tap"}) {
    auto* command = app.add_subcommand(what, "not built yet");
    command->allow_extras();
    command->callback([&given, what] {
      ctl::complain(fmt::format("`sluice {}` is not built yet", what));
      given.status = ctl::kUsage;
    });
  }
}

}  // namespace

int main(int argc, char** argv) {
  std::signal(SIGPIPE, SIG_IGN);
  // Process 1 of a container: nothing of the command line's machinery belongs in there.
  if (argc > 2 && std::string_view(argv[1]) == "run-container") return runner::container_main(argc - 2, argv + 2);
  Given given;
  CLI::App app("An Istio-compatible service mesh in one command. https://istio.io has the reference of the YAML it reads.", "sluice");
  app.set_version_flag("--version", fmt::format("sluice {}", base::version_line()));
  app.require_subcommand(1);
  add_worlds(app, given);
  add_offline(app, given);
  add_live(app, given);
  const auto named = [&argv](const CLI::App* command) { return command->get_name() == argv[1]; };
  if (argc > 1 && argv[1][0] != '-' && std::as_const(app).get_subcommands(named).empty()) {
    ctl::complain(fmt::format("there is no command '{}' (sluice --help lists them)", argv[1]));
    return ctl::kUsage;
  }
  try {
    app.parse(argc, argv);
  } catch (const CLI::Success& success) {
    return app.exit(success);
  } catch (const CLI::ParseError& error) {
    ctl::complain(fmt::format("{} (sluice --help)", error.what()));
    return ctl::kUsage;
  }
  return given.status;
}
