#pragma once

#include <cstdint>
#include <string_view>

#include "api/kubernetes.h"
#include "base/cluster_settings.h"

namespace routing {

// What a service port speaks, as far as routing is concerned. Auto: the first bytes of each connection decide.
enum class Protocol : uint8_t { kHttp, kHttp2, kGrpc, kGrpcWeb, kTcp, kTls, kUdp, kAuto };

bool is_http(Protocol p) noexcept;       // declared HTTP of any kind
bool is_opaque(Protocol p) noexcept;     // bytes: TCP and friends, TLS and HTTPS
base::UpstreamProtocol upstream_protocol(Protocol p) noexcept;

// Protocol selection, traffic.md §3.4: appProtocol, then the port's name up to the first '-', then well-known ports of
// server-first protocols, then auto.
Protocol protocol_of(const api::ServicePort& port);
// The same for a ServiceEntry: its `protocol` as written. A missing one means auto.
Protocol protocol_of_entry(std::string_view protocol, uint16_t number);

}  // namespace routing
