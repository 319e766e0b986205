#include "telemetry/access_log.h"

#include <gtest/gtest.h>

#include <algorithm>

namespace telemetry {
namespace {

using namespace std::chrono_literals;

// A request as the pump would describe it.
struct Line {
  Line() {
    request.add("x-forwarded-for", "10.1.1.9");
    request.add("user-agent", "curl/8");
    request.add("x-request-id", "rid-1");
    response.add("x-envoy-upstream-service-time", "7");
    entry.start = std::chrono::sys_days(std::chrono::August / 22 / 2026) + 10h + 11min + 12s + 345ms;
    entry.duration = 12ms;
    entry.method = "GET";
    entry.scheme = "http";
    entry.authority = "reviews:9080";
    entry.path = "/reviews/1?a=b";
    entry.protocol = "HTTP/1.1";
    entry.response_code = 200;
    entry.details = "via_upstream";
    entry.bytes_received = 3;
    entry.bytes_sent = 295;
    entry.cluster = "outbound|9080|v1|reviews.default.svc.cluster.local";
    entry.route_name = "default";
    entry.upstream_host = base::SocketAddress::parse("10.0.0.7:9080");
    entry.upstream_local = base::SocketAddress::parse("10.0.0.5:41000");
    entry.downstream_local = base::SocketAddress::parse("10.96.1.1:9080");
    entry.downstream_remote = base::SocketAddress::parse("[fd00::5]:50000");
    entry.request = &request;
    entry.response = &response;
  }
  std::string with(const AccessLogFormat& format) const {
    std::string out;
    format.append(out, entry);
    return out;
  }
  std::string text(std::string_view format) const {
    std::vector<std::string> problems;
    const std::string line = with(AccessLogFormat::text(format, problems));
    EXPECT_EQ(problems, std::vector<std::string>());
    EXPECT_TRUE(line.ends_with('\n'));
    return line.substr(0, line.size() - 1);
  }
  std::string json(std::vector<std::pair<std::string, std::string>> fields) const {
    std::vector<std::string> problems;
    const std::string line = with(AccessLogFormat::json(fields, problems));
    EXPECT_EQ(problems, std::vector<std::string>());
    return line.substr(0, line.size() - 1);
  }
  base::Fields request{std::pmr::get_default_resource()}, response{std::pmr::get_default_resource()};
  LogEntry entry;
};

TEST(AccessLog, IstioText_AllKnown) {
  EXPECT_EQ(Line().with(AccessLogFormat::istio_text()),
            "[2026-08-22T10:11:12.345Z] \"GET /reviews/1?a=b HTTP/1.1\" 200 - via_upstream - \"-\" 3 295 12 7 \"10.1.1.9\" \"curl/8\" "
            "\"rid-1\" \"reviews:9080\" \"10.0.0.7:9080\" outbound|9080|v1|reviews.default.svc.cluster.local 10.0.0.5:41000 "
            "10.96.1.1:9080 [fd00::5]:50000 - default\n");
}

TEST(AccessLog, IstioText_NothingKnown) {
  LogEntry entry;
  std::string out;
  AccessLogFormat::istio_text().append(out, entry);
  EXPECT_EQ(out, "[1970-01-01T00:00:00.000Z] \"- - -\" 0 - - - \"-\" 0 0 0 - \"-\" \"-\" \"-\" \"-\" \"-\" - - - - - -\n");
}

TEST(AccessLog, IstioJson_KeysSortedNumbersTypedMissingNull) {
  Line line;
  EXPECT_EQ(line.with(AccessLogFormat::istio_json()),
            R"({"authority":"reviews:9080","bytes_received":3,"bytes_sent":295,"connection_termination_details":null,)"
            R"("downstream_local_address":"10.96.1.1:9080","downstream_remote_address":"[fd00::5]:50000","duration":12,"method":"GET",)"
            R"("path":"/reviews/1?a=b","protocol":"HTTP/1.1","request_id":"rid-1","requested_server_name":null,"response_code":200,)"
            R"("response_code_details":"via_upstream","response_flags":"-","route_name":"default","start_time":"2026-08-22T10:11:12.345Z",)"
            R"("upstream_cluster":"outbound|9080|v1|reviews.default.svc.cluster.local","upstream_host":"10.0.0.7:9080",)"
            R"("upstream_local_address":"10.0.0.5:41000","upstream_service_time":"7","upstream_transport_failure_reason":null,)"
            R"("user_agent":"curl/8","x_forwarded_for":"10.1.1.9"})"
            "\n");
}

TEST(AccessLog, RewrittenPath_TheClientsIsPrinted) {
  Line line;
  line.entry.original_path = "/old";
  EXPECT_EQ(line.text("%REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% %REQ(:PATH)%"), "/old /reviews/1?a=b");
  line.entry.original_path = {};
  line.request.add("x-envoy-original-path", "/from-header");
  EXPECT_EQ(line.text("%REQ(X-ENVOY-ORIGINAL-PATH?:PATH)%"), "/from-header");
}

TEST(AccessLog, CustomText_OperatorsLengthsAndPercent) {
  Line line;
  line.request.add("x-a", "hello");
  EXPECT_EQ(line.text("%REQ(X-A)% %RESPONSE_CODE% %ROUTE_NAME% %REQ(:PATH):4% %PROTOCOL% 100%%\n"), "hello 200 default /rev HTTP/1.1 100%");
  EXPECT_EQ(line.text("%REQ(X-NONE)% %REQ(X-NONE?X-A)% %REQ(X-NONE?X-NEITHER)% %RESP(X-NONE)% %TRAILER(GRPC-STATUS)%"), "- hello - - -");
  EXPECT_EQ(line.text("%REQ(:SCHEME)% %REQ(:METHOD)% %REQ(HOST)%"), "http GET reviews:9080");
  EXPECT_EQ(line.text("%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT% %UPSTREAM_REMOTE_ADDRESS_WITHOUT_PORT% %UPSTREAM_REMOTE_PORT% %DOWNSTREAM_LOCAL_PORT%"),
            "fd00::5 10.0.0.7 9080 9080");
  line.entry.flags = "URX,UF";
  line.entry.attempts = 3;
  EXPECT_EQ(line.text("%RESPONSE_FLAGS% %UPSTREAM_REQUEST_ATTEMPT_COUNT% %RESPONSE_DURATION%"), "URX,UF 3 -");
}

TEST(AccessLog, CustomTime_FollowsStrftimeAndEnvoysFractions) {
  Line line;
  EXPECT_EQ(line.text("%START_TIME(%Y/%m/%d %H:%M:%S.%3f %s)%"), "2026/08/22 10:11:12.345 1787393472");
  EXPECT_EQ(line.text("%START_TIME(%E3S|%f|%j)%"), "12.345|345000000|234");
}

TEST(AccessLog, CustomJson_MixedValuesAreStrings) {
  Line line;
  line.request.add("x-a", "1");
  EXPECT_EQ(line.json({{"b", "%RESPONSE_CODE% %ROUTE_NAME%/%REQ(X-NONE)%"}, {"a", "%BYTES_SENT%"}, {"c", "fixed \"text\""}, {"d", "%REQ(X-NONE)%"}}),
            R"({"a":295,"b":"200 default/-","c":"fixed \"text\"","d":null})");
  EXPECT_EQ(line.json({}), "{}");
}

TEST(AccessLog, UnknownOperator_PrintsMissingAndIsNamed) {
  Line line;
  std::vector<std::string> problems;
  EXPECT_EQ(line.with(AccessLogFormat::text("a %FILTER_STATE(x:PLAIN)% %DYNAMIC_METADATA(a:b)% z", problems)), "a - - z\n");
  ASSERT_EQ(problems.size(), 2u);
  EXPECT_NE(problems[0].find("FILTER_STATE"), std::string::npos);
  EXPECT_NE(problems[1].find("DYNAMIC_METADATA"), std::string::npos);
}

TEST(AccessLog, BrokenOperator_StaysTextAndIsNamed) {
  Line line;
  for (const char* format : {"50% off", "%REQ(:PATH", "%REQ(:PATH):x%", "%", "%lower%", "%PROTOCOL"}) {
    std::vector<std::string> problems;
    EXPECT_EQ(line.with(AccessLogFormat::text(format, problems)), std::string(format) + "\n");
    EXPECT_FALSE(problems.empty()) << format;
  }
}

TEST(AccessLog, HostileValues_StayOneLineWithBalancedQuotes) {
  Line line;
  std::string all;
  for (int byte = 0; byte < 256; ++byte) all += static_cast<char>(byte);
  line.request.set("user-agent", all);
  line.entry.path = "/\" 200 - \"\n[fake] \\";
  line.entry.sni = "a b\"\n.example";
  for (const auto& format : {AccessLogFormat::istio_text(), AccessLogFormat::istio_json()}) {
    const std::string out = line.with(format);
    EXPECT_EQ(std::ranges::count(out, '\n'), 1);
    for (const char c : out.substr(0, out.size() - 1)) EXPECT_FALSE(static_cast<unsigned char>(c) < 0x20 || c == 0x7f);
    int quotes = 0;
    for (size_t i = 0; i < out.size(); ++i) {
      if (out[i] == '\\') ++i;
      else if (out[i] == '"') ++quotes;
    }
    EXPECT_EQ(quotes % 2, 0);
  }
  EXPECT_NE(line.with(AccessLogFormat::istio_text()).find("\"GET /\\\" 200 - \\\"\\x0a[fake] \\\\ HTTP/1.1\""), std::string::npos);
  EXPECT_NE(line.with(AccessLogFormat::istio_text()).find(" a_b__.example default\n"), std::string::npos);
}

TEST(AccessLog, Json_KeepsUtf8AndEscapesTheRest) {
  Line line;
  const auto a = [&](std::string_view value) {
    line.request.set("x-a", value);
    return line.json({{"a", "%REQ(X-A)%"}});
  };
  EXPECT_EQ(a("gr\xc3\xbc\xc3\x9f \xe2\x82\xac \xf0\x9f\x98\x80"), "{\"a\":\"gr\xc3\xbc\xc3\x9f \xe2\x82\xac \xf0\x9f\x98\x80\"}");
  EXPECT_EQ(a("\xff"), R"({"a":"\\xff"})");
  EXPECT_EQ(a("\xc0\xaf"), R"({"a":"\\xc0\\xaf"})") << "overlong";
  EXPECT_EQ(a("\xed\xa0\x80"), R"({"a":"\\xed\\xa0\\x80"})") << "surrogate";
  EXPECT_EQ(a("\xe2\x82"), R"({"a":"\\xe2\\x82"})") << "cut short";
  EXPECT_EQ(a("tab\there"), R"({"a":"tab\u0009here"})");
}

TEST(AccessLog, EnoughCapacity_IsNotReallocated) {
  Line line;
  std::string out;
  out.reserve(4096);
  const char* const before = out.data();
  for (const auto& format : {AccessLogFormat::istio_text(), AccessLogFormat::istio_json()}) {
    out.clear();
    format.append(out, line.entry);
    EXPECT_GT(out.size(), 200u);
  }
  EXPECT_EQ(out.data(), before);
}

}  // namespace
}  // namespace telemetry
