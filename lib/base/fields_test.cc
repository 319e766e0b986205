#include "base/fields.h"

#include <memory_resource>
#include <string>
#include <utility>

#include <gtest/gtest.h>

namespace base {
namespace {

TEST(Fields, KnownNames_HaveTheirNumber) {
  EXPECT_EQ(field_id("host"), FieldId::kHost);
  EXPECT_EQ(field_id("x-envoy-attempt-count"), FieldId::kEnvoyAttemptCount);
  EXPECT_EQ(field_id("x-end-user"), FieldId::kOther);
  EXPECT_EQ(field_name(FieldId::kTe), "te");
}

TEST(Fields, Set_KeepsPlaceOfFirstAndRemovesOthers) {
  std::pmr::monotonic_buffer_resource arena;
  Fields fields(&arena);
  fields.add("a", "1");
  fields.add("b", "2");
  fields.add("a", "3");
  fields.set("a", "4");
  ASSERT_EQ(fields.size(), 2u);
  EXPECT_EQ(fields.all()[0].value, "4");
  fields.set(FieldId::kServer, "istio-envoy");
  EXPECT_EQ(fields.get("server"), "istio-envoy");
  EXPECT_EQ(fields.remove("b"), 1u);
  EXPECT_EQ(fields.find("b"), nullptr);
}

TEST(Fields, Keep_CopiesText) {
  std::pmr::monotonic_buffer_resource arena;
  Fields fields(&arena);
  std::string text = "value";
  const auto kept = fields.keep(text);
  text = "other";
  EXPECT_EQ(kept, "value");
}

TEST(Fields, FindsWhatIsThere_HoweverItCame) {
  Fields fields(std::pmr::get_default_resource());
  EXPECT_EQ(fields.find(FieldId::kHost), nullptr);
  fields.add("host", "a");
  fields.add(FieldId::kOrigin, "one");
  fields.set(FieldId::kDate, "today");
  fields.set("server", "us");
  const Field row{.name = "te", .value = "trailers", .id = FieldId::kTe};
  fields.add(row);
  EXPECT_EQ(fields.get(FieldId::kHost), "a");
  EXPECT_EQ(fields.get(FieldId::kOrigin), "one");
  EXPECT_EQ(fields.get(FieldId::kDate), "today");
  EXPECT_EQ(fields.get(FieldId::kServer), "us");
  EXPECT_EQ(fields.get(FieldId::kTe), "trailers");
  EXPECT_EQ(fields.find(FieldId::kCookie), nullptr);
}

TEST(Fields, RemovedAndAddedAgain_IsFound) {
  Fields fields(std::pmr::get_default_resource());
  EXPECT_EQ(fields.remove(FieldId::kHost), 0u);
  fields.add("host", "a");
  fields.add("host", "b");
  EXPECT_EQ(fields.remove(FieldId::kHost), 2u);
  EXPECT_EQ(fields.find(FieldId::kHost), nullptr);
  fields.set(FieldId::kHost, "c");
  fields.set(FieldId::kHost, "d");
  EXPECT_EQ(fields.count(FieldId::kHost), 1u);
  EXPECT_EQ(fields.get(FieldId::kHost), "d");
  fields.remove_if([](const Field& field) { return field.id == FieldId::kHost; });
  EXPECT_EQ(fields.remove(FieldId::kHost), 0u);
  fields.add("host", "e");
  Fields moved = std::move(fields);
  EXPECT_EQ(moved.get(FieldId::kHost), "e");
  moved.clear();
  EXPECT_EQ(moved.find(FieldId::kHost), nullptr);
}

}  // namespace
}  // namespace base
