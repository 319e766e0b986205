#include "api/tables.h"

namespace api::tables {
namespace {

using Words = std::string_view[];

constexpr std::string_view kNoRoute = "requests that this rule takes get 503";

// ---- shared --------------------------------------------------------------------------------------------------------------
constexpr Field kPortSelectorFields[] = {required(port("number"))};
constexpr Message kPortSelector{kPortSelectorFields};
constexpr Field kDestinationFields[] = {required(text("host")), text("subset"), message("port", kPortSelector)};
constexpr Message kDestination{kDestinationFields};
constexpr Field kStringMatchFields[] = {text("exact"), text("prefix"), text("regex")};
constexpr Message kStringMatch{kStringMatchFields};
constexpr Field kHeaderOperationsFields[] = {text_map("set"), text_map("add"), list(text("remove"))};
constexpr Message kHeaderOperations{kHeaderOperationsFields};
constexpr Field kHeadersFields[] = {message("request", kHeaderOperations), message("response", kHeaderOperations)};
constexpr Message kHeaders{kHeadersFields};
constexpr Field kPercentFields[] = {number("value")};
constexpr Message kPercent{kPercentFields};
constexpr Field kLabelSelectorFields[] = {text_map("matchLabels")};
constexpr Message kLabelSelector{kLabelSelectorFields};
constexpr Field kAnyMapFields[] = {anything("value")};
constexpr Message kOpen{kAnyMapFields, true};

// ---- VirtualService ------------------------------------------------------------------------------------------------------
constexpr Field kHttpMatchFields[] = {
    text("name"), message("uri", kStringMatch), message("scheme", kStringMatch), message("method", kStringMatch),
    message("authority", kStringMatch), message_map("headers", kStringMatch), port("port"), text_map("sourceLabels"),
    list(text("gateways")), message_map("queryParams", kStringMatch), truth("ignoreUriCase"),
    message_map("withoutHeaders", kStringMatch), text("sourceNamespace"), pending(text("statPrefix"))};
constexpr Message kHttpMatch{kHttpMatchFields};

constexpr Field kHttpRouteDestinationFields[] = {required(message("destination", kDestination)), integer("weight", 0, 0x7FFFFFFF), pending(message("headers", kHeaders))};
constexpr Message kHttpRouteDestination{kHttpRouteDestinationFields};

constexpr Words kDerivePorts = {"FROM_PROTOCOL_DEFAULT", "FROM_REQUEST_PORT"};
constexpr Field kRedirectFields[] = {text("uri"), text("authority"), integer("port", 1, 65535), choice("derivePort", kDerivePorts),
                                     text("scheme"), integer("redirectCode"), text("prefixRewrite")};
constexpr Message kRedirect{kRedirectFields};
constexpr Field kBodyFields[] = {free_text("string"), text("bytes")};
constexpr Message kBody{kBodyFields};
constexpr Field kDirectResponseFields[] = {required(integer("status", 200, 599)), message("body", kBody)};
constexpr Message kDirectResponse{kDirectResponseFields};
constexpr Field kDelegateFields[] = {required(text("name")), text("namespace")};
constexpr Message kDelegate{kDelegateFields};
constexpr Field kRegexRewriteFields[] = {required(text("match")), required(text("rewrite"))};
constexpr Message kRegexRewrite{kRegexRewriteFields};
constexpr Field kRewriteFields[] = {text("uri"), text("authority"), message("uriRegexRewrite", kRegexRewrite)};
constexpr Message kRewrite{kRewriteFields};
constexpr Field kRetriesFields[] = {integer("attempts", 0, 0x7FFFFFFF), duration("perTryTimeout"), pending(text("retryOn"), "only connections that fail are retried"), pending(truth("retryRemoteLocalities")),
                                    pending(truth("retryIgnorePreviousHosts")), pending(duration("backoff"))};
constexpr Message kRetries{kRetriesFields};
constexpr Field kDelayFields[] = {integer("percent", 0, 100), duration("fixedDelay"), duration("exponentialDelay"), message("percentage", kPercent)};
constexpr Message kDelay{kDelayFields};
constexpr Field kAbortFields[] = {integer("percent", 0, 100), integer("httpStatus", 200, 599), text("grpcStatus"), text("http2Error"), message("percentage", kPercent)};
constexpr Message kAbort{kAbortFields};
constexpr Field kFaultFields[] = {message("delay", kDelay), message("abort", kAbort)};
constexpr Message kFault{kFaultFields};
constexpr Field kMirrorFields[] = {required(message("destination", kDestination)), message("percentage", kPercent)};
constexpr Message kMirror{kMirrorFields};
constexpr Words kPreflights = {"UNSPECIFIED", "FORWARD", "IGNORE"};
constexpr Field kCorsFields[] = {list(text("allowOrigin")), list(message("allowOrigins", kStringMatch)), list(text("allowMethods")), list(text("allowHeaders")),
                                 list(text("exposeHeaders")), duration("maxAge", 1000), truth("allowCredentials"), choice("unmatchedPreflights", kPreflights)};
constexpr Message kCors{kCorsFields};

constexpr Field kHttpRouteFields[] = {
    text("name"), list(message("match", kHttpMatch)), list(message("route", kHttpRouteDestination)), duration("timeout"),
    message("retries", kRetries), pending(message("headers", kHeaders)), pending(message("redirect", kRedirect), kNoRoute),
    pending(message("directResponse", kDirectResponse), kNoRoute), pending(message("delegate", kDelegate), kNoRoute), pending(message("rewrite", kRewrite)),
    pending(message("fault", kFault)), pending(message("mirror", kDestination)), pending(list(message("mirrors", kMirror))),
    pending(message("mirrorPercentage", kPercent)), pending(integer("mirrorPercent", 0, 100)), pending(integer("mirror_percent", 0, 100)),
    pending(message("corsPolicy", kCors))};
constexpr Message kHttpRoute{kHttpRouteFields};

constexpr Field kRouteDestinationFields[] = {required(message("destination", kDestination)), integer("weight", 0, 0x7FFFFFFF)};
constexpr Message kRouteDestination{kRouteDestinationFields};
constexpr Field kTlsMatchFields[] = {required(list(text("sniHosts"))), list(text("destinationSubnets")), port("port"), text_map("sourceLabels"),
                                     list(text("gateways")), text("sourceNamespace"), silent(text("sourceSubnet"))};
constexpr Message kTlsMatch{kTlsMatchFields};
constexpr Field kTlsRouteFields[] = {required(list(message("match", kTlsMatch))), list(message("route", kRouteDestination))};
constexpr Message kTlsRoute{kTlsRouteFields};
constexpr Field kTcpMatchFields[] = {list(text("destinationSubnets")), port("port"), text_map("sourceLabels"), list(text("gateways")),
                                     text("sourceNamespace"), silent(text("sourceSubnet"))};
constexpr Message kTcpMatch{kTcpMatchFields};
constexpr Field kTcpRouteFields[] = {list(message("match", kTcpMatch)), list(message("route", kRouteDestination))};
constexpr Message kTcpRoute{kTcpRouteFields};

constexpr Field kVirtualServiceSpecFields[] = {list(text("hosts")), list(text("gateways")), list(text("exportTo")), list(message("http", kHttpRoute)),
                                               pending(list(message("tls", kTlsRoute)), "connections go where they would go without these rules"), pending(list(message("tcp", kTcpRoute)), "connections go where they would go without these rules")};
constexpr Message kVirtualServiceSpec{kVirtualServiceSpecFields};

// ---- DestinationRule -----------------------------------------------------------------------------------------------------
constexpr Words kLoadBalancerWords = {"UNSPECIFIED", "LEAST_REQUEST", "ROUND_ROBIN", "RANDOM", "PASSTHROUGH", "LEAST_CONN"};
constexpr Field kCookieFields[] = {required(text("name")), text("path"), duration("ttl", 0), list(anything("attributes"))};
constexpr Message kCookie{kCookieFields};
constexpr Field kRingHashFields[] = {integer("minimumRingSize")};
constexpr Message kRingHash{kRingHashFields};
constexpr Field kMaglevFields[] = {integer("tableSize", 1, 5'000'011)};
constexpr Message kMaglev{kMaglevFields};
constexpr Field kConsistentHashFields[] = {text("httpHeaderName"), message("httpCookie", kCookie), truth("useSourceIp"), text("httpQueryParameterName"),
                                           message("ringHash", kRingHash), message("maglev", kMaglev), integer("minimumRingSize")};
constexpr Message kConsistentHash{kConsistentHashFields};
constexpr Field kDistributeFields[] = {text("from"), number_map("to")};
constexpr Message kDistribute{kDistributeFields};
constexpr Field kFailoverFields[] = {text("from"), text("to")};
constexpr Message kFailover{kFailoverFields};
constexpr Field kLocalityFields[] = {list(message("distribute", kDistribute)), list(message("failover", kFailover)), list(text("failoverPriority")), truth("enabled")};
constexpr Message kLocality{kLocalityFields};
constexpr Field kWarmupFields[] = {duration("duration"), number("minimumPercent"), number("aggression")};
constexpr Message kWarmup{kWarmupFields};
constexpr Field kLoadBalancerFields[] = {choice("simple", kLoadBalancerWords), pending(message("consistentHash", kConsistentHash)),
                                         pending(message("localityLbSetting", kLocality)), pending(message("warmup", kWarmup)),
                                         pending(duration("warmupDurationSecs")), pending(message("zoneAwareLbSetting", kOpen))};
constexpr Message kLoadBalancer{kLoadBalancerFields};
constexpr Field kKeepaliveFields[] = {integer("probes"), duration("time"), duration("interval")};
constexpr Message kKeepalive{kKeepaliveFields};
constexpr Field kTcpPoolFields[] = {integer("maxConnections", 0, 0x7FFFFFFF), duration("connectTimeout"), pending(message("tcpKeepalive", kKeepalive), "the kernel's defaults hold"),
                                    duration("maxConnectionDuration"), duration("idleTimeout", 0)};
constexpr Message kTcpPool{kTcpPoolFields};
constexpr Words kUpgradePolicies = {"DEFAULT", "DO_NOT_UPGRADE", "UPGRADE"};
constexpr Field kHttp2KeepAliveFields[] = {duration("interval"), duration("timeout")};
constexpr Message kHttp2KeepAlive{kHttp2KeepAliveFields};
constexpr Field kHttpPoolFields[] = {integer("http1MaxPendingRequests", 0, 0x7FFFFFFF), integer("http2MaxRequests", 0, 0x7FFFFFFF), integer("maxRequestsPerConnection", 0, 536'870'912),
                                     integer("maxRetries", 0, 0x7FFFFFFF), duration("idleTimeout", 0), choice("h2UpgradePolicy", kUpgradePolicies),
                                     truth("useClientProtocol"), pending(integer("maxConcurrentStreams", 0, 0x7FFFFFFF)), pending(message("http2KeepAlive", kHttp2KeepAlive))};
constexpr Message kHttpPool{kHttpPoolFields};
constexpr Field kPoolFields[] = {message("tcp", kTcpPool), message("http", kHttpPool)};
constexpr Message kPool{kPoolFields};
constexpr Field kOutlierFields[] = {integer("consecutiveErrors"), truth("splitExternalLocalOriginErrors"), integer("consecutiveLocalOriginFailures"),
                                    integer("consecutiveGatewayErrors"), integer("consecutive5xxErrors"), duration("interval"), duration("baseEjectionTime"),
                                    integer("maxEjectionPercent", 0, 100), integer("minHealthPercent", 0, 100), list(anything("outlierDetectionHttpErrorCodes"))};
constexpr Message kOutlier{kOutlierFields};
constexpr Words kClientTlsModes = {"DISABLE", "SIMPLE", "MUTUAL", "ISTIO_MUTUAL"};
constexpr Field kClientTlsFields[] = {choice("mode", kClientTlsModes), text("clientCertificate"), text("privateKey"), text("caCertificates"), text("credentialName"),
                                      list(text("subjectAltNames")), text("sni"), truth("insecureSkipVerify"), text("caCrl")};
constexpr Message kClientTls{kClientTlsFields};
constexpr Field kTunnelFields[] = {text("protocol"), required(text("targetHost")), required(port("targetPort"))};
constexpr Message kTunnel{kTunnelFields};
constexpr Words kProxyProtocolVersions = {"V1", "V2"};
constexpr Field kProxyProtocolFields[] = {choice("version", kProxyProtocolVersions)};
constexpr Message kProxyProtocol{kProxyProtocolFields};
constexpr Field kRetryBudgetFields[] = {number("percent"), integer("minRetryConcurrency"), duration("budgetInterval")};
constexpr Message kRetryBudget{kRetryBudgetFields};
constexpr Field kPortPolicyFields[] = {required(message("port", kPortSelector)), message("loadBalancer", kLoadBalancer), message("connectionPool", kPool),
                                       pending(message("outlierDetection", kOutlier)), pending(message("tls", kClientTls))};
constexpr Message kPortPolicy{kPortPolicyFields};
constexpr Field kTrafficPolicyFields[] = {message("loadBalancer", kLoadBalancer), message("connectionPool", kPool), pending(message("outlierDetection", kOutlier)),
                                          pending(message("tls", kClientTls)), list(message("portLevelSettings", kPortPolicy)), pending(message("tunnel", kTunnel)),
                                          pending(message("proxyProtocol", kProxyProtocol)), pending(message("retryBudget", kRetryBudget))};
constexpr Message kTrafficPolicy{kTrafficPolicyFields};
constexpr Field kSubsetFields[] = {required(text("name")), text_map("labels"), message("trafficPolicy", kTrafficPolicy)};
constexpr Message kSubset{kSubsetFields};
constexpr Field kDestinationRuleSpecFields[] = {required(text("host")), message("trafficPolicy", kTrafficPolicy), list(message("subsets", kSubset)), list(text("exportTo")),
                                                pending(message("workloadSelector", kLabelSelector))};
constexpr Message kDestinationRuleSpec{kDestinationRuleSpecFields};

// ---- Gateway -------------------------------------------------------------------------------------------------------------
constexpr Words kServerTlsModeWords = {"PASSTHROUGH", "SIMPLE", "MUTUAL", "AUTO_PASSTHROUGH", "ISTIO_MUTUAL", "OPTIONAL_MUTUAL"};
constexpr Words kTlsVersions = {"TLS_AUTO", "TLSV1_0", "TLSV1_1", "TLSV1_2", "TLSV1_3"};
constexpr Field kCertificateFields[] = {text("serverCertificate"), text("privateKey"), text("caCertificates")};
constexpr Message kCertificate{kCertificateFields};
constexpr Field kServerTlsFields[] = {truth("httpsRedirect"), pending(choice("mode", kServerTlsModeWords), "the gateway does not terminate or pass on TLS"),
                                      // mode stands beside all of these and its warning speaks for them.
                                      silent(text("serverCertificate")), silent(text("privateKey")), silent(text("caCertificates")), silent(text("caCrl")),
                                      silent(text("credentialName")), silent(list(text("credentialNames"))), silent(text("caCertCredentialName")),
                                      silent(list(message("tlsCertificates", kCertificate))), silent(list(text("subjectAltNames"))),
                                      silent(list(text("verifyCertificateSpki"))), silent(list(text("verifyCertificateHash"))),
                                      silent(choice("minProtocolVersion", kTlsVersions)), silent(choice("maxProtocolVersion", kTlsVersions)),
                                      silent(list(text("cipherSuites"))), silent(truth("insecureSkipVerify"))};
constexpr Message kServerTls{kServerTlsFields};
constexpr Field kGatewayPortFields[] = {required(port("number")), required(text("protocol")), required(text("name")), silent(port("targetPort"))};
constexpr Message kGatewayPort{kGatewayPortFields};
constexpr Field kServerFields[] = {required(message("port", kGatewayPort)), text("bind"), list(text("hosts")), message("tls", kServerTls), silent(text("defaultEndpoint")), text("name")};
constexpr Message kServer{kServerFields};
constexpr Field kGatewaySpecFields[] = {list(message("servers", kServer)), text_map("selector")};
constexpr Message kGatewaySpec{kGatewaySpecFields};

// ---- ServiceEntry --------------------------------------------------------------------------------------------------------
constexpr Words kLocations = {"MESH_EXTERNAL", "MESH_INTERNAL"};
constexpr Words kResolutionWords = {"NONE", "STATIC", "DNS", "DNS_ROUND_ROBIN", "DYNAMIC_DNS"};
constexpr Field kServicePortFields[] = {required(port("number")), text("protocol"), required(text("name")), port("targetPort")};
constexpr Message kServicePort{kServicePortFields};
constexpr Field kWorkloadEntryFields[] = {text("address"), number_map("ports"), text_map("labels"), pending(text("network")), pending(text("locality")), integer("weight"), text("serviceAccount")};
constexpr Message kWorkloadEntry{kWorkloadEntryFields};
constexpr Field kWorkloadSelectorFields[] = {text_map("labels")};
constexpr Message kWorkloadSelector{kWorkloadSelectorFields};
constexpr Field kServiceEntrySpecFields[] = {list(text("hosts")), list(text("addresses")), list(message("ports", kServicePort)), choice("location", kLocations), choice("resolution", kResolutionWords),
                                             list(message("endpoints", kWorkloadEntry)), message("workloadSelector", kWorkloadSelector), list(text("exportTo")),
                                             pending(list(text("subjectAltNames")))};
constexpr Message kServiceEntrySpec{kServiceEntrySpecFields};

// ---- metadata and whole documents ----------------------------------------------------------------------------------------
constexpr Field kMetadataFields[] = {text("name"), text("namespace"), text_map("labels"), free_text_map("annotations"), text("creationTimestamp"), text("deletionTimestamp"),
                                     text("generateName"), text("uid"), text("resourceVersion"), text("selfLink"), anything("generation"),
                                     anything("deletionGracePeriodSeconds"), anything("ownerReferences"), anything("finalizers"), anything("managedFields"), text("clusterName")};
constexpr Field kVirtualServiceFields[] = {text("apiVersion"), text("kind"), message("metadata", tables::kMetadata), message("spec", kVirtualServiceSpec), silent(anything("status"))};
constexpr Field kDestinationRuleFields[] = {text("apiVersion"), text("kind"), message("metadata", tables::kMetadata), message("spec", kDestinationRuleSpec), silent(anything("status"))};
constexpr Field kGatewayFields[] = {text("apiVersion"), text("kind"), message("metadata", tables::kMetadata), message("spec", kGatewaySpec), silent(anything("status"))};
constexpr Field kServiceEntryFields[] = {text("apiVersion"), text("kind"), message("metadata", tables::kMetadata), message("spec", kServiceEntrySpec), silent(anything("status"))};

}  // namespace

constexpr Message kMetadata{kMetadataFields};
constexpr Message kVirtualService{kVirtualServiceFields};
constexpr Message kDestinationRule{kDestinationRuleFields};
constexpr Message kGateway{kGatewayFields};
constexpr Message kServiceEntry{kServiceEntryFields};
constexpr std::span<const std::string_view> kLoadBalancers = kLoadBalancerWords;
constexpr std::span<const std::string_view> kResolutions = kResolutionWords;
constexpr std::span<const std::string_view> kServerTlsModes = kServerTlsModeWords;

}  // namespace api::tables
