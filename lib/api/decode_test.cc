#include <cstdlib>
#include <fstream>
#include <sstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "api/resource.h"
#include "doc/reader.h"

namespace api {
namespace {

using testing::HasSubstr;

struct Decoded {
  std::vector<std::shared_ptr<const Resource>> objects;
  std::vector<std::string> lines;   // of all problems
};

Decoded decode_text(std::string_view text, std::string_view name = "a.yaml") {
  Decoded out;
  const doc::File file = doc::read(name, text);
  for (const doc::Problem& problem : file.problems) out.lines.push_back(line_of(problem));
  for (const doc::Document& document : file.documents)
    for (const auto& object : decode(document)) {
      for (const doc::Problem& problem : object->problems) out.lines.push_back(line_of(problem));
      out.objects.push_back(object);
    }
  return out;
}

std::string read_file(const std::string& path) {
  std::ifstream in(path);
  std::stringstream text;
  text << in.rdbuf();
  return text.str();
}

// What is said about the mistakes that people's files really have. UPDATE_GOLDEN=1 writes the expectations anew.
class Golden : public testing::TestWithParam<const char*> {};

TEST_P(Golden, ProblemsAreThese) {
  const std::string base = std::string(SLUICE_SOURCE_DIR) + "/lib/api/testdata/" + GetParam();
  std::string lines;
  for (const std::string& line : decode_text(read_file(base + ".yaml"), std::string(GetParam()) + ".yaml").lines) lines += line + '\n';
  if (std::getenv("UPDATE_GOLDEN")) std::ofstream(base + ".problems") << lines;
  EXPECT_EQ(read_file(base + ".problems"), lines);
  EXPECT_FALSE(lines.empty());
}
INSTANTIATE_TEST_SUITE_P(Files, Golden, testing::Values("bootstrap", "lost_indentation", "http_beside_spec", "cors_one_level_too_deep", "old_words", "foreign", "gateway"),
                         [](const auto& info) { return std::string(info.param); });

struct Wrong {
  const char* what;
  const char* kind;
  const char* spec;
  std::vector<std::string> says;   // in the one error
};
class Refused : public testing::TestWithParam<Wrong> {};

TEST_P(Refused, OneErrorThatSaysWhereAndWhat) {
  const Decoded decoded = decode_text(std::string("apiVersion: networking.istio.io/v1\nkind: ") + GetParam().kind + "\nmetadata: {name: x}\nspec: " + GetParam().spec + "\n");
  ASSERT_EQ(decoded.objects.size(), 1u) << testing::PrintToString(decoded.lines);
  EXPECT_FALSE(decoded.objects[0]->valid);
  EXPECT_TRUE(std::holds_alternative<std::monostate>(decoded.objects[0]->typed));
  std::vector<std::string> errors;
  for (const std::string& line : decoded.lines)
    if (line.find(": error ") != std::string::npos) errors.push_back(line);
  ASSERT_EQ(errors.size(), 1u) << testing::PrintToString(errors);
  for (const std::string& text : GetParam().says) EXPECT_THAT(errors[0], HasSubstr(text));
}

#define ROUTE "route: [{destination: {host: c}}]"
#define VS "VirtualService"
INSTANTIATE_TEST_SUITE_P(
    VirtualServices, Refused,
    testing::Values(
        Wrong{"no_rules", VS, "{hosts: [a.io]}", {"http, tls or tcp"}}, Wrong{"no_action", VS, "{hosts: [a.io], http: [{match: [{uri: {prefix: /}}]}]}", {"spec.http[0]", "route"}},
        Wrong{"hosts_empty", VS, "{hosts: [], gateways: [g], http: [{" ROUTE "}]}", {"hosts is empty"}}, Wrong{"hosts_text", VS, "{hosts: www.a.io, http: [{" ROUTE "}]}", {"spec.hosts", "list is expected", "[www.a.io]"}},
        Wrong{"star_on_mesh", VS, "{hosts: ['*'], http: [{" ROUTE "}]}", {"host *", "gateways"}}, Wrong{"star_with_mesh", VS, "{hosts: ['*'], gateways: [g, mesh], http: [{" ROUTE "}]}", {"host *"}},
        Wrong{"host_twice", VS, "{hosts: [a.io, A.io], http: [{" ROUTE "}]}", {"twice"}}, Wrong{"hosts_overlap", VS, "{hosts: ['*.a.io', b.a.io], http: [{" ROUTE "}]}", {"overlap"}},
        Wrong{"host_form", VS, "{hosts: [a_b..io], http: [{" ROUTE "}]}", {"a_b..io", "not a DNS name"}}, Wrong{"host_wildcards", VS, "{hosts: ['*.*.com'], http: [{" ROUTE "}]}", {"leftmost"}},
        Wrong{"host_empty", VS, "{hosts: [''], http: [{" ROUTE "}]}", {"not a DNS name"}}, Wrong{"host_quotes", VS, "{hosts: [“a.io”], http: [{" ROUTE "}]}", {"typographic quotes"}},
        Wrong{"host_variable", VS, "{hosts: ['${HOST}'], http: [{" ROUTE "}]}", {"unexpanded variable"}}, Wrong{"host_port", VS, "{hosts: ['a.io:80'], http: [{" ROUTE "}]}", {"leave the port out"}},
        Wrong{"weight_negative", VS, "{hosts: [a.io], http: [{route: [{destination: {host: c}, weight: -5}]}]}", {"a.yaml:4:", "spec.http[0].route[0].weight: -5 is negative; use 0 or more"}},
        Wrong{"weight_text", VS, "{hosts: [a.io], http: [{route: [{destination: {host: c}, weight: \"80\"}]}]}", {"\"80\" is text", "whole number"}},
        Wrong{"weight_real", VS, "{hosts: [a.io], http: [{route: [{destination: {host: c}, weight: 1.5}]}]}", {"no whole number"}},
        Wrong{"weights_zero", VS, "{hosts: [a.io], http: [{route: [{destination: {host: c}, weight: 0}, {destination: {host: d}}]}]}", {"weights", "0"}},
        Wrong{"port_zero", VS, "{hosts: [a.io], http: [{route: [{destination: {host: c, port: {number: 0}}}]}]}", {"0 is out of range; use 1–65535"}},
        Wrong{"port_large", VS, "{hosts: [a.io], http: [{route: [{destination: {host: c, port: {number: 70000}}}]}]}", {"70000", "1–65535"}},
        Wrong{"port_plain", VS, "{hosts: [a.io], http: [{route: [{destination: {host: c, port: 80}}]}]}", {"destination.port", "a number where a map of fields is expected: 80"}},
        Wrong{"destination_missing", VS, "{hosts: [a.io], http: [{route: [{weight: 1}]}]}", {"the field destination is missing"}},
        Wrong{"destination_wildcard", VS, "{hosts: [a.io], http: [{route: [{destination: {host: '*.b.io'}}]}]}", {"wildcard"}},
        Wrong{"empty_entry", VS, "{hosts: [a.io], http: [{route: [null]}]}", {"spec.http[0].route[0]", "empty list entry"}},
        Wrong{"subset_form", VS, "{hosts: [a.io], http: [{route: [{destination: {host: c, subset: 'no name'}}]}]}", {"no subset name"}},
        Wrong{"unknown_field", VS, "{hosts: [a.io], http: [{timout: 1s, " ROUTE "}]}", {"UNKNOWN_FIELD", "spec.http[0].timout", "did you mean timeout?"}},
        Wrong{"field_of_inner", VS, "{hosts: [a.io], http: [{attempts: 1, " ROUTE "}]}", {"did you mean spec.http[0].retries.attempts (indent by 2)?"}},
        Wrong{"field_of_entries", VS, "{hosts: [a.io], http: [{uri: {exact: /}, " ROUTE "}]}", {"uri belongs to the entries of spec.http[0].match"}},
        Wrong{"redirect_and_route", VS, "{hosts: [a.io], http: [{redirect: {uri: /x}, " ROUTE "}]}", {"redirect and route"}},
        Wrong{"redirect_code", VS, "{hosts: [a.io], http: [{redirect: {redirectCode: 418}}]}", {"418", "307"}},
        Wrong{"redirect_line_end", VS, "{hosts: [a.io], http: [{redirect: {authority: \"a.io\\r\\nX: 1\"}}]}", {"line end"}},
        Wrong{"two_mirrors", VS, "{hosts: [a.io], http: [{mirror: {host: c}, mirrors: [{destination: {host: d}}], " ROUTE "}]}", {"mirror and mirrors"}},
        Wrong{"two_rewrites", VS, "{hosts: [a.io], http: [{rewrite: {uri: /, uriRegexRewrite: {match: a, rewrite: b}}, " ROUTE "}]}", {"uri and uriRegexRewrite"}},
        Wrong{"empty_rewrite", VS, "{hosts: [a.io], http: [{rewrite: {}, " ROUTE "}]}", {"rewrite is empty"}},
        Wrong{"attempts_zero", VS, "{hosts: [a.io], http: [{retries: {attempts: 0, perTryTimeout: 1s}, " ROUTE "}]}", {"attempts is 0"}},
        Wrong{"retry_word", VS, "{hosts: [a.io], http: [{retries: {attempts: 1, retryOn: '5xx, whenever,503'}, " ROUTE "}]}", {"whenever"}}),
    [](const auto& info) { return std::string(info.param.what); });
INSTANTIATE_TEST_SUITE_P(
    VirtualServices2, Refused,
    testing::Values(
        Wrong{"timeout_fine", VS, "{hosts: [a.io], http: [{timeout: 0.0001s, " ROUTE "}]}", {"timeout", "whole milliseconds"}}, Wrong{"timeout_zero", VS, "{hosts: [a.io], http: [{timeout: 0s, " ROUTE "}]}", {"too short"}},
        Wrong{"timeout_plain", VS, "{hosts: [a.io], http: [{timeout: 10, " ROUTE "}]}", {"10 is no duration", "1.5s"}}, Wrong{"timeout_negative", VS, "{hosts: [a.io], http: [{timeout: -1s, " ROUTE "}]}", {"negative"}},
        Wrong{"fault_percentage", VS, "{hosts: [a.io], http: [{fault: {abort: {httpStatus: 500, percentage: {value: 101}}}, " ROUTE "}]}", {"101", "0–100"}},
        Wrong{"fault_nan", VS, "{hosts: [a.io], http: [{fault: {abort: {httpStatus: 500, percentage: {value: .nan}}}, " ROUTE "}]}", {".nan"}},
        Wrong{"fault_without_type", VS, "{hosts: [a.io], http: [{fault: {abort: {percentage: {value: 1}}}, " ROUTE "}]}", {"httpStatus or grpcStatus"}},
        Wrong{"header_pseudo", VS, "{hosts: [a.io], http: [{headers: {request: {set: {':path': /x}}}, " ROUTE "}]}", {":path"}},
        Wrong{"header_form", VS, "{hosts: [a.io], http: [{headers: {response: {add: {'a b': x}}}, " ROUTE "}]}", {"no header name"}},
        Wrong{"host_in_response", VS, "{hosts: [a.io], http: [{headers: {response: {set: {Host: x}}}, " ROUTE "}]}", {"Host cannot be set"}},
        Wrong{"header_value_number", VS, "{hosts: [a.io], http: [{headers: {request: {set: {a: 1}}}, " ROUTE "}]}", {"text is expected, write \"1\""}},
        Wrong{"claim_on_mesh", VS, "{hosts: [a.io], http: [{match: [{headers: {'@request.auth.claims.group': {exact: x}}}], " ROUTE "}]}", {"claim", "gateways"}},
        Wrong{"regex", VS, "{hosts: [a.io], http: [{match: [{uri: {regex: '/a(['}}], " ROUTE "}]}", {"uri.regex", "regex /a([ does not compile", "at character"}},
        Wrong{"two_forms", VS, "{hosts: [a.io], http: [{match: [{uri: {exact: /, prefix: /}}], " ROUTE "}]}", {"only one of"}},
        Wrong{"export_star", VS, "{hosts: [a.io], exportTo: ['*', team], http: [{" ROUTE "}]}", {"exportTo has *"}}, Wrong{"export_nobody", VS, "{hosts: [a.io], exportTo: ['~'], http: [{" ROUTE "}]}", {"~"}},
        Wrong{"gateway_form", VS, "{hosts: [a.io], gateways: ['a/b/c'], http: [{" ROUTE "}]}", {"a/b/c"}},
        Wrong{"cors_method", VS, "{hosts: [a.io], http: [{corsPolicy: {allowMethods: [get]}, " ROUTE "}]}", {"get", "capitals"}},
        Wrong{"bool_text", VS, "{hosts: [a.io], http: [{match: [{ignoreUriCase: 'true'}], " ROUTE "}]}", {"true or false"}},
        Wrong{"map_as_list", VS, "{hosts: [a.io], http: [{match: [{uri: [{exact: /}]}], " ROUTE "}]}", {"a list where a map of fields is expected; remove the '- '"}},
        Wrong{"tcp_without_route", VS, "{hosts: [a.io], tcp: [{match: [{port: 80}]}]}", {"spec.tcp[0]", "no route"}},
        Wrong{"hash_keys", "DestinationRule", "{host: c, trafficPolicy: {loadBalancer: {consistentHash: {httpHeaderName: x, useSourceIp: true}}}}", {"consistentHash has several keys"}},
        Wrong{"enum", "DestinationRule", "{host: c, trafficPolicy: {loadBalancer: {simple: Least_Conn}}}", {"Least_Conn is no legal value", "LEAST_REQUEST, ROUND_ROBIN, RANDOM"}},
        Wrong{"subset_twice", "DestinationRule", "{host: c, subsets: [{name: a}, {name: a}]}", {"subset a stands twice"}}, Wrong{"no_host", "DestinationRule", "{subsets: [{name: a}]}", {"host is missing"}},
        Wrong{"istio_mutual", "DestinationRule", "{host: c, trafficPolicy: {tls: {mode: ISTIO_MUTUAL, privateKey: /k}}}", {"privateKey must not be set"}},
        Wrong{"https_without_tls", "Gateway", "{servers: [{port: {number: 443, name: h, protocol: HTTPS}, hosts: [a.io]}]}", {"needs a tls block"}},
        Wrong{"http_with_tls", "Gateway", "{servers: [{port: {number: 80, name: h, protocol: HTTP}, hosts: [a.io], tls: {mode: SIMPLE, credentialName: x}}]}", {"HTTP takes no tls"}},
        Wrong{"protocol", "Gateway", "{servers: [{port: {number: 80, name: h, protocol: HTP}, hosts: [a.io]}]}", {"HTP is no protocol", "HTTP, HTTP2"}},
        Wrong{"no_servers", "Gateway", "{selector: {a: b}}", {"servers is empty"}}, Wrong{"server_host", "Gateway", "{servers: [{port: {number: 80, name: h, protocol: HTTP}, hosts: ['./a b']}]}", {"\"a b\" is not a DNS name"}},
        Wrong{"bare_star", "ServiceEntry", "{hosts: ['*'], ports: [{number: 80, name: h}]}", {"host *"}},
        Wrong{"static_name", "ServiceEntry", "{hosts: [a.io], resolution: STATIC, endpoints: [{address: b.io}]}", {"no IP address", "STATIC"}},
        Wrong{"none_with_endpoints", "ServiceEntry", "{hosts: [a.io], endpoints: [{address: 10.0.0.1}]}", {"NONE"}},
        Wrong{"cidr", "ServiceEntry", "{hosts: [a.io], addresses: [10.0.0.0/33]}", {"10.0.0.0/33"}}),
    [](const auto& info) { return std::string(info.param.what); });

TEST(VirtualService, Fields_AreDecoded) {
  const Decoded decoded = decode_text(R"(
apiVersion: networking.istio.io/v1alpha3
kind: VirtualService
metadata: {name: reviews, namespace: shop, creationTimestamp: "2024-02-29T12:00:01Z", labels: {a: b}, annotations: }
spec:
  hosts: [reviews, "*.io"]
  gateways: [mesh, istio-system/edge]
  http:
  - name: first
    match:
    - {uri: {prefix: /a}, ignoreUriCase: true, headers: {X-User: {regex: "j.*"}, y: {}}, method: {exact: GET}, port: 9080, queryParams: {Q: {exact: "1"}}}
    - sourceLabels: {app: c}
    timeout: 1.5s
    retries: {attempts: 3, perTryTimeout: 200ms}
    route:
    - destination: {host: reviews, subset: v1, port: {number: 9080}}
      weight: 0
    - destination: {host: reviews, subset: v2}
      weight: 7
  - redirect: {uri: /elsewhere}
)");
  ASSERT_EQ(decoded.objects.size(), 1u);
  const auto* service = decoded.objects[0]->as<VirtualService>();
  ASSERT_NE(service, nullptr) << testing::PrintToString(decoded.lines);
  EXPECT_EQ(service->meta.id(), "VirtualService/shop/reviews");
  EXPECT_EQ(service->meta.created, 1709208001);
  EXPECT_EQ(service->meta.labels.at("a"), "b");
  EXPECT_EQ(decoded.objects[0]->group_kind, "networking.istio.io/VirtualService");
  EXPECT_EQ(service->gateways[1].value, "istio-system/edge");
  EXPECT_EQ(service->gateways[1].at.line, 7);
  const HttpRoute& first = service->http.at(0);
  EXPECT_EQ(first.timeout, std::chrono::milliseconds(1500));
  EXPECT_EQ(first.retries->attempts, 3u);
  EXPECT_EQ(first.retries->per_try_timeout, std::chrono::milliseconds(200));
  ASSERT_EQ(first.match.size(), 2u);
  EXPECT_TRUE(first.match[0].ignore_uri_case);
  EXPECT_EQ(first.match[0].headers[0].first, "x-user");
  EXPECT_TRUE(first.match[0].headers[0].second.matches("jason"));
  EXPECT_FALSE(first.match[0].headers[0].second.matches("xj"));
  EXPECT_EQ(first.match[0].headers[1].second.kind, StringMatch::Kind::kPresent);
  EXPECT_EQ(first.match[0].query_params[0].first, "Q");
  EXPECT_EQ(first.match[0].port, 9080);
  EXPECT_EQ(first.match[1].source_labels.at("app"), "c");
  EXPECT_EQ(first.route[0].weight, 0u);
  EXPECT_EQ(first.route[0].destination.port, 9080);
  EXPECT_EQ(first.route[1].destination.subset.value, "v2");
  // A rule whose action is not built yet stays, so that the rules after it do not move up.
  ASSERT_EQ(service->http.size(), 2u);
  EXPECT_TRUE(service->http[1].route.empty());
  EXPECT_THAT(decoded.lines, testing::ElementsAre(HasSubstr("a.yaml:20:5: warning NOT_IMPLEMENTED VirtualService/shop/reviews spec.http[1].redirect: redirect is not implemented yet: requests that this rule takes get 503")));
}

TEST(VirtualService, EveryServedVersionAndJson_MeanTheSame) {
  for (const char* version : {"v1", "v1beta1", "v1alpha3"}) {
    const std::string yaml = std::string("apiVersion: networking.istio.io/") + version + "\nkind: VirtualService\nmetadata: {name: a}\nspec: {hosts: [a.io], http: [{" ROUTE "}]}\n";
    EXPECT_NE(decode_text(yaml).objects.at(0)->as<VirtualService>(), nullptr);
  }
  const Decoded json = decode_text(R"({"apiVersion": "networking.istio.io/v1", "kind": "VirtualService", "metadata": {"name": "a"}, "spec": {"hosts": ["a.io"], "http": [{"route": [{"destination": {"host": "c"}}]}]}})", "a.json");
  EXPECT_NE(json.objects.at(0)->as<VirtualService>(), nullptr) << testing::PrintToString(json.lines);
}

TEST(DestinationRule, ConnectionPool_IsDecoded) {
  const Decoded decoded = decode_text(
      "apiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {name: r}\nspec:\n  host: reviews\n  trafficPolicy:\n"
      "    connectionPool:\n      tcp: {maxConnections: 1, connectTimeout: 30ms, idleTimeout: 0s, maxConnectionDuration: 1h}\n"
      "      http: {http1MaxPendingRequests: 2, http2MaxRequests: 3, maxRequestsPerConnection: 4, maxRetries: 5, idleTimeout: 6s,\n"
      "             h2UpgradePolicy: DO_NOT_UPGRADE, useClientProtocol: false}\n"
      "    portLevelSettings: [{port: {number: 90}, connectionPool: {http: {useClientProtocol: true}}, tls: {mode: DISABLE}}]\n");
  const auto* rule = decoded.objects.at(0)->as<DestinationRule>();
  ASSERT_NE(rule, nullptr) << testing::PrintToString(decoded.lines);
  const ConnectionPool& pool = *rule->policy->pool;
  EXPECT_EQ(pool.max_connections, 1u);
  EXPECT_EQ(pool.max_pending, 2u);
  EXPECT_EQ(pool.max_requests, 3u);
  EXPECT_EQ(pool.max_requests_per_connection, 4u);
  EXPECT_EQ(pool.max_retries, 5u);
  EXPECT_EQ(pool.connect_timeout, std::chrono::milliseconds(30));
  EXPECT_EQ(pool.tcp_idle_timeout, std::chrono::milliseconds(0));
  EXPECT_EQ(pool.max_connection_duration, std::chrono::hours(1));
  EXPECT_EQ(pool.idle_timeout, std::chrono::seconds(6));
  ASSERT_EQ(rule->policy->ports.size(), 1u);
  EXPECT_EQ(rule->policy->ports[0].first, 90);
  EXPECT_EQ(rule->policy->ports[0].second.pool->connect_timeout, std::nullopt);
  EXPECT_THAT(decoded.lines,
              testing::UnorderedElementsAre(
                  HasSubstr("portLevelSettings[0].tls: tls is not implemented yet"),
                  HasSubstr("a.yaml:11:89: warning NOT_IMPLEMENTED DestinationRule/default/r spec.trafficPolicy.portLevelSettings[0].connectionPool.http.useClientProtocol")));
}

TEST(DestinationRule, Fields_AreDecoded) {
  const Decoded decoded = decode_text("apiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {name: r}\nspec:\n  host: reviews\n  trafficPolicy: {loadBalancer: {simple: ROUND_ROBIN}}\n  subsets:\n  - name: V1\n    labels: {version: v1}\n    trafficPolicy: {loadBalancer: {simple: RANDOM}}\n");
  const auto* rule = decoded.objects.at(0)->as<DestinationRule>();
  ASSERT_NE(rule, nullptr) << testing::PrintToString(decoded.lines);
  EXPECT_EQ(rule->policy->load_balancer, base::LoadBalancer::kRoundRobin);
  EXPECT_EQ(rule->subsets.at(0).policy.load_balancer, base::LoadBalancer::kRandom);
  EXPECT_EQ(rule->subsets[0].name.value, "V1");
  EXPECT_EQ(rule->subsets[0].at.line, 8);
  EXPECT_TRUE(decoded.lines.empty());
}

TEST(Gateway, Fields_AreDecoded) {
  const Decoded decoded = decode_text("apiVersion: networking.istio.io/v1beta1\nkind: Gateway\nmetadata: {name: g, namespace: n}\nspec:\n  selector: {istio: ingressgateway}\n  servers:\n  - port: {number: 80, name: http, protocol: http}\n    hosts: ['ns/*.a.io']\n    tls: {httpsRedirect: true}\n");
  const auto* gateway = decoded.objects.at(0)->as<Gateway>();
  ASSERT_NE(gateway, nullptr) << testing::PrintToString(decoded.lines);
  EXPECT_EQ(gateway->selector_at.line, 5);
  EXPECT_EQ(gateway->servers.at(0).protocol, "HTTP");
  EXPECT_TRUE(gateway->servers[0].https_redirect);
  EXPECT_EQ(gateway->servers[0].hosts[0].value, "ns/*.a.io");
}

TEST(ServiceEntry, Static_IsDecoded) {
  const Decoded decoded = decode_text("apiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {name: s}\nspec:\n  hosts: [db.io]\n  addresses: [10.1.0.0/16]\n  location: MESH_INTERNAL\n  resolution: STATIC\n  ports: [{number: 80, name: http, protocol: HTTP, targetPort: 8080}]\n  endpoints: [{address: 10.0.0.1, ports: {http: 8081}, labels: {v: a}, weight: 3, serviceAccount: sa}, {address: '::1'}]\n");
  const auto* entry = decoded.objects.at(0)->as<ServiceEntry>();
  ASSERT_NE(entry, nullptr) << testing::PrintToString(decoded.lines);
  EXPECT_EQ(entry->resolution, ServiceEntry::Resolution::kStatic);
  EXPECT_TRUE(entry->mesh_internal);
  EXPECT_EQ(entry->ports.at(0).target, 8080);
  EXPECT_EQ(entry->endpoints.at(0).ports.at(0).second, 8081);
  EXPECT_EQ(entry->endpoints[0].weight, 3u);
  EXPECT_EQ(entry->endpoints.at(1).weight, 1u);
  EXPECT_EQ(entry->addresses.at(0).text(), "10.1.0.0/16");
}

TEST(Resource, UnservedVersionOrMissingName_IsAnError) {
  EXPECT_THAT(decode_text("apiVersion: networking.istio.io/v1alpha2\nkind: Gateway\nmetadata: {name: a}\n").lines, testing::ElementsAre(testing::AllOf(HasSubstr("v1alpha2"), HasSubstr("networking.istio.io/v1, networking.istio.io/v1beta1 or networking.istio.io/v1alpha3"))));
  EXPECT_THAT(decode_text("apiVersion: v1\nkind: Service\nmetadata: {}\nspec: {}\n").lines, testing::ElementsAre(HasSubstr("metadata.name is missing")));
  EXPECT_THAT(decode_text("apiVersion: v1\nkind: Service\nmetadata: {name: A_b}\nspec: {}\n").lines, testing::ElementsAre(HasSubstr("A_b is no object name")));
  EXPECT_THAT(decode_text("kind: Service\nmetadata: {name: b}\n").lines, testing::ElementsAre(HasSubstr("apiVersion is missing")));
}

TEST(Resource, ListOfObjects_IsEachOfThem) {
  const Decoded decoded = decode_text("apiVersion: v1\nkind: List\nitems:\n- {apiVersion: v1, kind: Namespace, metadata: {name: a}}\n- {apiVersion: v1, kind: Service, metadata: {name: b}, spec: {ports: [{port: x}]}}\n---\napiVersion: v1\nkind: PodList\nitems: [{metadata: {name: p}}]\n");
  ASSERT_EQ(decoded.objects.size(), 3u);
  EXPECT_EQ(decoded.objects[0]->meta.id(), "Namespace/a");
  EXPECT_FALSE(decoded.objects[1]->valid);
  EXPECT_THAT(decoded.lines, testing::ElementsAre(HasSubstr("a.yaml:5:")));
  EXPECT_NE(decoded.objects[2]->as<Pod>(), nullptr);
}

TEST(Resource, HostileObject_ProblemsAreCapped) {
  std::string text = "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: a}\nspec:\n";
  for (int i = 0; i < 1000; ++i) text += "  field" + std::to_string(i) + ": 1\n";
  EXPECT_EQ(decode_text(text).lines.size(), 101u);
}

TEST(Duration, GoForms_ExactToAMillisecond) {
  struct Row {
    const char* text;
    int64_t ms;
  };
  for (const Row& row : {Row{"1.5s", 1500}, Row{"300ms", 300}, Row{"1h", 3'600'000}, Row{"1h30m", 5'400'000}, Row{"1000us", 1}, Row{"0s", 0}, Row{"0", 0}, Row{".5s", 500}, Row{"1.s", 1000}})
    EXPECT_EQ(parse_duration(row.text), std::chrono::milliseconds(row.ms)) << row.text;
  for (const char* text : {"", "s", "5", "-1s", "1 s", "1sec", "0.0001s", "1.5ms", "1.2.3s", ".s", "999999999h", "99999999999999999999s", "1s1"}) EXPECT_FALSE(parse_duration(text)) << text;
}

}  // namespace
}  // namespace api
