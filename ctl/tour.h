#pragma once

#include <atomic>
#include <string>
#include <vector>

#include "ctl/say.h"
#include "runner/http_client.h"
#include "runner/state.h"

namespace ctl {

// A walk through the running demo: every step says what is configured and what clients and apps then saw, and whether the two
// agree. Reads the world from outside: sockets, hosts files, access logs, iptables. Blocks; runs on a thread of its own.
class Tour {
 public:
  // `over`: set by somebody else when the world goes; the tour then ends soon, as failed.
  Tour(std::string world, std::string folder, const std::atomic<bool>& over);
  bool run();  // false: something was not as configured

 private:
  struct Counts {
    int v1 = 0, v2 = 0, v3 = 0, failed = 0;
    int all() const { return v1 + v2 + v3 + failed; }
  };
  const runner::RecordedPod* pod(std::string_view workload) const;
  base::SocketAddress service(const runner::RecordedPod& as_seen_by, const std::string& name, uint16_t port, bool v4) const;
  Counts ask_reviews(int times, bool v4, const std::vector<std::pair<std::string, std::string>>& headers,
                     const std::string& path = "/reviews/0") const;
  void count(const Result<runner::HttpAnswer>& answer, Counts& counts) const;
  std::vector<std::string> log_line(const runner::RecordedPod& pod, const std::string& mark) const;

  void show_pods();
  void show_rules();
  void show_gateway();
  void show_split();
  void show_user();
  void show_log4() { show_logs(true); }
  void show_log6() { show_logs(false); }
  void show_logs(bool v4);
  void show_inbound6(const runner::RecordedPod& server);
  void show_shift();
  void say_goodbye() const;

  void title(std::string_view text);
  void configured(const std::string& text) const;
  void observed(const std::string& text, bool good);
  void line(const std::string& text) const;

  std::string world_, folder_;
  const std::atomic<bool>& over_;
  runner::Record record_;
  Style style_;
  int step_ = 0;
  bool all_good_ = true;
};

// Fields of one line of the default access-log format that the tour shows; empty when the line is not of that form.
struct LogFields {
  std::string status, flags, upstream_host, cluster, upstream_local, downstream_local, downstream_remote;
};
LogFields parse_access_log(std::string_view line);

}  // namespace ctl
