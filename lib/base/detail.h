#pragma once

#include <cstdint>
#include <string_view>

namespace base {

// Why an answer was made here instead of upstream, or why a stream ended early. One row is everything users see of it:
// RESPONSE_CODE_DETAILS, response flag, status and body (reference: Envoy's response code details; Istio's default log).
// A row whose status is 0 is never turned into an answer by itself. Rows of http1_* are the guard's and the codec's verdicts.
#define SLUICE_DETAILS(row)                                                                                            \
  /*  name                     details text                                        flag   status body */               \
  row(None,                    "-",                                                "",    0,   "")                     \
  row(ViaUpstream,             "via_upstream",                                     "",    0,   "")                     \
  row(DirectResponse,          "direct_response",                                  "",    0,   "")                     \
  row(RouteNotFound,           "route_not_found",                                  "NR",  404, "")                     \
  row(ClusterNotFound,         "cluster_not_found",                                "NC",  503, "")                     \
  row(NoHealthyUpstream,       "no_healthy_upstream",                              "UH",  503, "no healthy upstream")  \
  row(UpstreamConnectFailure,  "upstream_reset_before_response_started{remote_connection_failure|delayed_connect_error:_Connection_refused}", "UF", 503, "upstream connect error or disconnect/reset before headers. reset reason: remote connection failure") \
  row(UpstreamConnectTimeout,  "upstream_reset_before_response_started{connection_timeout}", "UF", 503, "upstream connect error or disconnect/reset before headers. reset reason: connection timeout") \
  row(UpstreamTermination,     "upstream_reset_before_response_started{connection_termination}", "UC", 503, "upstream connect error or disconnect/reset before headers. reset reason: connection termination") \
  row(UpstreamReset,           "upstream_reset_before_response_started{remote_reset}", "UR", 503, "upstream connect error or disconnect/reset before headers. reset reason: remote reset") \
  row(UpstreamLocalReset,      "upstream_reset_before_response_started{local_reset}", "LR", 503, "upstream connect error or disconnect/reset before headers. reset reason: local reset") \
  row(UpstreamOverflow,        "upstream_reset_before_response_started{overflow}", "UO",  503, "upstream connect error or disconnect/reset before headers. reset reason: overflow") \
  row(UpstreamProtocolError,   "upstream_reset_before_response_started{protocol_error}", "UPE", 502, "upstream connect error or disconnect/reset before headers. reset reason: protocol error") \
  row(UpstreamBroken,          "upstream_reset_after_response_started{connection_termination}", "UC", 0, "")           \
  row(UpstreamBrokenProtocol,  "upstream_reset_after_response_started{protocol_error}", "UPE", 0, "")                  \
  row(ResponseTimeout,         "response_timeout",                                 "UT",  504, "upstream request timeout") \
  row(PerTryTimeout,           "upstream_per_try_timeout",                         "UT",  504, "upstream request timeout") \
  row(StreamIdleTimeout,       "stream_idle_timeout",                              "SI",  408, "stream timeout")       \
  row(MaxStreamDuration,       "max_duration_timeout",                             "UMSDR", 408, "upstream max stream duration reached") \
  row(MaxConnectionDuration,   "max_connection_duration",                          "DT",  0,   "")                     \
  row(DownstreamDisconnect,    "downstream_remote_disconnect",                     "DC",  0,   "")                     \
  row(DownstreamLocalDisconnect, "downstream_local_disconnect",                    "DC",  0,   "")                     \
  row(RequestHeadTimeout,      "request_header_timeout",                           "DPE", 408, "stream timeout")       \
  row(RequestBodyTimeout,      "request_body_timeout",                             "DPE", 408, "stream timeout")       \
  row(RequestHeadTooLarge,     "request_headers_too_large",                        "DPE", 431, "Request Header Fields Too Large") \
  row(TooManyFields,           "http1.too_many_headers",                           "DPE", 431, "Request Header Fields Too Large") \
  row(UriTooLong,              "http1.uri_too_long",                               "DPE", 414, "URI Too Long")         \
  row(PayloadTooLarge,         "request_payload_too_large",                        "DPE", 413, "Payload Too Large")    \
  row(LowVersion,              "low_version",                                      "DPE", 426, "Upgrade Required")     \
  row(PathNormalization,       "path_normalization_failed",                        "DPE", 400, "Bad Request")          \
  row(NotImplemented,          "http1.transfer_coding_not_implemented",            "DPE", 501, "Not Implemented")      \
  row(ConnectRefused,          "connect_not_supported",                            "DPE", 405, "")                     \
  row(UpgradeRefused,          "upgrade_failed",                                   "DPE", 403, "")                     \
  row(OverloadManager,         "overload",                                         "OM",  503, "envoy overloaded")     \
  row(Draining,                "draining",                                         "",    503, "")                     \
  row(MaxConnections,          "max_connections",                                  "UO",  0,   "")                     \
  row(RbacDenied,              "rbac_access_denied_matched_policy[none]",          "",    403, "RBAC: access denied")  \
  row(FaultAbort,              "fault_filter_abort",                               "FI",  0,   "fault filter abort")   \
  row(CorsResponse,            "cors_response",                                    "",    200, "")                     \
  row(LoopRefused,             "loop_detected",                                    "NR",  0,   "")                     \
  row(Http1Syntax,             "http1.codec_error",                                "DPE", 400, "Bad Request")          \
  row(Http1LineEnd,            "http1.invalid_line_end",                           "DPE", 400, "Bad Request")          \
  row(Http1ControlCharacter,   "http1.control_character",                          "DPE", 400, "Bad Request")          \
  row(Http1Fold,               "http1.obsolete_line_folding",                      "DPE", 400, "Bad Request")          \
  row(Http1FieldName,          "http1.invalid_field_name",                         "DPE", 400, "Bad Request")          \
  row(Http1FieldValue,         "http1.invalid_field_value",                        "DPE", 400, "Bad Request")          \
  row(Http1RequestLine,        "http1.invalid_request_line",                       "DPE", 400, "Bad Request")          \
  row(Http1Version,            "http1.invalid_version",                            "DPE", 400, "Bad Request")          \
  row(Http1Method,             "http1.invalid_method",                             "DPE", 400, "Bad Request")          \
  row(Http1Target,             "http1.invalid_target",                             "DPE", 400, "Bad Request")          \
  row(Http1Host,               "http1.invalid_host",                               "DPE", 400, "Bad Request")          \
  row(Http1ContentLength,      "http1.invalid_content_length",                     "DPE", 400, "Bad Request")          \
  row(Http1TransferEncoding,   "http1.invalid_transfer_encoding",                  "DPE", 400, "Bad Request")          \
  row(Http1LengthAndEncoding,  "http1.content_length_and_chunked_not_allowed",     "DPE", 400, "Bad Request")          \
  row(Http1Chunk,              "http1.invalid_chunk",                              "DPE", 400, "Bad Request")          \
  row(Http1Trailer,            "http1.invalid_trailer",                            "DPE", 400, "Bad Request")          \
  row(Http1BodyUnfinished,     "http1.body_ended_early",                           "DPE", 400, "Bad Request")          \
  row(Http1ParserDisagrees,    "http1.parser_disagrees",                           "DPE", 400, "Bad Request")

enum class Detail : uint16_t {
#define SLUICE_DETAIL_NAME(name, text, flag, status, body) k##name,
  SLUICE_DETAILS(SLUICE_DETAIL_NAME)
#undef SLUICE_DETAIL_NAME
};

struct DetailRow {
  std::string_view text;   // as %RESPONSE_CODE_DETAILS% prints it
  std::string_view flag;   // empty: sets none
  uint16_t status;         // 0: no answer is made of it
  std::string_view body;
};

// The row of `detail`; never fails.
const DetailRow& row(Detail detail) noexcept;

}  // namespace base
