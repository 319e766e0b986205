#pragma once

#include <chrono>
#include <expected>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace init {

// The one place where programs are looked for. $PATH is the pod author's, so it has no say.
inline constexpr std::string_view kPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

// Absolute path of an executable out of kPath; empty when there is none.
std::string find_program(std::string_view name);

struct Finished {
  int status = 0;  // exit code, or 128 + signal
  std::string out, err;
};

// Far longer than iptables-restore waits for its lock (30 s), and nothing else in these programs waits.
inline constexpr std::chrono::milliseconds kProgramLimit{60000};

// Runs a program by absolute path with exactly these arguments and this environment (NAME=value), feeds `input`, and waits for
// its end. No shell; the only file descriptor that it inherits is that of the lock (lock.h). The error says why it could not be
// started, or that it was killed because it did not end within `limit`. What it may have started itself is not waited for.
std::expected<Finished, std::string> run_program(const std::string& path, std::span<const std::string> arguments,
                                                 std::span<const std::string> environment, std::string_view input,
                                                 std::chrono::milliseconds limit = kProgramLimit);

}  // namespace init
