#include "api/tables.h"

namespace api::tables {
namespace {

using Words = std::string_view[];

constexpr Field kOpenFields[] = {anything("name")};
constexpr Message kOpen{kOpenFields, true};

constexpr Words kOutboundModes = {"REGISTRY_ONLY", "ALLOW_ANY", "ALLOW_ANY_DYNAMIC_DNS"};
constexpr Field kOutboundFields[] = {choice("mode", kOutboundModes), pending(message("tls", kOpen))};
constexpr Message kOutbound{kOutboundFields};
constexpr Words kEncodings = {"TEXT", "JSON"};
constexpr Words kNormalizations = {"DEFAULT", "NONE", "BASE", "MERGE_SLASHES", "DECODE_AND_MERGE_SLASHES"};
constexpr Field kNormalizationFields[] = {choice("normalization", kNormalizations)};
constexpr Message kNormalization{kNormalizationFields};

// ---- ProxyConfig ---------------------------------------------------------------------------------------------------------
constexpr Field kTopologyFields[] = {integer("numTrustedProxies"), pending(text("forwardClientCertDetails")), pending(message("proxyProtocol", kOpen))};
constexpr Message kTopology{kTopologyFields};
constexpr Field kServerHeaderFields[] = {truth("disabled"), text("value")};
constexpr Message kServerHeader{kServerHeaderFields};
constexpr Field kSwitchFields[] = {truth("disabled")};
constexpr Message kSwitch{kSwitchFields};
constexpr Field kProxyHeadersFields[] = {message("server", kServerHeader), message("requestId", kSwitch), message("attemptCount", kSwitch), message("envoyDebugHeaders", kSwitch),
                                         truth("preserveHttp1HeaderCase"), pending(text("forwardedClientCert")), pending(message("setCurrentClientCertDetails", kOpen)),
                                         pending(message("metadataExchangeHeaders", kOpen)), pending(message("xForwardedHost", kOpen)), pending(message("xForwardedPort", kOpen))};
constexpr Message kProxyHeaders{kProxyHeadersFields};
constexpr Field kProxyConfigFields[] = {
    integer("concurrency", 0, 4096), free_text_map("proxyMetadata"), duration("drainDuration"), duration("terminationDrainDuration"),
    message("gatewayTopology", kTopology), message("proxyHeaders", kProxyHeaders),
    // The injector's, or files and addresses of Envoy's that a proxy without Envoy does not have.
    silent(truth("holdApplicationUntilProxyStarts")), silent(integer("statusPort")), silent(anything("readinessProbe")), silent(anything("interceptionMode")),
    silent(anything("image")), silent(anything("proxyAdminPort")), silent(anything("discoveryAddress")), silent(anything("configPath")), silent(anything("binaryPath")),
    silent(anything("serviceCluster")), silent(anything("discoveryRefreshDelay")), silent(anything("parentShutdownDuration")), silent(anything("controlPlaneAuthPolicy")),
    silent(anything("customConfigFile")), silent(anything("proxyBootstrapTemplatePath")), silent(anything("runtimeValues")), silent(anything("sds")),
    silent(anything("availabilityZone")), silent(anything("meshId")), silent(anything("statNameLength")), silent(anything("envoyMetricsService")),
    silent(anything("envoyAccessLogService")), silent(anything("privateKeyProvider")), silent(anything("statsdUdpAddress")), silent(anything("clusterName")),
    silent(anything("fileFlushInterval")), silent(anything("fileFlushMinSizeKb")), silent(anything("statsCompression")),
    pending(anything("tracing")), pending(anything("zipkinAddress")), pending(anything("tracingServiceName")), pending(anything("proxyStatsMatcher")), pending(anything("extraStatTags")),
    pending(anything("caCertificatesPem")), pending(anything("connectionSettings")), pending(anything("environmentVariables"))};

// ---- MeshConfig ----------------------------------------------------------------------------------------------------------
constexpr Field kMeshConfigFields[] = {
    message("outboundTrafficPolicy", kOutbound), text("accessLogFile"), free_text("accessLogFormat"), choice("accessLogEncoding", kEncodings), text("rootNamespace"),
    text("trustDomain"), duration("connectTimeout"), duration("protocolDetectionTimeout", 0), truth("enableAutoMtls"), message("pathNormalization", kNormalization),
    message("defaultConfig", tables::kProxyConfig),
    // Control plane, multi-cluster and statistics names: nothing a proxy acts on here.
    silent(anything("proxyListenPort")), silent(anything("proxyInboundListenPort")), silent(anything("configSources")), silent(anything("certificates")),
    silent(anything("discoverySelectors")), silent(anything("enablePrometheusMerge")), silent(anything("inboundClusterStatName")), silent(anything("outboundClusterStatName")),
    silent(anything("hboneIdleTimeout")), silent(anything("serviceSettings")), silent(anything("serviceScopeConfigs")), silent(anything("verifyCertificateAtClient")),
    silent(anything("dnsRefreshRate")), silent(anything("disableEnvoyListenerLog")), silent(anything("enableEnvoyAccessLogService")), silent(anything("mixerCheckServer")),
    silent(anything("mixerReportServer")), silent(anything("disableMixerHttpReports")), silent(anything("disablePolicyChecks")), silent(anything("ca")),
    pending(anything("proxyHttpPort")), pending(anything("inboundTrafficPolicy")), pending(anything("tcpKeepalive")), pending(anything("trustDomainAliases")),
    pending(anything("caCertificates")), pending(anything("defaultServiceExportTo")), pending(anything("defaultVirtualServiceExportTo")),
    pending(anything("defaultDestinationRuleExportTo")), pending(anything("localityLbSetting")), pending(anything("zoneAwareLbSetting")), pending(anything("h2UpgradePolicy")),
    pending(anything("ingressClass")), pending(anything("ingressControllerMode")), pending(anything("ingressService")), pending(anything("ingressSelector")),
    pending(anything("defaultHttpRetryPolicy")), pending(anything("defaultTrafficPolicy")), pending(anything("extensionProviders")), pending(anything("defaultProviders")),
    pending(anything("enableTracing")), pending(anything("meshMTLS")), pending(anything("tlsDefaults")), pending(anything("serviceEntryVisibility"))};

}  // namespace

constexpr Message kProxyConfig{kProxyConfigFields};
constexpr Message kMeshConfig{kMeshConfigFields};

}  // namespace api::tables
