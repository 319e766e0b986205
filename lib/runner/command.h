#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace runner {

struct Finished {
  int status = -1;  // exit status; 128 + signal; 127 when the program could not be started
  std::string out, err;
  bool ok() const noexcept { return status == 0; }
};

// Runs a program to its end without a shell: `argv[0]` is a bare name that is looked for in the system's directories (never in
// PATH, which belongs to the user), or an absolute path. `input` is its stdin. Blocks.
Finished run(const std::vector<std::string>& argv, std::string_view input = {});

// The absolute path of a system program, empty when it is not installed.
std::string find_program(std::string_view name);

}  // namespace runner
