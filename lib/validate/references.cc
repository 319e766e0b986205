#include <algorithm>

#include <fmt/format.h>

#include "validate/checks.h"
#include "validate/validate.h"

namespace validate {
namespace {

using api::VirtualService;

constexpr std::string_view kNotFound = "IST0101";   // ReferencedResourceNotFound

template <class List, class Name> std::string joined(const List& list, Name name) {
  std::string out;
  for (const auto& item : list) out += fmt::format("{}{}", out.empty() ? "" : ", ", name(item));
  return out;
}

void check_gateway(const Index& index, const VirtualService& service, const api::Text& text, std::string field, doc::Problems& out) {
  const GatewayName name = Index::gateway_name(text.value, service.meta.name_space);
  if (name.mesh || index.gateway(name)) return;
  std::string hint;
  std::vector<std::string_view> names;
  for (const api::Gateway* gateway : index.mesh().gateways) {
    if (gateway->meta.name == name.name && hint.empty()) hint = fmt::format("; did you mean {}/{}?", gateway->meta.name_space, gateway->meta.name);
    names.push_back(gateway->meta.name);
  }
  if (const std::string_view near = nearest(name.name, names); hint.empty() && !near.empty())
    for (const api::Gateway* gateway : index.mesh().gateways)
      if (gateway->meta.name == near && hint.empty()) hint = fmt::format("; did you mean {}/{}?", gateway->meta.name_space, near);
  out.push_back(warning(kNotFound, service.meta, std::move(field), text.at,
                        fmt::format("gateway {}/{} not found{}", name.name_space, name.name, hint)));
}

// Is the rule served by a gateway, and may a sidecar serve it too?
struct Reach {
  bool mesh = false, gateway = false;
  std::vector<const api::Gateway*> gateways;
};

Reach reach_of(const Index& index, const VirtualService& service, const std::vector<api::Text>& gateways) {
  Reach out;
  out.mesh = gateways.empty();
  for (const api::Text& text : gateways) {
    const GatewayName name = Index::gateway_name(text.value, service.meta.name_space);
    (name.mesh ? out.mesh : out.gateway) = true;
    if (const api::Gateway* gateway = name.mesh ? nullptr : index.gateway(name)) out.gateways.push_back(gateway);
  }
  return out;
}

void check_port(const Reach& reach, const VirtualService& service, const api::Destination& destination, const Target& target, const std::string& field, doc::Problems& out) {
  const std::vector<uint16_t> ports = target.ports();
  const std::string known = joined(ports, [](uint16_t port) { return std::to_string(port); });
  if (destination.port != 0) {
    if (!target.has_port(destination.port))
      out.push_back(warning(kNotFound, service.meta, field + ".port.number", destination.at,
                            fmt::format("{} has no port {}; it has {}. Requests to it get 503", target.host, destination.port, ports.empty() ? "none" : known)));
    return;
  }
  if (!reach.gateway || reach.gateways.empty() || ports.size() < 2) return;
  for (const api::Gateway* gateway : reach.gateways)
    for (const api::Server& server : gateway->servers)
      if (target.has_port(server.port)) return;
  out.push_back(warning("IST0112", service.meta, field + ".port", destination.at,
                        fmt::format("{} has several ports ({}) and none of the gateway's; say which with port.number, else requests get 503", target.host, known)));
}

void check_subset(const Index& index, const VirtualService& service, const api::Destination& destination, const std::string& full_host, const std::string& field, doc::Problems& out) {
  const auto rules = index.rules_for(full_host, service.meta.name_space);
  std::vector<std::string_view> names;
  for (const api::DestinationRule* rule : rules)
    for (const api::Subset& subset : rule->subsets) {
      if (subset.name.value == destination.subset.value) return;
      names.push_back(subset.name.value);
    }
  const std::string_view near = nearest(destination.subset.value, names);
  std::string why;
  if (rules.empty()) why = fmt::format("no DestinationRule is for {}", full_host);
  else if (names.empty()) why = fmt::format("the DestinationRule {}/{} has no subsets", rules[0]->meta.name_space, rules[0]->meta.name);
  else why = fmt::format("{} has the subsets {}", rules[0]->meta.name, joined(names, [](std::string_view name) { return name; }));
  out.push_back(warning(kNotFound, service.meta, field + ".subset", destination.subset.at,
                        fmt::format("subset {} of {} not found{}; {}. Requests to it get 503", destination.subset.value, destination.host.value,
                                    near.empty() ? "" : fmt::format(", did you mean {}?", near), why)));
}

void check_destination(const Index& index, const Reach& reach, const VirtualService& service, const api::Destination& destination, const std::string& field, doc::Problems& out) {
  const std::string host = index.full_host(destination.host.value, service.meta.name_space);
  const Target* target = index.target(host);
  if (!target && index.knows_services()) {
    const bool completed = destination.host.value.find('.') == std::string::npos;
    out.push_back(warning(kNotFound, service.meta, field + ".host", destination.host.at,
                          fmt::format("{} {} not found{}{}. Requests to it get 503", completed ? "service" : "host", host,
                                      completed ? fmt::format(" (a short name means the VirtualService's own namespace, {})", service.meta.name_space) : "",
                                      index.near_host(destination.host.value, host))));
    return;
  }
  if (target) check_port(reach, service, destination, *target, field, out);
  if (destination.subset.empty()) return;
  // Rules alone, without services: subsets may live in files that are not here either, unless some are.
  if (target || !index.rules_for(host, service.meta.name_space).empty()) check_subset(index, service, destination, host, field, out);
}

void check_weights(const VirtualService& service, const api::HttpRoute& rule, const std::string& field, doc::Problems& out) {
  if (rule.route.size() < 2) return;
  const auto has_weight = [](const api::RouteDestination& route) { return route.weight.value_or(0) > 0; };
  if (std::count_if(rule.route.begin(), rule.route.end(), has_weight) != 1) return;
  for (size_t i = 0; i < rule.route.size(); ++i)
    if (has_weight(rule.route[i])) out.push_back(info("ONE_DESTINATION", service.meta, fmt::format("{}.route[{}].weight", field, i), rule.route[i].at, "all requests go to this destination; the others have weight 0"));
}

}  // namespace

void check_references(const Index& index, doc::Problems& out) {
  for (const VirtualService* service : index.mesh().virtual_services) {
    for (size_t i = 0; i < service->gateways.size(); ++i) check_gateway(index, *service, service->gateways[i], fmt::format("spec.gateways[{}]", i), out);
    const Reach reach = reach_of(index, *service, service->gateways);
    for (size_t i = 0; i < service->http.size(); ++i) {
      const api::HttpRoute& rule = service->http[i];
      const std::string field = fmt::format("spec.http[{}]", i);
      for (size_t j = 0; j < rule.match.size(); ++j)
        for (size_t k = 0; k < rule.match[j].gateways.size(); ++k)
          check_gateway(index, *service, rule.match[j].gateways[k], fmt::format("{}.match[{}].gateways[{}]", field, j, k), out);
      for (size_t j = 0; j < rule.route.size(); ++j)
        check_destination(index, reach, *service, rule.route[j].destination, fmt::format("{}.route[{}].destination", field, j), out);
      check_weights(*service, rule, field, out);
    }
  }
}

}  // namespace validate
