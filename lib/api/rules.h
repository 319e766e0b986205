#pragma once

#include <string_view>

#include "api/networking.h"
#include "api/report.h"

// Internal to api: rules about single values that several kinds share (traffic.md §2.1.9). Each says what is wrong at the
// value's place and returns whether it is good.
namespace api::rules {

bool is_dns_label(std::string_view text);       // RFC 1123, upper case allowed as Istio does, at most 63
bool is_dns_name(std::string_view text);        // labels with dots, at most 253; a dot at the end is fine
bool is_object_name(std::string_view text);     // metadata.name
bool is_header_token(std::string_view text);    // RFC 9110 §5.1

// A host of VirtualService, Gateway server, DestinationRule or ServiceEntry: DNS name, IP, or a wildcard in the leftmost label.
bool host(const Cursor& at);
bool host_value(const Cursor& at, std::string_view value);   // the same for a part of the text
void export_to(const Cursor& list, bool nobody_allowed);     // `~` only where allowed
void subset_name(const Cursor& at);
void cidr(const Cursor& at);

// Decodes exact, prefix or regex and compiles the pattern. An empty matcher and regex `*` mean presence.
StringMatch string_match(const Cursor& at);
HeaderOperations header_operations(const Cursor& at, bool request);

// "spec.http[0].match[0].uri.regex" says where; the message says what RE2 stumbled over, and at which character.
std::optional<base::Regex> regex(const Cursor& at);

}  // namespace api::rules
