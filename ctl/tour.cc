#include "ctl/tour.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <fstream>
#include <iterator>
#include <sstream>
#include <thread>

#include <fmt/format.h>

#include "ctl/demo_yaml.h"
#include "runner/command.h"
#include "runner/network.h"

namespace ctl {
namespace {

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

constexpr uint16_t kReviewsPort = 9080;
// 300 draws at 80 %: the share's deviation is 2.3 points, so 70 to 90 % is more than four of them; a false alarm is one tour in
// 60,000.
constexpr int kSplitRequests = 300;
constexpr double kShareLow = 0.70, kShareHigh = 0.90;
constexpr auto kShiftPatience = 10s, kLogPatience = 3s;
constexpr int kLoadThreads = 4, kSettledAnswers = 200;

std::string slurp(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

size_t count_of(std::string_view text, std::string_view what) {
  size_t count = 0;
  for (size_t at = 0; (at = text.find(what, at)) != std::string_view::npos; at += what.size()) ++count;
  return count;
}

std::string between(std::string_view text, std::string_view before, std::string_view after) {
  const size_t begin = text.find(before);
  if (begin == std::string_view::npos) return {};
  const size_t end = text.find(after, begin + before.size());
  return std::string(text.substr(begin + before.size(), end == std::string_view::npos ? end : end - begin - before.size()));
}

std::string percent(int part, int whole) { return fmt::format("{:.0f} %", whole ? 100.0 * part / whole : 0.0); }

}  // namespace

LogFields parse_access_log(std::string_view line) {
  // Words are parted by blanks, and text in quotes is one word. traffic.md §4.4 has the order.
  std::vector<std::string> words;
  while (!line.empty()) {
    const bool quoted = line[0] == '"';
    const size_t end = quoted ? line.find('"', 1) : line.find(' ');
    words.emplace_back(line.substr(quoted, end == std::string_view::npos ? end : end - quoted));
    if (end == std::string_view::npos) break;
    line.remove_prefix(std::min(line.size(), end + 1));
    while (line.starts_with(' ')) line.remove_prefix(1);
  }
  if (words.size() < 21) return {};
  return {words[2], words[3], words[15], words[16], words[17], words[18], words[19]};
}

Tour::Tour(std::string world, std::string folder, const std::atomic<bool>& over)
    : world_(std::move(world)), folder_(std::move(folder)), over_(over), style_(Style::of(stdout)) {}

const runner::RecordedPod* Tour::pod(std::string_view workload) const {
  for (const auto& pod : record_.pods)
    if (pod.workload.ends_with(fmt::format("/{}", workload))) return &pod;
  return nullptr;
}

base::SocketAddress Tour::service(const runner::RecordedPod& seen_by, const std::string& name, uint16_t port, bool v4) const {
  std::istringstream hosts(slurp("/etc/netns/" + seen_by.netns + "/hosts"));
  for (std::string entry; std::getline(hosts, entry);) {
    std::istringstream words(entry);
    std::string address, word;
    words >> address;
    const auto ip = base::Ip::parse(address);
    if (!ip || ip->v4 != v4) continue;
    while (words >> word)
      if (word == name) return {*ip, port};
  }
  return {base::Ip::any(v4), 0};
}

void Tour::count(const Result<runner::HttpAnswer>& answer, Counts& counts) const {
  // The app itself says which version it is.
  const std::string version = answer && answer->status == 200 ? between(answer->body, "\"version\":\"", "\"") : "";
  if (version == "v1")
    ++counts.v1;
  else if (version == "v2")
    ++counts.v2;
  else if (version == "v3")
    ++counts.v3;
  else
    ++counts.failed;
}

Tour::Counts Tour::ask_reviews(int times, bool v4, const std::vector<std::pair<std::string, std::string>>& headers,
                               const std::string& path) const {
  Counts counts;
  const auto* client = pod("productpage");
  if (!client) return counts;
  // From productpage's own namespace, as any process in that pod: its connections are captured by the pod's rules.
  const auto where = runner::Netns::open(client->netns);
  runner::HttpAsk question;
  question.to = service(*client, "reviews", kReviewsPort, v4);
  question.host = "reviews:9080";
  question.path = path;
  question.headers = headers;
  // Without its namespace a question would leave from this machine itself.
  for (int i = 0; i < times && where.valid() && !over_; ++i) count(runner::ask(where, question), counts);
  return counts;
}

void Tour::title(std::string_view text) { fmt::print("\n{}{}{}  {}{}\n", style_.cyan, style_.bold, ++step_, text, style_.plain); }
void Tour::configured(const std::string& text) const { fmt::print("   {}configured{}  {}\n", style_.dim, style_.plain, text); }
void Tour::observed(const std::string& text, bool good) {
  fmt::print("   {}observed{}    {}  {}{}{}\n", style_.dim, style_.plain, text, good ? style_.green : style_.red,
             good ? "ok" : "NOT AS CONFIGURED", style_.plain);
  all_good_ &= good;
}
void Tour::line(const std::string& text) const { fmt::print("               {}\n", text); }

void Tour::show_pods() {
  title("Pods: one network namespace each, every process the real program");
  configured("7 Deployments in namespaces `default` (istio-injection=enabled) and `istio-system`");
  size_t width = 0, sidecars = 0, gateways = 0;
  for (const auto& pod : record_.pods) width = std::max(width, pod.name.size());
  for (const auto& pod : record_.pods) {
    line(fmt::format("{:<{}}  {:<12} {:<18} {}", pod.name, width, pod.ip4, pod.ip6, pod.role));
    sidecars += pod.role == "sidecar";
    gateways += pod.role == "gateway";
  }
  observed(fmt::format("{} pods ready, {} with a sidecar, {} gateway", record_.pods.size(), sidecars, gateways),
           record_.pods.size() == 7 && sidecars == 6 && gateways == 1);
}

void Tour::show_rules() {
  title("Interception: what sluice-init left in productpage's namespace");
  configured("sluice-init -p 15001 -z 15006 -u 1337 -m REDIRECT -i * -b * -d 15090,15021,15020");
  const auto* client = pod("productpage");
  const auto where = runner::Netns::open(client ? client->netns : "");
  for (const bool v4 : {true, false}) {
    const runner::Inside inside(where);
    std::string rules;
    for (const char* backend : {"nft", "legacy"}) {
      const auto saved = runner::run({fmt::format("ip{}tables-{}-save", v4 ? "" : "6", backend), "-t", "nat"});
      if (count_of(saved.out, "ISTIO") > count_of(rules, "ISTIO")) rules = saved.out;
    }
    const size_t chains = count_of(rules, "\n:ISTIO"), count = count_of(rules, "\n-A ");
    const bool to_proxy = rules.find("--to-ports 15001") != std::string::npos && rules.find("--to-ports 15006") != std::string::npos;
    observed(fmt::format("{}: {} chains of ours, {} rules, outbound to 15001, inbound to 15006", v4 ? "IPv4" : "IPv6", chains, count),
             chains >= 4 && to_proxy);
  }
}

void Tour::show_gateway() {
  title("From outside: browser, gateway, productpage, details and reviews");
  configured("Gateway port 80, VirtualService bookshelf: /productpage goes to productpage:9080");
  const runner::RecordedPod node{
      .name_space = "", .name = "", .netns = record_.prefix + "net", .role = "", .workload = "", .ip4 = "", .ip6 = ""};
  const auto where = runner::Netns::open(node.netns);
  runner::HttpAsk question;
  question.to = service(node, "istio-ingressgateway.istio-system", 80, true);
  question.host = "bookshelf.example";
  question.path = "/productpage";
  question.within = 10s;
  const auto answer = runner::ask(where, question);
  const std::string page = answer ? answer->body : "";
  line(fmt::format("GET http://{}/productpage", question.to.text()));
  const std::string reviews = between(page, "reviews: ", ")");
  observed(fmt::format("{}, \"{}\", details by {}, reviews by {}", answer ? std::to_string(answer->status) : "no answer",
                       between(page, "<h1>", "</h1>"), between(page, "details: ", ")"), reviews.empty() ? "nobody" : reviews),
           answer && answer->status == 200 && page.find("The Comedy of Errors") != std::string::npos && !reviews.empty());
  question.path = "/nothing-here";
  const auto nothing = runner::ask(where, question);
  observed(fmt::format("GET /nothing-here: {} (no rule takes it)", nothing ? std::to_string(nothing->status) : "no answer"),
           nothing && nothing->status == 404);
}

void Tour::show_split() {
  title("East-west: reviews by weight");
  configured("VirtualService reviews: 80 % to subset v1, 20 % to subset v3, nobody else to v2");
  const Counts counts = ask_reviews(kSplitRequests, true, {});
  const double share = static_cast<double>(counts.v1) / kSplitRequests;
  observed(fmt::format("{} answers: v1 {} ({}), v3 {} ({}), v2 {}, failed {}", counts.all(), counts.v1, percent(counts.v1, counts.all()),
                       counts.v3, percent(counts.v3, counts.all()), counts.v2, counts.failed),
           share > kShareLow && share < kShareHigh && counts.v3 > 0 && counts.v2 == 0 && counts.failed == 0);
}

void Tour::show_user() {
  title("By header: jason's reviews");
  configured("VirtualService reviews: end-user: jason goes to subset v2");
  const Counts counts = ask_reviews(40, true, {{"end-user", "jason"}});
  observed(fmt::format("{} answers: v2 {}, others {}, failed {}", counts.all(), counts.v2, counts.v1 + counts.v3, counts.failed),
           counts.v2 == 40);
}

std::vector<std::string> Tour::log_line(const runner::RecordedPod& pod, const std::string& mark) const {
  const std::string path = runner::run_folder(world_) + "/log/" + pod.name + "/istio-proxy.log";
  const auto until = Clock::now() + kLogPatience;
  // The proxy writes its log behind the answer.
  while (true) {
    std::vector<std::string> found;
    std::istringstream log(slurp(path));
    for (std::string text; std::getline(log, text);)
      if (text.find(mark) != std::string::npos) found.push_back(text);
    if (!found.empty() || Clock::now() > until) return found;
    std::this_thread::sleep_for(20ms);
  }
}

void Tour::show_logs(bool v4) {
  title(v4 ? "Both original destinations, from the two proxies' access logs" : "The same over IPv6");
  const auto* client = pod("productpage");
  if (!client) return observed("no productpage", false);
  const auto dialled = service(*client, "reviews", kReviewsPort, v4);
  configured(fmt::format("the app dials reviews at {}; rules turn that to 15001, and to 15006 in the pod that is chosen", dialled.text()));
  const std::string mark = fmt::format("/reviews/0?tour-v{}", v4 ? 4 : 6);
  const Counts counts = ask_reviews(1, v4, {{"end-user", "jason"}}, mark);
  const auto sent = log_line(*client, mark);
  const LogFields out = parse_access_log(sent.empty() ? "" : sent.back());
  const auto* server = pod("reviews-v2");
  const auto received = server ? log_line(*server, mark) : std::vector<std::string>{};
  const LogFields in = parse_access_log(received.empty() ? "" : received.back());
  if (v4 && !sent.empty()) line(fmt::format("{}{}{}", style_.dim, sent.back(), style_.plain));
  // Either family will do here: the proxy chooses among the pod's addresses, whichever the app dialled.
  const bool own = server && (in.downstream_local == server->ip4 + ":9080" || in.downstream_local == '[' + server->ip6 + "]:9080");
  observed(fmt::format("outbound: dialled {}, cluster {}, sent to {}", out.downstream_local, out.cluster, out.upstream_host),
           out.downstream_local == dialled.text() && out.cluster == "outbound|9080|v2|reviews.default.svc.cluster.local");
  observed(fmt::format("inbound:  dialled {}, cluster {}, answer {}", in.downstream_local, in.cluster, in.status),
           own && in.status == "200" && counts.v2 == 1 && in.cluster == "inbound|9080||");
  if (!v4 && server) show_inbound6(*server);
}

void Tour::show_inbound6(const runner::RecordedPod& server) {
  const auto node = runner::Netns::open(record_.prefix + "net");
  runner::HttpAsk question;
  question.to = {base::Ip::parse(server.ip6).value_or(base::Ip::any(false)), kReviewsPort};
  question.path = "/whoami?tour-direct6";
  if (!node.valid()) return observed("no node", false);
  const auto answer = runner::ask(node, question);
  const auto lines = log_line(server, question.path);
  const LogFields in = parse_access_log(lines.empty() ? "" : lines.back());
  observed(fmt::format("from outside straight to the pod: dialled {}, cluster {}, answer {}", in.downstream_local, in.cluster, in.status),
           answer && answer->status == 200 && answer->body.starts_with(server.name) && in.downstream_local == question.to.text() &&
               in.cluster == "inbound|9080||");
}

void Tour::show_shift() {
  title("A new weight under load");
  configured("4-reviews.yaml changes while 4 clients ask without a pause: 80/20 becomes 0 % v1, 100 % v3");
  const auto* client = pod("productpage");
  if (!client) return observed("no productpage", false);
  std::atomic<bool> stop{false};
  std::atomic<int> total{0}, failed{0}, since_v1{0}, v1{0}, v3{0};
  std::vector<std::thread> load;
  for (int i = 0; i < kLoadThreads; ++i)
    load.emplace_back([&] {
      while (!stop && !over_) {
        const Counts one = ask_reviews(1, true, {});
        ++total;
        failed += one.failed;
        v1 += one.v1;
        v3 += one.v3;
        if (one.v1)
          since_v1 = 0;
        else
          since_v1 += one.v3;
      }
    });
  const auto warm = Clock::now() + 5s;
  while (total < 200 && Clock::now() < warm) std::this_thread::sleep_for(10ms);
  const int v1_before = v1, v3_before = v3;
  std::string text = slurp(folder_ + "/4-reviews.yaml");
  for (const auto& [from, to] : {std::pair{"weight: 80", "weight: 0"}, std::pair{"weight: 20", "weight: 100"}})
    if (const size_t at = text.find(from); at != std::string::npos) text.replace(at, std::string_view(from).size(), to);
  const auto changed = Clock::now();
  runner::write_file(folder_ + "/4-reviews.yaml", text);
  since_v1 = 0;
  auto settled = changed;
  while (since_v1 < kSettledAnswers && !over_ && Clock::now() - changed < kShiftPatience) {
    if (since_v1 < 20) settled = Clock::now();
    std::this_thread::sleep_for(5ms);
  }
  const bool shifted = since_v1 >= kSettledAnswers;
  stop = true;
  for (auto& thread : load) thread.join();
  line(fmt::format("before: v1 {}, v3 {}", v1_before, v3_before));
  observed(fmt::format("{} requests, {} failed; the last {} all from v3, {} ms after the file was written", total.load(), failed.load(),
                       since_v1.load(), std::chrono::duration_cast<std::chrono::milliseconds>(settled - changed).count()),
           shifted && failed == 0 && v1_before > 0);
}

void Tour::say_goodbye() const {
  fmt::print("\n{}{}{}\n", all_good_ ? style_.green : style_.red,
             all_good_ ? "Everything was as configured." : "Something was NOT as configured: see above.", style_.plain);
  std::fflush(stdout);
}

bool Tour::run() {
  const auto record = runner::read_record(world_);
  if (!record) return false;
  record_ = *record;
  using Step = void (Tour::*)();
  for (const Step step : {&Tour::show_pods, &Tour::show_rules, &Tour::show_gateway, &Tour::show_split, &Tour::show_user, &Tour::show_log4,
                          &Tour::show_log6, &Tour::show_shift}) {
    if (over_) return false;
    (this->*step)();
    std::fflush(stdout);
  }
  say_goodbye();
  return all_good_;
}

}  // namespace ctl
