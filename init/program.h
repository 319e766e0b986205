#pragma once

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

// Runs a program by absolute path with exactly these arguments and this environment (NAME=value), feeds `input`, and waits for
// its end. No shell, no inherited file descriptor. The error says why it could not be started.
std::expected<Finished, std::string> run_program(const std::string& path, std::span<const std::string> arguments,
                                                 std::span<const std::string> environment, std::string_view input);

}  // namespace init
