#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace runner {

// The apps of the demo mesh, plain HTTP/1 servers without any knowledge of it. `echo` also stands in for images.
struct DemoApp {
  std::string name;  // productpage, details, ratings, reviews, echo
  std::vector<uint16_t> ports;
  std::string version, name_space = "default";
};
bool is_demo_app(const std::string& name);
// Serves until SIGTERM or SIGINT. 1 when a port cannot be opened (one line on stderr).
int serve_demo_app(const DemoApp& app);

}  // namespace runner
