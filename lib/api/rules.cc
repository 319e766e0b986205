#include "api/rules.h"

#include <algorithm>

#include <fmt/format.h>

namespace api::rules {
namespace {

bool alnum(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9'); }

std::string lower(std::string_view text) {
  std::string out(text);
  for (char& c : out) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
  return out;
}

// Why people write hosts that are none.
std::string_view reason(std::string_view value) {
  if (value.find('$') != std::string_view::npos || value.find("{{") != std::string_view::npos) return " (unexpanded variable?)";
  if (value.find("\xE2\x80\x9C") != std::string_view::npos || value.find("\xE2\x80\x9D") != std::string_view::npos) return " (typographic quotes? use \" or ')";
  if (value.find("://") != std::string_view::npos) return " (leave the scheme out)";
  if (value.find('/') != std::string_view::npos) return " (a path does not belong here)";
  if (value.find(':') != std::string_view::npos) return " (leave the port out)";
  if (value.find('_') != std::string_view::npos) return " (letters, digits, '-' and '.' only)";
  if (value.find('*') != std::string_view::npos) return "; '*' may only be the leftmost label";
  return {};
}

// RE2 names the fragment at fault after ": "; where it stands in the pattern is what a reader looks for.
std::string position(std::string_view error, std::string_view pattern) {
  const size_t colon = error.rfind(": ");
  if (colon == std::string_view::npos) return {};
  const size_t at = pattern.find(error.substr(colon + 2));
  return at == std::string_view::npos ? std::string() : fmt::format(" (at character {})", at + 1);
}

void header_name(const Cursor& at, std::string_view name, bool request, bool removal) {
  const std::string low = lower(name);
  if (name.empty()) return at.error("an empty header name");
  if (low == "host" || low == ":authority") {
    if (!request || removal) at.error(fmt::format("{} cannot be {} here", name, removal ? "removed" : "set"));
    return;
  }
  if (name.starts_with(':')) return at.error(fmt::format("{} is a pseudo header; only :authority may be set, use rewrite for the path", name));
  if (!is_header_token(name)) at.error(fmt::format("{} is no header name", quoted(name)));
}

std::vector<std::pair<std::string, std::string>> header_map(const Cursor& at, bool request) {
  std::vector<std::pair<std::string, std::string>> out;
  for (const doc::Node::Entry& entry : at.entries()) {
    const Cursor value = at.at(entry);
    header_name(value, entry.key, request, false);
    out.emplace_back(lower(entry.key), value.text());
  }
  std::sort(out.begin(), out.end());   // Istio emits them in the order of their names
  return out;
}

}  // namespace

bool is_dns_label(std::string_view text) {
  if (text.empty() || text.size() > 63 || !alnum(text.front()) || !alnum(text.back())) return false;
  return std::all_of(text.begin(), text.end(), [](char c) { return alnum(c) || c == '-'; });
}

bool is_dns_name(std::string_view text) {
  if (text.ends_with('.')) text.remove_suffix(1);
  if (text.empty() || text.size() > 253) return false;
  while (true) {
    const size_t dot = text.find('.');
    if (!is_dns_label(text.substr(0, dot))) return false;
    if (dot == std::string_view::npos) return true;
    text.remove_prefix(dot + 1);
  }
}

bool is_object_name(std::string_view text) {
  // Kubernetes' objects have lower-case DNS names; some kinds (roles) allow more, none of them is ours.
  return is_dns_name(text) && !text.ends_with('.') && std::none_of(text.begin(), text.end(), [](char c) { return c >= 'A' && c <= 'Z'; });
}

bool is_header_token(std::string_view text) {
  return !text.empty() && std::all_of(text.begin(), text.end(), [](char c) { return alnum(c) || std::string_view("!#$%&'*+-.^_`|~").find(c) != std::string_view::npos; });
}

bool host_value(const Cursor& at, std::string_view value) {
  if (value == "*" || base::Ip::parse(value)) return true;
  std::string_view name = value;
  if (name.starts_with("*.")) name.remove_prefix(2);
  else if (name.starts_with('*')) name.remove_prefix(name.starts_with("*-") ? 2 : 1);   // "*foo.com", a suffix for Istio too
  if (is_dns_name(name)) return true;
  at.error(fmt::format("host {} is not a DNS name{}", quoted(value), reason(value)));
  return false;
}

bool host(const Cursor& at) { return host_value(at, at.text()); }

void export_to(const Cursor& list, bool nobody_allowed) {
  std::vector<std::string> seen;
  for (const Cursor& item : list.items()) {
    const std::string value = item.text();
    if (value == "~" && !nobody_allowed) item.error("~ (nobody) is only for ServiceEntry; use \".\" for the own namespace");
    else if (value != "." && value != "*" && value != "~" && !is_dns_label(value)) item.error(fmt::format("{} is no namespace; use a name, \".\" or \"*\"", quoted(value)));
    if (std::find(seen.begin(), seen.end(), value) != seen.end()) item.error(fmt::format("{} stands twice in exportTo", value));
    seen.push_back(value);
  }
  for (const std::string_view alone : {"*", "~"})
    if (seen.size() > 1 && std::find(seen.begin(), seen.end(), alone) != seen.end())
      list.error(fmt::format("exportTo has {} and others; {} must stand alone", alone, alone));
}

void subset_name(const Cursor& at) {
  const std::string value = at.text();
  if (!is_dns_label(value)) at.error(fmt::format("{} is no subset name; use letters, digits and '-'", quoted(value)));
}

void cidr(const Cursor& at) {
  if (!base::Cidr::parse(at.text())) at.error(fmt::format("{} is no IP address or CIDR block", quoted(at.text())));
}

std::optional<base::Regex> regex(const Cursor& at) {
  const std::string pattern = at.text();
  auto compiled = base::Regex::compile(pattern);
  if (compiled) return std::move(*compiled);
  at.error(fmt::format("regex {} does not compile: {}{}", quoted(pattern), compiled.error(), position(compiled.error(), pattern)));
  return std::nullopt;
}

StringMatch string_match(const Cursor& at) {
  StringMatch out;
  out.kind = StringMatch::Kind::kPresent;
  out.at = at.mark();
  int said = 0;
  for (const std::string_view form : {"exact", "prefix", "regex"}) {
    const Cursor value = at[form];
    if (!value) continue;
    ++said;
    out.value = value.text();
    out.at = value.mark();
    if (form == "exact") {
      out.kind = StringMatch::Kind::kExact;
    } else if (form == "prefix") {
      out.kind = StringMatch::Kind::kPrefix;
      if (out.value.empty()) value.error("an empty prefix; leave the match out to take everything");
    } else if (out.value != "*") {
      out.kind = StringMatch::Kind::kRegex;
      if (out.value.empty()) value.error("an empty regex; leave the match out to take everything");
      else out.regex = regex(value);
    }
  }
  if (said > 1) at.error("only one of exact, prefix and regex can be given");
  return out;
}

HeaderOperations header_operations(const Cursor& at, bool request) {
  HeaderOperations out;
  out.set = header_map(at["set"], request);
  out.add = header_map(at["add"], request);
  for (const Cursor& name : at["remove"].items()) {
    header_name(name, name.text(), request, true);
    out.remove.push_back(lower(name.text()));
  }
  return out;
}

}  // namespace api::rules
