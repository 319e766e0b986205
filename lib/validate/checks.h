#pragma once

#include "doc/problem.h"
#include "validate/index.h"

// Internal to validate: one function per subject; each appends what it finds.
namespace validate {

void check_references(const Index& index, doc::Problems& out);         // gateways, hosts, ports and subsets that VirtualServices name
void check_rule_order(const api::Mesh& mesh, doc::Problems& out);      // rules and matches that never get a request
void check_hosts(const Index& index, doc::Problems& out);              // hosts of VirtualServices against gateways and each other
void check_gateways(const api::Mesh& mesh, doc::Problems& out);        // selectors
void check_destination_rules(const Index& index, doc::Problems& out);
void check_services(const api::Mesh& mesh, doc::Problems& out);        // port names

doc::Problem warning(std::string_view code, const api::Meta& object, std::string field, const doc::Mark& at, std::string message);
doc::Problem info(std::string_view code, const api::Meta& object, std::string field, const doc::Mark& at, std::string message);

}  // namespace validate
