#pragma once

#include "api/report.h"
#include "api/resource.h"

// Internal to api: one decoder per kind. The schema has been checked and had no error; `spec` may be an absent cursor.
namespace api {

Service decode_service(const Meta& meta, const Cursor& spec);
std::vector<EndpointSlice> decode_endpoints(const Meta& meta, const Cursor& subsets);
EndpointSlice decode_endpoint_slice(const Meta& meta, const Cursor& root);
Pod decode_pod(const Meta& meta, const Cursor& root);
ConfigMap decode_config_map(const Meta& meta, const Cursor& root);
void check_ingress(const Cursor& root);

VirtualService decode_virtual_service(const Meta& meta, const Cursor& spec);
DestinationRule decode_destination_rule(const Meta& meta, const Cursor& spec);
Gateway decode_gateway(const Meta& meta, const Cursor& spec);
ServiceEntry decode_service_entry(const Meta& meta, const Cursor& spec);

// Fields of an http rule that have no effect yet are validated all the same, so that a file that lints clean stays so when
// they come to life.
void check_http_route_extras(const Cursor& route);
void check_cors(const Cursor& cors);

}  // namespace api
