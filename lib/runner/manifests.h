#pragma once

#include <string>
#include <vector>

#include "doc/reader.h"

namespace runner {

// Every document of every *.yaml, *.yml and *.json below a folder, in the order of the paths' bytes. What begins with a dot is
// left out, as the proxies do.
doc::File read_folder(const std::string& folder);

}  // namespace runner
