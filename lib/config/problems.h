#pragma once

#include "doc/problem.h"

namespace config {

// By file and place, so that two readings of the same files list the same.
void sort_by_place(doc::Problems& problems);

}  // namespace config
