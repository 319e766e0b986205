#include <algorithm>
#include <thread>

#include <fmt/format.h>

#include "api/resource.h"
#include "config/pipeline.h"
#include "ctl/commands.h"
#include "ctl/say.h"
#include "doc/reader.h"
#include "runner/http_client.h"
#include "runner/state.h"

namespace ctl {
namespace {

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

struct Asked {
  std::string name;
  runner::Netns where;  // invalid: here
  base::SocketAddress admin;
  std::string late;  // why it is not there yet; empty: it is
};

// What the proxy's own account of its configuration says against these bytes being live.
std::string still_missing(const Asked& proxy, const std::string& digest) {
  runner::HttpAsk question;
  question.to = proxy.admin;
  question.path = "/config/status";
  const auto answer = runner::ask(proxy.where, question);
  if (!answer) return "no answer at " + proxy.admin.text();
  if (answer->status != 200) return fmt::format("/config/status answers {}", answer->status);
  const doc::File status = doc::read_json("", answer->body);
  if (status.documents.size() != 1) return "/config/status is no JSON";
  const doc::Node& root = status.documents[0].root;
  const doc::Node* have = root.find("digest");
  const doc::Node* applied = root.find("applied_on_all_workers");
  if (!have || have->text_or() != digest) return "has other files live";
  if (!applied || applied->text_or() != "true") return "not yet on all workers";
  return {};
}

int wait_ready(Clock::time_point until) {
  runner::HttpAsk question;
  question.to = {base::Ip::loopback(true), 15021};
  question.path = "/healthz/ready";
  while (Clock::now() < until) {
    const auto answer = runner::ask({}, question);
    if (answer && answer->status == 200) return kFine;
    std::this_thread::sleep_for(100ms);
  }
  complain("wait: the proxy at 127.0.0.1:15021 is not ready");
  return kFailed;
}

}  // namespace

int wait(const WaitOptions& options) {
  const auto patience = api::parse_duration(options.timeout);
  if (!patience) {
    complain(fmt::format("wait: --timeout {} is no time such as 30s", options.timeout));
    return kUsage;
  }
  const auto until = Clock::now() + *patience;
  if (options.ready) return wait_ready(until);
  std::vector<Asked> proxies;
  std::vector<std::string> roots = options.config;
  if (options.admin.empty()) {
    const auto record = runner::read_record(options.world);
    if (!record || !runner::is_alive(*record)) {
      complain("wait: no `sluice up` is running; name a proxy with --admin HOST:PORT");
      return kFailed;
    }
    if (roots.empty()) roots = {record->folder};
    roots.push_back(record->generated);
    for (const auto& pod : record->pods)
      if (pod.role != "no proxy")
        proxies.push_back(
            {pod.name_space + '/' + pod.name, runner::Netns::open(pod.netns), {base::Ip::loopback(true), 15000}, "no answer"});
  }
  for (const auto& text : options.admin) {
    const auto address = base::SocketAddress::parse(text);
    if (!address) {
      complain(fmt::format("wait: --admin {} is not ADDRESS:PORT", text));
      return kUsage;
    }
    proxies.push_back({text, {}, *address, "no answer"});
  }
  if (roots.empty()) {
    complain("wait: --config DIR says which configuration must be live");
    return kUsage;
  }
  while (true) {
    const std::string digest = config::digest_of_roots(roots);
    bool all = true;
    for (auto& proxy : proxies) {
      proxy.late = still_missing(proxy, digest);
      all &= proxy.late.empty();
    }
    if (all) return kFine;
    if (Clock::now() >= until) break;
    std::this_thread::sleep_for(50ms);
  }
  for (const auto& proxy : proxies)
    if (!proxy.late.empty()) complain(fmt::format("wait: {}: {}", proxy.name, proxy.late));
  return kFailed;
}

int drain(const std::string& admin) {
  const auto address = base::SocketAddress::parse(admin);
  if (!address) {
    complain(fmt::format("drain: --admin {} is not ADDRESS:PORT", admin));
    return kUsage;
  }
  runner::HttpAsk question;
  question.to = *address;
  question.method = "POST";
  question.path = "/drain_listeners?inboundonly&graceful";
  const auto answer = runner::ask({}, question);
  if (answer && answer->status == 200) return kFine;
  complain(answer ? fmt::format("drain: the proxy answers {}", answer->status) : fmt::format("drain: no proxy answers at {}", admin));
  return kFailed;
}

}  // namespace ctl
