#include <algorithm>

#include <fmt/format.h>

#include "ctl/commands.h"
#include "ctl/say.h"
#include "doc/reader.h"
#include "runner/http_client.h"
#include "runner/state.h"

namespace ctl {
namespace {

using Row = std::vector<std::string>;

std::string text_at(const doc::Node& node, std::string_view path, std::string fallback = "") {
  const doc::Node* found = node.at_path(path);
  return found && found->is_scalar() ? found->scalar : fallback;
}
const std::vector<doc::Node>& list_at(const doc::Node& node, std::string_view path) {
  static const std::vector<doc::Node> none;
  const doc::Node* found = node.at_path(path);
  return found ? found->list : none;
}

void print_table(const std::vector<Row>& rows) {
  std::vector<size_t> widths;
  for (const Row& row : rows)
    for (size_t i = 0; i < row.size(); ++i) {
      if (widths.size() <= i) widths.push_back(0);
      widths[i] = std::max(widths[i], row[i].size());
    }
  for (const Row& row : rows) {
    std::string line;
    for (size_t i = 0; i < row.size(); ++i) line += i + 1 < row.size() ? fmt::format("{:<{}}  ", row[i], widths[i]) : row[i];
    fmt::print("{}\n", line);
  }
}

std::string address_of(const doc::Node& socket) { return text_at(socket, "address") + ':' + text_at(socket, "port_value"); }

std::vector<Row> listeners(const doc::Node& root) {
  std::vector<Row> rows{{"NAME", "PORT", "PROTOCOL"}};
  for (const auto& status : list_at(root, "listener_statuses")) {
    const doc::Node* socket = status.at_path("local_address.socket_address");
    rows.push_back(
        {text_at(status, "name"), socket ? address_of(*socket) : text_at(status, "port", "-"), text_at(status, "protocol", "-")});
  }
  return rows;
}

std::vector<Row> endpoints(const doc::Node& root, bool each) {
  std::vector<Row> rows;
  if (each)
    rows.push_back({"ENDPOINT", "STATUS", "CLUSTER"});
  else
    rows.push_back({"CLUSTER", "ENDPOINTS"});
  for (const auto& cluster : list_at(root, "cluster_statuses")) {
    const auto& hosts = list_at(cluster, "host_statuses");
    if (!each)
      rows.push_back({text_at(cluster, "name"), std::to_string(hosts.size())});
    else
      for (const auto& host : hosts) {
        const doc::Node* socket = host.at_path("address.socket_address");
        rows.push_back(
            {socket ? address_of(*socket) : "-", text_at(host, "health_status.eds_health_status", "HEALTHY"), text_at(cluster, "name")});
      }
  }
  return rows;
}

std::string match_of(const doc::Node& route) {
  const doc::Node* match = route.find("match");
  if (!match) return "";
  for (const char* kind : {"prefix", "path", "path_separated_prefix"})
    if (const doc::Node* found = match->find(kind)) return std::string(found->text_or()) + (std::string_view(kind) == "prefix" ? "*" : "");
  const std::string regex = text_at(*match, "safe_regex.regex");
  return regex.empty() ? "*" : "~" + regex;
}
std::string target_of(const doc::Node& route) {
  std::string out = text_at(route, "route.cluster");
  for (const auto& part : list_at(route, "route.weighted_clusters.clusters"))
    out += (out.empty() ? "" : ", ") + text_at(part, "weight", "0") + " " + text_at(part, "name");
  if (out.empty()) out = route.find("redirect") ? "(redirect)" : "(answered here: " + text_at(route, "direct_response.status", "?") + ")";
  return out;
}

void collect_routes(const doc::Node& node, std::vector<Row>& rows) {
  if (const doc::Node* hosts = node.find("virtual_hosts")) {
    const std::string name = text_at(node, "name", "-");
    for (const auto& host : hosts->list)
      for (const auto& route : list_at(host, "routes")) {
        std::string domains;
        for (const auto& domain : list_at(host, "domains")) domains += domains.empty() ? domain.scalar : "";
        rows.push_back({name, domains, match_of(route), target_of(route)});
      }
    return;
  }
  for (const auto& entry : node.map) collect_routes(entry.value, rows);
  for (const auto& item : node.list) collect_routes(item, rows);
}

}  // namespace

int query(const QueryOptions& options) {
  runner::Netns where;
  auto address = base::SocketAddress::parse(options.admin);
  if (!options.pod.empty()) {
    const auto record = runner::read_record(options.world);
    const auto fits = [&](const runner::RecordedPod& pod) {
      return pod.name == options.pod || pod.name_space + '/' + pod.name == options.pod || pod.workload.ends_with('/' + options.pod);
    };
    const auto pod =
        record ? std::find_if(record->pods.begin(), record->pods.end(), fits) : std::vector<runner::RecordedPod>::const_iterator{};
    if (!record || pod == record->pods.end()) {
      complain(fmt::format("{}: no pod or Deployment {} in a running `sluice up`", options.what, options.pod));
      return kFailed;
    }
    where = runner::Netns::open(pod->netns);
  }
  if (!address) {
    complain(fmt::format("{}: --admin {} is not ADDRESS:PORT", options.what, options.admin));
    return kUsage;
  }
  runner::HttpAsk question;
  question.to = *address;
  question.path = options.what == "routes"      ? "/config_dump"
                  : options.what == "listeners" ? "/listeners?format=json"
                                                : "/clusters?format=json";
  const auto answer = runner::ask(where, question);
  if (!answer || answer->status != 200) {
    complain(answer ? fmt::format("{}: the proxy answers {}", options.what, answer->status)
                    : fmt::format("{}: no proxy answers at {}", options.what, options.admin));
    return kFailed;
  }
  const doc::File file = doc::read_json(question.path, answer->body);
  if (file.documents.size() != 1) {
    complain(fmt::format("{}: the proxy's answer is no JSON", options.what));
    return kFailed;
  }
  const doc::Node& root = file.documents[0].root;
  std::vector<Row> rows;
  if (options.what == "listeners")
    rows = listeners(root);
  else if (options.what == "routes") {
    rows.push_back({"LISTENER", "HOST", "MATCH", "GOES TO"});
    collect_routes(root, rows);
  } else {
    rows = endpoints(root, options.what == "endpoints");
  }
  print_table(rows);
  return kFine;
}

}  // namespace ctl
