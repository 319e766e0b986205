#include "validate/validate.h"

#include "doc/nearest.h"
#include "validate/checks.h"

namespace validate {

doc::Problem warning(std::string_view code, const api::Meta& object, std::string field, const doc::Mark& at, std::string message) {
  return {doc::Problem::Severity::kWarning, std::string(code), object.id(), std::move(field), std::move(message), at};
}

doc::Problem info(std::string_view code, const api::Meta& object, std::string field, const doc::Mark& at, std::string message) {
  return {doc::Problem::Severity::kInfo, std::string(code), object.id(), std::move(field), std::move(message), at};
}

doc::Problems check(const api::Mesh& mesh) {
  doc::Problems out;
  const Index index(mesh);
  check_references(index, out);
  check_rule_order(mesh, out);
  check_hosts(index, out);
  check_gateways(mesh, out);
  check_destination_rules(index, out);
  check_services(mesh, out);
  return out;
}

std::string_view nearest(std::string_view wrong, const std::vector<std::string_view>& candidates) { return doc::nearest(wrong, candidates); }

}  // namespace validate
