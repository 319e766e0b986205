#include "validate/validate.h"

#include <map>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "doc/reader.h"

namespace validate {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

// Later documents of the same kind, namespace and name win, as in the store.
class Files {
 public:
  void add(const std::string& name, std::string_view text) {
    for (const doc::Document& document : doc::read(name, text).documents)
      for (const auto& resource : api::decode(document)) objects_[resource->group_kind + resource->meta.id()] = resource;
  }
  doc::Problems check() const {
    std::vector<std::shared_ptr<const api::Resource>> all;
    for (const auto& [id, resource] : objects_) all.push_back(resource);
    return validate::check(api::make_mesh(std::move(all), {}));
  }

 private:
  std::map<std::string, std::shared_ptr<const api::Resource>> objects_;
};

std::vector<std::string> lines(std::string_view text) {
  Files files;
  files.add("a.yaml", text);
  std::vector<std::string> out;
  for (const doc::Problem& problem : files.check()) out.push_back(doc::line_of(problem));
  return out;
}

constexpr std::string_view kWorld = R"(
apiVersion: v1
kind: Service
metadata: {name: reviews, namespace: default}
spec: {selector: {app: reviews}, ports: [{name: http, port: 9080}]}
---
apiVersion: v1
kind: Service
metadata: {name: shop, namespace: default}
spec: {selector: {app: shop}, ports: [{name: http-a, port: 8080}, {name: http-b, port: 9090}]}
---
apiVersion: v1
kind: Pod
metadata: {name: reviews-1, namespace: default, labels: {app: reviews, version: v1}}
status: {podIP: 10.0.0.1}
---
apiVersion: v1
kind: Pod
metadata: {name: edge-1, namespace: istio-system, labels: {app: istio-ingressgateway}}
status: {podIP: 10.0.0.2}
---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: edge, namespace: istio-system}
spec: {selector: {app: istio-ingressgateway}, servers: [{port: {number: 80, name: http, protocol: HTTP}, hosts: [shop.io, '*.pages.io', 'other/only.io']}]}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: reviews, namespace: default}
spec: {host: reviews, subsets: [{name: V1, labels: {version: v1}}]}
)";

std::vector<std::string> with_world(std::string_view text) { return lines(std::string(kWorld) + "---\n" + std::string(text)); }

std::string virtual_service(std::string_view spec) {
  return "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: vs, namespace: default}\nspec:\n  " + std::string(spec) + "\n";
}

TEST(Validate, World_IsInOrder) {
  EXPECT_THAT(with_world(virtual_service("{hosts: [reviews], http: [{route: [{destination: {host: reviews, subset: V1}}]}]}")), IsEmpty());
}

struct Case {
  const char* what;
  const char* spec;
  std::vector<std::string> says;   // in one line
};
class References : public testing::TestWithParam<Case> {};

TEST_P(References, OneWarningThatHelps) {
  const auto found = with_world(virtual_service(GetParam().spec));
  ASSERT_EQ(found.size(), 1u) << testing::PrintToString(found);
  for (const std::string& text : GetParam().says) EXPECT_THAT(found[0], HasSubstr(text));
  EXPECT_THAT(found[0], HasSubstr("VirtualService/default/vs"));
}

INSTANTIATE_TEST_SUITE_P(
    Kinds, References,
    testing::Values(
        Case{"gateway_in_another_namespace", "{hosts: [shop.io], gateways: [edge], http: [{route: [{destination: {host: reviews}}]}]}",
             {"warning IST0101", "spec.gateways[0]", "default/edge not found", "did you mean istio-system/edge?"}},
        Case{"gateway_misspelt", "{hosts: [shop.io], gateways: [istio-system/egde], http: [{route: [{destination: {host: reviews}}]}]}", {"istio-system/egde", "istio-system/edge?"}},
        Case{"gateway_of_a_match", "{hosts: [reviews], http: [{match: [{gateways: [nobody]}], route: [{destination: {host: reviews}}]}]}", {"spec.http[0].match[0].gateways[0]", "default/nobody"}},
        Case{"subset_in_other_case", "{hosts: [reviews], http: [{route: [{destination: {host: reviews, subset: v1}}]}]}", {"IST0101", "subset v1", "did you mean V1?", "spec.http[0].route[0].destination.subset"}},
        Case{"subset_unknown", "{hosts: [reviews], http: [{route: [{destination: {host: reviews, subset: v9}}]}]}", {"subset v9", "has the subsets V1"}},
        Case{"subset_without_rule", "{hosts: [reviews], http: [{route: [{destination: {host: shop, subset: v9}}]}]}", {"no DestinationRule is for shop.default.svc.cluster.local"}},
        Case{"host_misspelt", "{hosts: [reviews], http: [{route: [{destination: {host: reveiws}}]}]}", {"service reveiws.default.svc.cluster.local not found", "own namespace, default", "did you mean reviews?"}},
        Case{"host_outside", "{hosts: [reviews], http: [{route: [{destination: {host: www.example.com}}]}]}", {"host www.example.com not found"}},
        Case{"host_of_another_namespace", "{hosts: [reviews], http: [{route: [{destination: {host: reviews.prod.svc.cluster.local}}]}]}", {"did you mean reviews.default.svc.cluster.local?"}},
        Case{"port", "{hosts: [reviews], http: [{route: [{destination: {host: shop, port: {number: 80}}}]}]}", {"has no port 80", "8080, 9090"}},
        Case{"port_at_a_gateway", "{hosts: [shop.io], gateways: [istio-system/edge], http: [{route: [{destination: {host: shop}}]}]}", {"IST0112", "8080, 9090"}},
        Case{"unreachable", "{hosts: [reviews], http: [{name: all, route: [{destination: {host: reviews}}]}, {match: [{uri: {prefix: /a}}], route: [{destination: {host: reviews}}]}]}",
             {"IST0130", "spec.http[1]", "spec.http[0] (all)"}},
        Case{"unreachable_after_slash", "{hosts: [reviews], http: [{match: [{uri: {exact: /x}}, {uri: {prefix: /}}], route: [{destination: {host: reviews}}]}, {route: [{destination: {host: reviews}}]}]}", {"IST0130"}},
        Case{"same_match", "{hosts: [reviews], http: [{match: [{headers: {a: {exact: b}}}], route: [{destination: {host: reviews}}]}, {match: [{headers: {A: {exact: b}}}], route: [{destination: {host: reviews}}]}]}",
             {"IST0131", "spec.http[1].match[0]"}},
        Case{"longer_prefix_later", "{hosts: [reviews], http: [{match: [{uri: {prefix: /a}}], route: [{destination: {host: reviews}}]}, {match: [{uri: {prefix: /ab}}], route: [{destination: {host: reviews}}]}]}",
             {"IST0131"}},
        Case{"host_not_on_gateway", "{hosts: [a.pages.io, shop.com], gateways: [istio-system/edge], http: [{route: [{destination: {host: reviews}}]}]}", {"IST0132", "spec.hosts[1]", "shop.io"}},
        Case{"host_for_another_namespace", "{hosts: [only.io], gateways: [istio-system/edge], http: [{route: [{destination: {host: reviews}}]}]}", {"IST0132"}},
        Case{"all_weight_on_one", "{hosts: [reviews], http: [{route: [{destination: {host: reviews}, weight: 0}, {destination: {host: shop}, weight: 5}]}]}", {"info", "spec.http[0].route[1].weight"}}),
    [](const auto& info) { return std::string(info.param.what); });

TEST(References, GatewayLine_IsThatOfTheEntry) {
  const std::string text = "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: vs}\nspec:\n  hosts: [a.io]\n  gateways:\n  - mesh\n  - nobody\n  http: [{route: [{destination: {host: a}}]}]\n";
  EXPECT_THAT(lines(text), ElementsAre(HasSubstr("a.yaml:8:5: warning IST0101 VirtualService/default/vs spec.gateways[1]: gateway default/nobody not found")));
}

TEST(RuleOrder, DifferentConditions_AreNotTakenForTheSame) {
  EXPECT_THAT(with_world(virtual_service("{hosts: [reviews], http: [{match: [{uri: {prefix: /a}, headers: {x: {exact: y}}}], route: [{destination: {host: reviews}}]}, "
                                         "{match: [{uri: {prefix: /a}}], route: [{destination: {host: reviews}}]}, {match: [{uri: {prefix: /}, port: 80}], route: [{destination: {host: reviews}}]}, "
                                         "{match: [{uri: {regex: /a.*}}], route: [{destination: {host: reviews}}]}, {route: [{destination: {host: reviews}}]}]}")),
              IsEmpty());
}

TEST(Hosts, ShortNameAtGateway_Warns) {
  EXPECT_THAT(with_world("apiVersion: networking.istio.io/v1\nkind: Gateway\nmetadata: {name: all}\nspec: {servers: [{port: {number: 80, name: h, protocol: HTTP}, hosts: ['*']}]}\n---\n" +
                         virtual_service("{hosts: [reviews], gateways: [all], http: [{route: [{destination: {host: reviews}}]}]}")),
              ElementsAre(HasSubstr("SHORT_HOST")));
}

TEST(Hosts, TwoForTheSameHost_YoungerIsIgnored) {
  const std::string second = "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: zz}\nspec: {hosts: [reviews.default.svc.cluster.local], http: [{route: [{destination: {host: reviews}}]}]}\n";
  EXPECT_THAT(with_world(virtual_service("{hosts: [reviews], http: [{route: [{destination: {host: reviews}}]}]}") + "---\n" + second),
              ElementsAre(testing::AllOf(HasSubstr("IST0109 VirtualService/default/zz"), HasSubstr("default/vs"))));
}

TEST(Gateways, SelectorWithoutPod_NamesEachMissingLabel) {
  EXPECT_THAT(with_world("apiVersion: networking.istio.io/v1\nkind: Gateway\nmetadata: {name: two}\nspec:\n  selector:\n    app: istio-ingressgateway\n    istio: ingressgateway\n  servers: [{port: {number: 80, name: h, protocol: HTTP}, hosts: ['*']}]\n"),
              ElementsAre(testing::AllOf(HasSubstr("warning IST0101 Gateway/default/two spec.selector"), HasSubstr("missing label istio=ingressgateway on pod istio-system/edge-1"))));
  EXPECT_THAT(with_world("apiVersion: networking.istio.io/v1\nkind: Gateway\nmetadata: {name: two}\nspec: {selector: {a: b, c: d}, servers: [{port: {number: 80, name: h, protocol: HTTP}, hosts: ['*']}]}\n"),
              ElementsAre(testing::AllOf(HasSubstr("missing label a=b"), HasSubstr("missing label c=d on every pod"))));
}

TEST(DestinationRules, SubsetWithoutEndpoint_SaysZeroOfHowMany) {
  EXPECT_THAT(with_world("apiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {name: r2}\nspec: {host: reviews, subsets: [{name: v2, labels: {app: reviews-v2}}]}\n"),
              ElementsAre(testing::AllOf(HasSubstr("DestinationRule/default/r2 spec.subsets[0]"), HasSubstr("subset v2 selects 0 of 1 endpoints"), HasSubstr("app=reviews-v2"))));
}

TEST(DestinationRules, HostUnknown_HasNoEffect) {
  EXPECT_THAT(with_world("apiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {name: r2}\nspec: {host: review}\n"), ElementsAre(HasSubstr("did you mean reviews?")));
  EXPECT_THAT(with_world("apiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {name: r2}\nspec: {host: '*.example.com'}\n"), ElementsAre(HasSubstr("no service fits *.example.com")));
  EXPECT_THAT(with_world("apiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {name: r2}\nspec: {host: '*.default.svc.cluster.local'}\n"), IsEmpty());
}

TEST(Services, PortWithoutProtocol_IsAnInfo) {
  EXPECT_THAT(lines("apiVersion: v1\nkind: Service\nmetadata: {name: s}\nspec: {ports: [{name: httpx, port: 80}, {name: web, port: 81, appProtocol: http}, {name: grpc-web, port: 82}, {name: db, port: 3306}]}\n"),
              ElementsAre(testing::AllOf(HasSubstr("info IST0118 Service/default/s spec.ports[0]"), HasSubstr("httpx"))));
}

TEST(Validate, RulesAlone_AreNotBlamedForMissingServices) {
  EXPECT_THAT(lines(virtual_service("{hosts: [reviews], http: [{route: [{destination: {host: reviews, subset: v1}}]}]}")), IsEmpty());
}

// Everything here is legal and means something; a word about any of it would be a false alarm.
TEST(Validate, LegalButUnusual_NoFalseAlarm) {
  EXPECT_THAT(with_world(R"(
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: outside}
spec:
  hosts: [api.example.com, '*.cdn.example.com']
  resolution: STATIC
  ports: [{number: 443, name: tls, protocol: TLS}, {number: 80, name: http, protocol: HTTP}]
  endpoints: [{address: 192.0.2.1, labels: {zone: a}}]
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: outside}
spec: {host: api.example.com, subsets: [{name: near, labels: {zone: a}}]}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: everywhere, namespace: istio-system}
spec: {host: '*', trafficPolicy: {loadBalancer: {simple: RANDOM}}}
---
apiVersion: v1
kind: Service
metadata: {name: headless, namespace: prod}
spec: {clusterIP: None, ports: [{name: tcp-db, port: 5432}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: headless-1, namespace: prod, labels: {kubernetes.io/service-name: headless}}
addressType: IPv4
ports: [{name: tcp-db, port: 5432}]
endpoints: [{addresses: [10.0.9.1]}]
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: headless, namespace: prod}
spec: {host: headless, subsets: [{name: unknowable, labels: {version: v1}}]}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: both}
spec:
  hosts: [reviews, shop.io]
  gateways: [mesh, istio-system/edge]
  http:
  - match: [{uri: {prefix: /}, gateways: [istio-system/edge]}]
    route: [{destination: {host: x.cdn.example.com, port: {number: 443}}}]
  - match: [{sourceLabels: {app: a}}]
    route: [{destination: {host: api.example.com, subset: near}, weight: 50}, {destination: {host: headless.prod.svc.cluster.local}, weight: 50}]
  - route: [{destination: {host: reviews, subset: V1}}]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: pages, namespace: default}
spec:
  hosts: [a.pages.io, '*.b.pages.io']
  gateways: [istio-system/edge]
  http: [{route: [{destination: {host: shop, port: {number: 8080}}}]}]
)"),
              IsEmpty());
}

}  // namespace
}  // namespace validate
