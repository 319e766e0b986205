#include <algorithm>
#include <iterator>
#include <tuple>

#include "config/pipeline.h"
#include "config/problems.h"
#include "config/reader.h"
#include "validate/validate.h"

namespace config {

void sort_by_place(doc::Problems& problems) {
  std::sort(problems.begin(), problems.end(), [](const doc::Problem& a, const doc::Problem& b) {
    return std::tie(a.at.file_name(), a.at.line, a.at.column, a.object, a.field, a.code, a.message) <
           std::tie(b.at.file_name(), b.at.line, b.at.column, b.object, b.field, b.code, b.message);
  });
}

Offline load(const std::vector<std::string>& roots) {
  Store::View view = Store().update(read_roots(roots));
  Offline out;
  out.mesh = api::make_mesh(std::move(view.good), view.mesh_config);
  out.problems = std::move(view.problems);
  doc::Problems found = validate::check(out.mesh);
  out.problems.insert(out.problems.end(), std::make_move_iterator(found.begin()), std::make_move_iterator(found.end()));
  sort_by_place(out.problems);
  out.digest = std::move(view.digest);
  return out;
}

}  // namespace config
