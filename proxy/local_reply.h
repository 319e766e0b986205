#pragma once

#include <string_view>

#include "base/detail.h"
#include "net/task.h"
#include "proxy/request.h"

namespace proxy {

// Answers the request here. Status and body come from the row of `why` unless given; a gRPC request gets a trailers-only
// answer, HEAD gets no body (traffic.md §4.1). Notes details and flag. Does nothing but abort when an answer has begun.
net::Task<> reply(Request& request, base::Detail why, uint16_t status = 0, std::string_view body = {});

// gRPC status that stands for an HTTP status (grpc's http-grpc-status-mapping).
int grpc_status_of(uint16_t http_status) noexcept;

}  // namespace proxy
