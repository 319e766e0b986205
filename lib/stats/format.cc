// The two text forms of a scrape: Prometheus 0.0.4 and Envoy's `name: value` lines.
#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include "stats/registry.h"

namespace stats {
namespace {

using Sample = Registry::Sample;

bool word(char c, bool colon) noexcept {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || (colon && c == ':');
}

// Names that Prometheus would refuse (dots of Envoy's stats, a user's tag) keep their letters and get underscores.
void append_name(std::string& out, std::string_view name, bool colon) {
  if (name.empty() || (name[0] >= '0' && name[0] <= '9')) out += '_';
  for (const char c : name) out += word(c, colon) ? c : '_';
}

void append_value(std::string& out, std::string_view value) {
  for (const char c : value) {
    if (c == '\n') {
      out += "\\n";
      continue;
    }
    if (c == '\\' || c == '"') out += '\\';
    out += c;
  }
}

std::string number(double value) {
  if (value == std::floor(value) && std::abs(value) < 1e15) return fmt::format("{:.0f}", value);
  return fmt::format("{}", value);
}

// {a="1",b="2",le="5"}; nothing at all when there is no label.
void append_labels(std::string& out, const Labels& labels, std::string_view le) {
  if (labels.empty() && le.empty()) return;
  char separator = '{';
  for (const auto& [key, value] : labels) {
    out += separator;
    append_name(out, key, false);
    out += "=\"";
    append_value(out, value);
    out += '"';
    separator = ',';
  }
  if (!le.empty()) fmt::format_to(std::back_inserter(out), "{}le=\"{}\"", separator, le);
  out += '}';
}

uint64_t count_of(const Sample& sample) noexcept {
  uint64_t count = 0;
  for (const uint64_t n : sample.buckets) count += n;
  return count;
}

bool shown(const Sample& sample, bool used_only, std::string_view filter) noexcept {
  if (used_only && (sample.kind == Kind::kHistogram ? count_of(sample) : sample.value) == 0) return false;
  return sample.name.find(filter) != std::string_view::npos;
}

void append_line(std::string& out, std::string_view name, std::string_view suffix, const Labels& labels, std::string_view le, std::string_view value) {
  append_name(out, name, true);
  out += suffix;
  append_labels(out, labels, le);
  out += ' ';
  out += value;
  out += '\n';
}

void append_histogram(std::string& out, const Sample& sample) {
  uint64_t below = 0;
  for (size_t i = 0; i < sample.buckets.size(); ++i) {
    below += sample.buckets[i];
    const bool last = i + 1 == sample.buckets.size();
    append_line(out, sample.name, "_bucket", *sample.labels, last ? "+Inf" : number((*sample.bounds)[i]), fmt::to_string(below));
  }
  append_line(out, sample.name, "_sum", *sample.labels, {}, number(sample.sum));
  append_line(out, sample.name, "_count", *sample.labels, {}, fmt::to_string(below));
}

// The value below which `share` of the samples lie, as if they stood evenly within their bucket.
double quantile(const Sample& sample, double share) noexcept {
  const double wanted = share * static_cast<double>(count_of(sample));
  double below = 0;
  for (size_t i = 0; i < sample.bounds->size(); ++i) {
    const double here = static_cast<double>(sample.buckets[i]);
    const double low = i ? (*sample.bounds)[i - 1] : 0, high = (*sample.bounds)[i];
    if (here > 0 && below + here >= wanted) return low + (high - low) * std::max(0.0, wanted - below) / here;
    below += here;
  }
  return sample.bounds->empty() ? 0 : sample.bounds->back();   // in the last bucket, which has no upper end
}

std::string quantiles(const Sample& sample) {
  if (count_of(sample) == 0) return "No recorded values";
  std::string out;
  // Envoy's list and form: P<quantile>(since the last flush, since the start). We keep no interval, which Envoy writes as nan.
  for (const double percent : {0.0, 25.0, 50.0, 75.0, 90.0, 95.0, 99.0, 99.5, 99.9, 100.0})
    fmt::format_to(std::back_inserter(out), "{}P{}(nan,{:.6g})", out.empty() ? "" : " ", number(percent), quantile(sample, percent / 100));
  return out;
}

}  // namespace

std::string Registry::prometheus(bool used_only, std::string_view filter) const {
  static constexpr std::string_view kTypes[] = {"counter", "gauge", "histogram"};
  std::string out;
  std::string_view family;
  for (const Sample& sample : merged()) {
    if (!shown(sample, used_only, filter)) continue;
    if (out.empty() || sample.name != family) {
      family = sample.name;
      out += "# TYPE ";
      append_name(out, family, true);
      fmt::format_to(std::back_inserter(out), " {}\n", kTypes[static_cast<size_t>(sample.kind)]);
    }
    if (sample.kind == Kind::kHistogram)
      append_histogram(out, sample);
    else
      append_line(out, sample.name, {}, *sample.labels, {}, fmt::to_string(sample.value));
  }
  return out;
}

std::string Registry::text(bool used_only, std::string_view filter) const {
  std::string out;
  for (const Sample& sample : merged()) {
    if (!shown(sample, used_only, filter)) continue;
    out += sample.name;
    for (const auto& [key, value] : *sample.labels) fmt::format_to(std::back_inserter(out), ".{}.{}", key, value);
    fmt::format_to(std::back_inserter(out), ": {}\n", sample.kind == Kind::kHistogram ? quantiles(sample) : fmt::to_string(sample.value));
  }
  return out;
}

}  // namespace stats
