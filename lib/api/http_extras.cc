#include <algorithm>

#include <fmt/format.h>

#include "api/decode.h"
#include "api/rules.h"

namespace api {
namespace {

void check_percentage(const Cursor& at) {
  const Cursor value = at["value"];
  if (value && !(value.real() >= 0 && value.real() <= 100)) value.error(fmt::format("{} is no percentage; use 0–100", value.node().scalar));
}

void check_redirect(const Cursor& at) {
  if (!at) return;
  const Cursor code = at["redirectCode"];
  if (code) {
    const int64_t value = code.number();
    if (value != 301 && value != 302 && value != 303 && value != 307 && value != 308)
      code.error(fmt::format("{} is no redirect; use 301, 302, 303, 307 or 308", value));
  }
  const std::string scheme = at["scheme"].text("http");
  if (scheme != "http" && scheme != "https") at["scheme"].error(fmt::format("{} is no scheme to redirect to; use http or https", quoted(scheme)));
  if (at["uri"] && at["prefixRewrite"]) at.error("only one of uri and prefixRewrite can be given");
  if (at["port"] && at["derivePort"]) at.error("only one of port and derivePort can be given");
}

void check_rewrite(const Cursor& at) {
  if (!at) return;
  const Cursor regex = at["uriRegexRewrite"];
  if (!at["uri"] && !at["authority"] && !regex) at.error("the rewrite is empty; give uri, uriRegexRewrite or authority");
  if (at["uri"] && regex) at.error("rewrite has both uri and uriRegexRewrite; keep one");
  if (regex["match"]) rules::regex(regex["match"]);
}

void check_fault(const Cursor& at) {
  if (!at) return;
  const Cursor delay = at["delay"], abort = at["abort"];
  if (!delay && !abort) at.error("the fault is empty; give delay or abort");
  if (delay["exponentialDelay"]) delay["exponentialDelay"].error("exponentialDelay is not supported; use fixedDelay");
  else if (delay && !delay["fixedDelay"]) delay.error("delay needs fixedDelay");
  if (abort["http2Error"]) abort["http2Error"].error("http2Error is not supported; use httpStatus or grpcStatus");
  else if (abort && !abort["httpStatus"] && !abort["grpcStatus"]) abort.error("abort needs httpStatus or grpcStatus");
  if (abort["httpStatus"] && abort["grpcStatus"]) abort.error("abort has both httpStatus and grpcStatus; keep one");
  if (abort["grpcStatus"]) {
    static constexpr std::string_view kNames[] = {"OK", "CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND", "ALREADY_EXISTS", "PERMISSION_DENIED",
                                                  "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION", "ABORTED", "OUT_OF_RANGE", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE",
                                                  "DATA_LOSS", "UNAUTHENTICATED"};
    const std::string name = abort["grpcStatus"].text();
    if (std::find(std::begin(kNames), std::end(kNames), name) == std::end(kNames))
      abort["grpcStatus"].error(fmt::format("{} is no gRPC status; use a name in capitals such as UNAVAILABLE", quoted(name)));
  }
  for (const Cursor& part : {delay, abort}) {
    check_percentage(part["percentage"]);
    if (part && !part["percentage"] && !part["percent"]) part.warn("NO_EFFECT", "percentage is missing, which means 0 %: the fault never happens");
  }
}

void check_direct_response(const Cursor& at) {
  constexpr size_t kMost = 1 << 20;
  const Cursor body = at["body"];
  if (body["string"] && body["bytes"]) body.error("only one of string and bytes can be given");
  if (body["string"] && body["string"].node().scalar.size() > kMost) body["string"].error("the body is larger than 1 MiB");
}

void check_mirrors(const Cursor& route) {
  if (route["mirror"] && route["mirrors"]) route["mirrors"].error("the rule has both mirror and mirrors; keep mirrors");
  if (route["mirror"]["host"]) rules::host(route["mirror"]["host"]);
  check_percentage(route["mirrorPercentage"]);
  for (const Cursor& mirror : route["mirrors"].items()) {
    if (mirror["destination"]["host"]) rules::host(mirror["destination"]["host"]);
    check_percentage(mirror["percentage"]);
  }
  for (const std::string_view old : {"mirrorPercent", "mirror_percent"})
    if (route[old]) route[old].warn("IST0002", fmt::format("{} is deprecated; use mirrorPercentage.value", old));
}

// The host that a request leaves with has one source: rewrite.authority, or one of the header operations.
void check_authority_sources(const Cursor& route) {
  size_t sources = route["rewrite"]["authority"] ? 1 : 0;
  const Cursor operations = route["headers"]["request"];
  for (const std::string_view verb : {"set", "add"})
    for (const doc::Node::Entry& entry : operations[verb].entries())
      if (entry.key == ":authority" || entry.key == "Host" || entry.key == "host") ++sources;
  if (sources > 1) route["headers"].error("the Host of the request is set in more than one place; keep one of rewrite.authority and headers");
}

}  // namespace

void check_cors(const Cursor& at) {
  if (!at) return;
  for (const Cursor& origin : at["allowOrigins"].items()) rules::string_match(origin);
  if (at["allowOrigin"]) at["allowOrigin"].warn("IST0002", "allowOrigin is deprecated; write allowOrigins: [{exact: \"…\"}]");
  static constexpr std::string_view kMethods[] = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "CONNECT", "OPTIONS", "TRACE", "*"};
  for (const Cursor& method : at["allowMethods"].items())
    if (std::find(std::begin(kMethods), std::end(kMethods), method.text()) == std::end(kMethods))
      method.error(fmt::format("{} is no HTTP method that CORS knows; use capitals, as in GET", quoted(method.text())));
  if (at["maxAge"])
    if (const auto age = parse_duration(at["maxAge"].text()); age && age->count() % 1000 != 0) at["maxAge"].error(fmt::format("{} is not in whole seconds", at["maxAge"].text()));
}

void check_http_route_extras(const Cursor& route) {
  check_redirect(route["redirect"]);
  check_direct_response(route["directResponse"]);
  check_rewrite(route["rewrite"]);
  check_fault(route["fault"]);
  check_mirrors(route);
  check_cors(route["corsPolicy"]);
  check_authority_sources(route);
}

}  // namespace api
