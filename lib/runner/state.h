#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <vector>

#include "base/ip.h"

namespace runner {

// What is written down about a running world, so that other commands find its pods and `sluice down` can clean up after a
// supervisor that was killed.
struct RecordedPod {
  std::string name_space, name, netns, role, workload;
  std::string ip4, ip6;
  bool ready = false;
};
struct Record {
  std::string prefix;  // of its namespaces
  int pid = 0;
  uint64_t started = 0;           // the process's start time, so that a reused pid is nobody of ours
  std::string folder, generated;  // the user's, ours
  std::vector<RecordedPod> pods;
};

// "sl-" for the world without a name, "sl.NAME-" for one with.
std::string prefix_of(const std::string& world);
// /run/sluice/WORLD for root, below $XDG_RUNTIME_DIR or /tmp else. "default" stands for the world without a name.
std::string run_folder(const std::string& world);
std::string record_path(const std::string& world);

std::string to_json(const Record& record);
std::optional<Record> parse_record(std::string_view json);
std::optional<Record> read_record(const std::string& world);
bool write_record(const std::string& world, const Record& record);
bool write_file(const std::string& path, std::string_view text);  // whole and at once, by rename; false with errno

uint64_t start_time(int pid);  // 0: no such process
bool is_alive(const Record& record);

// Ends the supervisor when it lives (SIGTERM, at most `patience`, then SIGKILL) and removes all that is left: processes,
// namespaces, files. True when there was something to remove.
bool take_down(const std::string& world, std::chrono::milliseconds patience);
// Only what a dead supervisor left.
void remove_leftovers(const std::string& world);
// The last trace: the lock, and the folder of all worlds when no other is left.
void forget_folder(const std::string& world);

}  // namespace runner
