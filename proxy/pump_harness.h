#pragma once

#include <gtest/gtest.h>

#include <string_view>

#include "proxy/pump_world.h"

// The proxy in memory as a gtest fixture, with a small mesh in YAML.
namespace proxy::in_memory {

inline constexpr std::string_view kMesh = R"(
apiVersion: v1
kind: Pod
metadata: {name: me, namespace: default, labels: {app: me}}
spec: {containers: [{name: app}]}
status: {phase: Running, podIP: 10.0.0.1}
---
apiVersion: v1
kind: Service
metadata: {name: shop, namespace: default}
spec: {clusterIP: 10.96.0.9, ports: [{name: http, port: 80}, {name: tcp-raw, port: 90}, {name: plain, port: 91}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: shop-1, namespace: default, labels: {kubernetes.io/service-name: shop}}
addressType: IPv4
endpoints: [{addresses: [10.0.1.1]}, {addresses: [10.0.1.2]}, {addresses: [10.0.1.3]}]
ports: [{name: http, port: 80}, {name: tcp-raw, port: 90}, {name: plain, port: 91}]
---
apiVersion: v1
kind: Service
metadata: {name: one, namespace: default}
spec: {clusterIP: 10.96.0.7, ports: [{name: http, port: 80}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: one-1, namespace: default, labels: {kubernetes.io/service-name: one}}
addressType: IPv4
endpoints: [{addresses: [10.0.2.1]}]
ports: [{name: http, port: 80}]
---
apiVersion: v1
kind: Service
metadata: {name: empty, namespace: default}
spec: {clusterIP: 10.96.0.8, ports: [{name: http, port: 80}]}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: shop, namespace: default}
spec:
  hosts: [shop]
  http:
  - {match: [{uri: {prefix: /nosubset}}], route: [{destination: {host: shop, subset: v9}}]}
  - {match: [{uri: {prefix: /slow}}], timeout: 2s, route: [{destination: {host: shop}}]}
  - {match: [{uri: {prefix: /}}], route: [{destination: {host: shop}}]}
)";

class Pump : public testing::Test, protected World {
 protected:
  explicit Pump(const Options& options = {}) : World(options) { publish(kMesh); }
  ~Pump() override {
    end();
    EXPECT_EQ(worker_.tasks(), 0u) << "somebody still waits";
  }

  // One side of a tunnel says its last, and then resets while the other says nothing: nobody reads from it any more, and it must
  // be seen all the same.
  void reset_behind_a_fin(Peer& goes, Peer& stays) {
    goes.stream->shutdown_write();
    settle();
    EXPECT_TRUE(stays.ended && !stays.broken);
    EXPECT_EQ(worker_.tasks(), 1u);
    goes.stream->reset();
    settle();
    EXPECT_EQ(worker_.tasks(), 0u);
    EXPECT_TRUE(stays.stream->got_reset()) << "what it may still say has no taker";
  }
};

}  // namespace proxy::in_memory
