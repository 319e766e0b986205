#!/usr/bin/python3 -B
"""The real programs together: rules, interception, routing, reload, kill, bulk. `mesh_test.py TestClass…` runs some of it."""
import hashlib
import json
import os
import signal
import socket
import sys
import threading
import time
import unittest

from lab import SANITIZED, Lab, request, service

RULES = '''---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: reviews, namespace: default}
spec:
  host: reviews
  subsets:
  - {name: v1, labels: {version: v1}}
  - {name: v2, labels: {version: v2}}
'''


def virtual_service(v1, v2, extra=''):
    return f'''---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: reviews, namespace: default}}
spec:
  hosts: [reviews]
  http:
  - match: [{{headers: {{end-user: {{exact: jason}}}}}}]
    route: [{{destination: {{host: reviews, subset: v2}}}}]
  - route:
    - {{destination: {{host: reviews, subset: v1}}, weight: {v1}}}
    - {{destination: {{host: reviews, subset: v2}}, weight: {v2}}}
{extra}'''


class Mesh(unittest.TestCase):
    """client → sidecar → sidecar → reviews v1, v2, over both families; a TCP echo and a server that speaks first."""

    @classmethod
    def setUpClass(cls):
        cls.lab = lab = Lab()
        cls.client = lab.pod('client')
        cls.v1 = lab.pod('reviews-v1', {'app': 'reviews', 'version': 'v1'})
        cls.v2 = lab.pod('reviews-v2', {'app': 'reviews', 'version': 'v2'})
        cls.gateway = lab.pod('gateway', {'istio': 'ingressgateway'}, gateway=True)
        cls.outsider = lab.pod('outsider', sidecar=False)
        lab.write_pods()
        lab.write('services.yaml', service('reviews', {'http': 9080, 'tcp-echo': 9000, 'unnamed': 9001}, 10) + service('client', {'http': 8080}, 11) + RULES)
        lab.write('routes.yaml', virtual_service(80, 20))
        cls.apps = {pod.name: pod.app(9080) for pod in (cls.v1, cls.v2)}
        for pod in (cls.v1, cls.v2):
            pod.app(9000, tcp=True)
            pod.app(9001, tcp=True, greeting=b'220 ready\r\n')
        for pod in lab.pods:
            if pod.sidecar:
                if not pod.gateway:
                    pod.init()
                pod.start_proxy()
        lab.settled()

    @classmethod
    def tearDownClass(cls):
        cls.lab.close()

    VIP, VIP6 = '10.96.77.10', 'fd00:10:96:77::a'

    def route(self, v1, v2):
        self.lab.write('routes.yaml', virtual_service(v1, v2))
        self.lab.settled()


class Routing(Mesh):
    def shares(self, address, count=300):
        connection, hits = self.client.http(address, 9080, 'reviews:9080'), {}
        for _ in range(count):
            status, _, body = request(connection, '/')
            self.assertEqual(status, 200, body)
            app = json.loads(body)['app']
            hits[app] = hits.get(app, 0) + 1
        return hits

    def test_weights_over_both_families(self):
        self.route(80, 20)
        for address in (self.VIP, self.VIP6):
            hits = self.shares(address)
            # 300 draws at 0.8: sigma 6.9; five of them.
            self.assertTrue(205 <= hits['reviews-v1'] <= 275, hits)

    def test_header_goes_to_its_subset(self):
        connection = self.client.http(self.VIP, 9080, 'reviews:9080')
        for _ in range(20):
            _, _, body = request(connection, '/', headers={'End-User': 'jason'})
            self.assertEqual(json.loads(body)['app'], 'reviews-v2')

    def test_both_sidecars_log_and_the_app_sees_the_inbound_address(self):
        before = len(self.client.access_lines())
        connection = self.client.http(self.VIP, 9080, 'reviews:9080')
        status, headers, body = request(connection, '/seen', headers={'end-user': 'jason'})
        answer = json.loads(body)
        self.assertEqual(status, 200)
        self.assertEqual(headers['server'], 'envoy')
        self.assertIn(answer['peer'], ('::ffff:127.0.0.6', '127.0.0.6'))
        self.assertEqual(answer['headers']['x-envoy-attempt-count'], '1')
        self.client.wait(lambda: len(self.client.access_lines()) > before, 'logging')
        line = self.client.access_lines()[-1]
        self.assertIn('outbound|9080|v2|reviews.default.svc.cluster.local', line)
        self.assertIn('10.96.77.10:9080', line)          # where the app dialled
        self.v2.wait(lambda: any('/seen' in line for line in self.v2.access_lines()), 'logging')
        line = next(line for line in self.v2.access_lines() if '/seen' in line)
        self.assertIn('inbound|9080||', line)
        self.assertIn(f'{self.v2.ip}:9080', line)        # where the connection was going before 15006 took it

    def test_outsider_reaches_a_pod_through_its_inbound_proxy(self):
        connection = self.outsider.http(self.v1.ip, 9080, 'x')
        status, headers, body = request(connection, '/')
        self.assertEqual((status, headers['server']), (200, 'istio-envoy'), body)

    def test_tcp_keeps_half_close(self):
        sock = self.client.connect(self.VIP, 9000)
        sock.sendall(b'one')
        self.assertEqual(sock.recv(3, socket.MSG_WAITALL), b'one')
        sock.sendall(b'two')
        sock.shutdown(socket.SHUT_WR)
        self.assertEqual(sock.makefile('rb').read(), b'two')

    def test_server_first_on_an_undeclared_port(self):
        sock = self.client.connect(self.VIP, 9001)
        self.assertEqual(sock.recv(11, socket.MSG_WAITALL), b'220 ready\r\n')
        sock.sendall(b'hello')
        self.assertEqual(sock.recv(5, socket.MSG_WAITALL), b'hello')

    def test_gateway_port_opens_and_closes_with_its_gateway(self):
        self.lab.write('gateway.yaml', '''
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: web, namespace: default}
spec:
  selector: {istio: ingressgateway}
  servers: [{port: {number: 8088, name: http, protocol: HTTP}, hosts: [shop.io]}]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: shop, namespace: default}
spec:
  hosts: [shop.io]
  gateways: [web]
  http: [{match: [{uri: {prefix: /r}}], route: [{destination: {host: reviews, subset: v1, port: {number: 9080}}}]}]
''')
        self.lab.settled()
        connection = self.outsider.http(self.gateway.ip, 8088, 'shop.io')
        status, _, body = request(connection, '/reviews')
        self.assertEqual((status, json.loads(body)['app']), (200, 'reviews-v1'))
        self.assertIn(self.outsider.ip, json.loads(body)['headers']['x-forwarded-for'])
        self.assertEqual(request(connection, '/x')[0], 404)
        self.lab.write('gateway.yaml', '# nothing\n')
        self.lab.settled()
        with self.assertRaises(ConnectionRefusedError):
            self.outsider.connect(self.gateway.ip, 8088)

    def test_no_loop_through_the_capture_ports(self):
        for port in (15001, 15006):
            sock = self.client.connect(self.v1.ip, port)
            sock.settimeout(5)
            try:
                sock.sendall(b'GET / HTTP/1.1\r\nHost: x\r\n\r\n')
                self.assertNotIn(b' 200 ', sock.recv(4096))
            except ConnectionError:
                pass   # an RST is as good an end

    def test_admin_pages_answer_and_refuse_strangers(self):
        for path in ('/config_dump', '/clusters', '/listeners', '/stats', '/stats/prometheus', '/ready', '/server_info', '/logging', '/connections'):
            status, body = self.client.admin(15000, path)
            self.assertEqual(status, 200, (path, body))
        json.loads(self.client.admin(15000, '/config_dump')[1])
        self.assertEqual(self.client.admin(15000, '/quitquitquit')[0], 405)
        connection = self.client.http('127.0.0.1', 15000, 'evil.example')
        self.assertEqual(request(connection, '/config_dump')[0], 403)
        request(self.client.http(self.VIP, 9080, 'reviews:9080'), '/')
        self.assertIn('istio_requests_total', self.client.admin(15090, '/stats/prometheus')[1])


class Reload(Mesh):
    def test_ten_thousand_requests_during_twenty_changes(self):
        total, workers = (2000, 4) if SANITIZED else (10000, 4)
        failed, done, stop = [], [0] * workers, threading.Event()

        def load(number):
            connection = self.client.http(self.VIP if number % 2 else self.VIP6, 9080, 'reviews:9080')
            for i in range(total // workers):
                identity = f'{number}-{i}'
                body = hashlib.sha256(identity.encode()).digest() * (1 + i % 5)
                status, _, answer = request(connection, f'/{identity}', 'POST', body, {'x-load-id': identity})
                answer = json.loads(answer) if status == 200 else {}
                if status != 200 or answer['id'] != identity or answer['sha'] != hashlib.sha256(body).hexdigest():
                    failed.append((identity, status, answer))
                done[number] += 1
                if stop.is_set() and len(changes) < 20:
                    return
        changes = []
        threads = [threading.Thread(target=load, args=(n,)) for n in range(workers)]
        for thread in threads:
            thread.start()
        for change in range(20):
            self.route(change * 5, 100 - change * 5)
            changes.append(change)
        for thread in threads:
            thread.join()
        self.assertEqual(failed, [])
        self.assertEqual(sum(done), total)

    def test_last_good_survives_a_broken_file(self):
        self.route(100, 0)
        connection = self.client.http(self.VIP, 9080, 'reviews:9080')
        self.lab.write('routes.yaml', 'kind: VirtualService\n  metadata: [broken')
        self.lab.settled()
        status = json.loads(self.client.admin(15000, '/config/status')[1])
        self.assertTrue(any(p['severity'] == 'error' and p['file'].endswith('routes.yaml') and p['line'] for p in status['problems']), status)
        for _ in range(20):
            self.assertEqual(json.loads(request(connection, '/')[2])['app'], 'reviews-v1')


class Lifecycle(Mesh):
    def test_kill_and_restart_then_the_next_request_works(self):
        self.client.kill_proxy()
        self.client.start_proxy()
        connection = self.client.http(self.VIP, 9080, 'reviews:9080')
        self.assertEqual(request(connection, '/')[0], 200)
        self.v1.kill_proxy()
        self.v1.start_proxy()
        for _ in range(10):
            self.assertEqual(request(connection, '/')[0], 200)

    def test_sigterm_drains_and_exits_0(self):
        connection = self.outsider.http(self.v2.ip, 9080, 'x')
        self.assertEqual(request(connection, '/')[0], 200)
        self.v2.proxy.send_signal(signal.SIGTERM)
        self.v2.wait(lambda: self.v2.admin(15021, '/healthz/ready')[0] == 503, 'draining')
        fresh = self.outsider.http(self.v2.ip, 9080, 'x')
        status, headers, _ = request(fresh, '/while-draining')
        self.assertEqual((status, headers.get('connection')), (200, 'close'))
        self.assertEqual(self.v2.proxy.wait(timeout=20), 0)
        self.assertTrue(any('/while-draining' in line for line in self.v2.access_lines()), 'the last line')
        self.v2.proxy = None
        self.v2.start_proxy()

    def test_endpoint_that_is_gone_costs_no_request(self):
        self.route(0, 100)
        connection = self.client.http(self.VIP, 9080, 'reviews:9080')
        self.assertEqual(request(connection, '/')[0], 200)
        for app in self.v2.apps:   # idle connections of the inbound proxy die with the app
            for sock in list(app.open):
                sock.close()
        for _ in range(10):
            self.assertEqual(request(connection, '/')[0], 200)


class Bulk(Mesh):
    SIZE = (64 << 20) if SANITIZED else (1 << 30)

    def drain(self, sock, size):
        block, got = bytearray(1 << 20), 0
        while got < size:
            n = sock.recv_into(block)
            if not n:
                break
            got += n
        return got

    def test_a_gigabyte_each_way_in_twenty_megabytes(self):
        self.route(100, 0)
        sock = self.client.connect(self.VIP, 9080)
        sock.sendall(b'GET /size/%d HTTP/1.1\r\nHost: reviews\r\n\r\n' % self.SIZE)
        head = b''
        while b'\r\n\r\n' not in head:
            head += sock.recv(1)
        self.assertIn(b' 200 ', head)
        self.assertEqual(self.drain(sock, self.SIZE), self.SIZE)
        sock.sendall(b'POST /up HTTP/1.1\r\nHost: reviews\r\nContent-Length: %d\r\n\r\n' % self.SIZE)
        block = bytes(1 << 20)
        for _ in range(self.SIZE >> 20):
            sock.sendall(block)
        answer = sock.recv(65536)
        self.assertIn(b' 200 ', answer)
        self.assertIn(b'"size": %d' % self.SIZE, answer if b'"size"' in answer else answer + sock.recv(65536))
        echo = self.client.connect(self.VIP, 9000)
        sender = threading.Thread(target=lambda: [echo.sendall(block) for _ in range(self.SIZE >> 20)] and echo.shutdown(socket.SHUT_WR))
        sender.start()
        self.assertEqual(self.drain(echo, self.SIZE), self.SIZE)
        sender.join()
        if not SANITIZED:
            for pod in (self.client, self.v1):
                self.assertLess(pod.rss_mb(), 20, pod.name)


if __name__ == '__main__':
    if os.geteuid() != 0:
        print('network namespaces need root')
        sys.exit(77)
    unittest.main(verbosity=2, warnings='ignore')   # sockets end with the process
