#pragma once

#include "http/message.h"
#include "proxy/request.h"

namespace proxy {

// Brings the request head into the form this side of the proxy owes the next hop (traffic.md §4.2): request id, forwarding
// headers, x-envoy-*, and what a stranger must not say to us. Notes for the log what the client had sent.
void prepare_request(Request& request);
// server, date, x-envoy-upstream-service-time; takes out what was meant for us.
void prepare_response(Request& request, http::ResponseHead& head);
// The `server` header this side shows.
std::string_view server_name(routing::Direction direction) noexcept;

}  // namespace proxy
