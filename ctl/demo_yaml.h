#pragma once

#include <string_view>
#include <vector>

namespace ctl {

struct DemoFile {
  std::string_view name, text;
};
// The files of deploy/demo, as they were when this program was built, by name.
const std::vector<DemoFile>& demo_files();

}  // namespace ctl
