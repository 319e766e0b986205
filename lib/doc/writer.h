#pragma once

#include <string>
#include <string_view>

#include "doc/node.h"

namespace doc {

std::string to_yaml(const Node& node);                 // block style, two blanks; ends with a newline; reads back equal
std::string to_json(const Node& node, bool pretty = false);   // scalars that are plain numbers, bools or null stay so
// Escapes text into a JSON string, quotes included. Bytes that are no UTF-8 become U+FFFD.
void append_json_string(std::string& out, std::string_view text);

// Builds JSON text piece by piece without a tree, for answers of the admin port. Commas and quoting are its business.
class JsonWriter {
 public:
  explicit JsonWriter(bool pretty = false) : pretty_(pretty) {}
  JsonWriter& begin_object();
  JsonWriter& end_object();
  JsonWriter& begin_array();
  JsonWriter& end_array();
  JsonWriter& key(std::string_view name);
  JsonWriter& value(std::string_view text);
  JsonWriter& value(const char* text) { return value(std::string_view(text)); }
  JsonWriter& value(const std::string& text) { return value(std::string_view(text)); }
  JsonWriter& value(bool truth);
  JsonWriter& value(int64_t number);
  JsonWriter& value(uint64_t number);
  JsonWriter& value(int number) { return value(static_cast<int64_t>(number)); }
  JsonWriter& value(unsigned number) { return value(static_cast<uint64_t>(number)); }
  JsonWriter& value(double number);
  JsonWriter& null();
  template <class T> JsonWriter& member(std::string_view name, const T& v) {
    key(name);
    return value(v);
  }
  std::string take() { return std::move(out_); }

 private:
  void separate();
  std::string out_;
  std::string stack_;                // one character per open level: what comes next
  bool pretty_;
};

}  // namespace doc
