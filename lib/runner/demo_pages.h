#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "runner/demo_app.h"

// What the demo's apps say. Pure: a request and what its neighbours answered go in, an answer comes out.
namespace runner {

struct AppRequest {
  std::string method, url, host, protocol, peer_ip;
  uint16_t peer_port = 0, local_port = 0;
  std::vector<std::pair<std::string, std::string>> headers;
  size_t body_length = 0;
  std::string header(std::string_view name) const;
  std::string path() const;  // without query
  std::string query(std::string_view name) const;
};
struct AppAnswer {
  int status = 200;
  std::string type = "text/plain", body;
};
// A neighbour's answer; status 0: none came.
struct Neighbour {
  std::string host;
  uint16_t port = 9080;
  std::string path;
  AppAnswer answer{0, {}, {}};
};

// Which neighbours the app asks for this request, in order.
std::vector<Neighbour> neighbours_for(const DemoApp& app, const AppRequest& request);
AppAnswer answer_of(const DemoApp& app, const std::string& pod, const AppRequest& request, const std::vector<Neighbour>& neighbours);
// Headers that an app of a mesh hands on, or traces and routing by user break.
bool is_forwarded(std::string_view lower_name);

}  // namespace runner
