#pragma once

#include <string>
#include <vector>

#include "doc/node.h"

namespace routing {

// Tests of routing written as data: resources, calls and what must become of them. The format is told in testdata/README.md;
// our own tests and `sluice test` run the same function. Pure: the file has been read by the caller.
struct ScenarioResult {
  std::string name;
  std::vector<std::string> failures;     // empty: as expected. Each says which call, what was expected and what happened
};
// One entry per scenario in the order of the file. A file that is no scenario file is one result that says why.
std::vector<ScenarioResult> run_scenarios(const doc::Document& file);

}  // namespace routing
