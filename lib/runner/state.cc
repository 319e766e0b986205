#include "runner/state.h"

#include <cerrno>
#include <charconv>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <thread>

#include <fmt/format.h>

#include <fcntl.h>
#include <poll.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "doc/reader.h"
#include "doc/writer.h"
#include "runner/command.h"
#include "runner/network.h"

namespace runner {
namespace {

namespace fs = std::filesystem;

std::string slurp(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}
std::string text_at(const doc::Node& node, std::string_view key) {
  const doc::Node* found = node.find(key);
  return found ? std::string(found->text_or()) : std::string{};
}
template <class T>
T number_at(const doc::Node& node, std::string_view key) {
  const std::string digits = text_at(node, key);
  T value{};
  std::from_chars(digits.data(), digits.data() + digits.size(), value);
  return value;
}

// Waits for the end of a process that is not our child.
bool wait_gone(int pid, std::chrono::milliseconds patience) {
  const int fd = static_cast<int>(::syscall(SYS_pidfd_open, pid, 0));
  if (fd < 0) return errno == ESRCH;
  pollfd one{fd, POLLIN, 0};
  const bool gone = ::poll(&one, 1, static_cast<int>(patience.count())) > 0;
  ::close(fd);
  return gone;
}

}  // namespace

std::string prefix_of(const std::string& world) { return world.empty() ? "sl-" : "sl." + world + '-'; }

std::string run_folder(const std::string& world) {
  const std::string leaf = world.empty() ? "default" : world;
  if (::geteuid() == 0) return "/run/sluice/" + leaf;
  const char* runtime = std::getenv("XDG_RUNTIME_DIR");
  if (runtime && *runtime) return std::string(runtime) + "/sluice/" + leaf;
  return fmt::format("/tmp/sluice-{}/{}", ::geteuid(), leaf);
}
std::string record_path(const std::string& world) { return run_folder(world) + "/world.json"; }

std::string to_json(const Record& record) {
  doc::JsonWriter out(true);
  out.begin_object().member("prefix", record.prefix).member("pid", record.pid).member("started", record.started);
  out.member("folder", record.folder).member("generated", record.generated).key("pods").begin_array();
  for (const RecordedPod& pod : record.pods) {
    out.begin_object().member("namespace", pod.name_space).member("name", pod.name).member("netns", pod.netns).member("role", pod.role);
    out.member("workload", pod.workload).member("ip", pod.ip4).member("ip6", pod.ip6).member("ready", pod.ready).end_object();
  }
  out.end_array().end_object();
  return out.take() + '\n';
}

std::optional<Record> parse_record(std::string_view json) {
  const doc::File file = doc::read_json("world.json", json);
  if (file.documents.size() != 1 || !file.documents[0].root.is_map()) return std::nullopt;
  const doc::Node& root = file.documents[0].root;
  Record record{text_at(root, "prefix"), number_at<int>(root, "pid"), number_at<uint64_t>(root, "started"),
                text_at(root, "folder"), text_at(root, "generated"),  {}};
  if (const doc::Node* pods = root.find("pods"))
    for (const doc::Node& pod : pods->list)
      record.pods.push_back({text_at(pod, "namespace"), text_at(pod, "name"), text_at(pod, "netns"), text_at(pod, "role"),
                             text_at(pod, "workload"), text_at(pod, "ip"), text_at(pod, "ip6"), text_at(pod, "ready") == "true"});
  return record;
}

std::optional<Record> read_record(const std::string& world) { return parse_record(slurp(record_path(world))); }
bool write_record(const std::string& world, const Record& record) { return write_file(record_path(world), to_json(record)); }

bool write_file(const std::string& path, std::string_view text) {
  // The name begins with a dot: whoever watches the folder does not look at it.
  const std::string temporary = fs::path(path).parent_path() / ('.' + fs::path(path).filename().string());
  const int fd = ::open(temporary.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  if (fd < 0) return false;
  while (!text.empty()) {
    const ssize_t written = ::write(fd, text.data(), text.size());
    if (written <= 0) break;
    text.remove_prefix(static_cast<size_t>(written));
  }
  const bool whole = text.empty();
  return (::close(fd) == 0) & whole && ::rename(temporary.c_str(), path.c_str()) == 0;
}

uint64_t start_time(int pid) {
  const std::string stat = slurp(fmt::format("/proc/{}/stat", pid));
  // Field 22; the name in parentheses may hold anything, so counting starts behind the last one.
  size_t at = stat.rfind(')');
  if (at == std::string::npos) return 0;
  for (int field = 2; field < 22; ++field) {
    at = stat.find(' ', at + 1);
    if (at == std::string::npos) return 0;
  }
  uint64_t value = 0;
  std::from_chars(stat.data() + at + 1, stat.data() + stat.size(), value);
  return value;
}

bool is_alive(const Record& record) { return record.pid > 0 && record.started != 0 && start_time(record.pid) == record.started; }

void remove_leftovers(const std::string& world) {
  const std::string prefix = prefix_of(world);
  std::error_code error;
  std::vector<std::string> names;
  for (const char* folder : {"/run/netns", "/etc/netns"})
    for (const auto& entry : fs::directory_iterator(folder, error))
      if (const std::string name = entry.path().filename(); name.starts_with(prefix)) names.push_back(name);
  for (const auto& name : names) destroy_netns(name);
  fs::remove_all(run_folder(world), error);
}

void forget_folder(const std::string& world) {
  std::error_code error;
  fs::remove(run_folder(world) + ".lock", error);
  fs::remove(fs::path(run_folder(world)).parent_path(), error);  // only when it is empty
}

bool take_down(const std::string& world, std::chrono::milliseconds patience) {
  const auto record = read_record(world);
  std::error_code error;
  bool something = record.has_value() || fs::exists(run_folder(world), error);
  if (record && is_alive(*record)) {
    ::kill(record->pid, SIGTERM);
    if (!wait_gone(record->pid, patience)) {
      ::kill(record->pid, SIGKILL);
      wait_gone(record->pid, std::chrono::seconds(5));
    }
  }
  for (const auto& entry : fs::directory_iterator("/run/netns", error))
    something |= entry.path().filename().string().starts_with(prefix_of(world));
  remove_leftovers(world);
  fs::remove_all(run_folder(world) + "-demo", error);
  forget_folder(world);
  return something;
}

}  // namespace runner
