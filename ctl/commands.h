#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <utility>
#include <vector>

// The commands of `sluice`, each a plain function in a file of its own: options in, exit status out (0 fine, 1 the job failed,
// 2 wrong usage). They print; main.cc only reads the command line.
namespace ctl {

constexpr int kFine = 0, kFailed = 1, kUsage = 2;

struct LintOptions {
  std::vector<std::string> paths;
  std::string output = "text";  // text, json, sarif
};
int lint(const LintOptions& options);

struct ExplainOptions {
  std::string url;
  std::vector<std::string> config;   // none: those of the running `sluice up`
  std::string from, gateway, world;  // NAMESPACE/POD; exactly one of them. In a running world a Deployment's name will do
  std::string method = "GET";
  std::vector<std::string> headers;  // "name: value"
  bool json = false;
};
int explain(const ExplainOptions& options);

struct InjectOptions {
  std::string file;                 // - is stdin
  std::vector<std::string> config;  // for MeshConfig
  std::string values;               // Istio's Helm values
  bool explain = false;
};
int inject(const InjectOptions& options);
int uninject(const std::string& file);

struct WaitOptions {
  std::vector<std::string> config, admin;
  std::string timeout = "30s", world;
  bool ready = false;  // only until the proxy beside us is ready
};
int wait(const WaitOptions& options);

struct UpOptions {
  std::string folder, world;
  uint16_t publish = 0;  // on 127.0.0.1 of this machine, to the gateway; 0: nowhere
};
int up(const UpOptions& options);
int down(const std::string& world);

struct DemoOptions {
  std::string write, world;  // write: only put the YAML there
  bool stay = false;         // until Ctrl-C, also without a terminal
  uint16_t publish = 8080;   // on 127.0.0.1 of this machine; 0: nowhere
};
int demo(const DemoOptions& options);

int check();

struct QueryOptions {
  std::string what;  // listeners, routes, clusters, endpoints
  std::string pod, admin = "127.0.0.1:15000", world;
};
int query(const QueryOptions& options);

int drain(const std::string& admin);

// The absolute path of the running program; the others lie beside it.
std::string own_program();

}  // namespace ctl
