#!/usr/bin/python3 -B
"""Instructions that one hop costs per keep-alive request, counted by callgrind: a gateway with 10 routes, metrics on, access log
off, one worker, a GET with an answer of 1 KiB. Two runs of different length are subtracted, so start and end do not count.
Prints the number; with --limit N exits 1 above it."""
import argparse
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

BODY = b'x' * 1024
ANSWER = b'HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 1024\r\n\r\n' + BODY
REQUEST = (b'GET /route7/item?id=42 HTTP/1.1\r\nHost: shop.example\r\nUser-Agent: bench/1\r\nAccept: */*\r\n'
           b'X-Request-Id: 0f1e2d3c-4b5a-4697-8899-aabbccddeeff\r\n\r\n')

CONFIG = '''apiVersion: v1
kind: Pod
metadata: {name: gateway, namespace: default, labels: {istio: ingressgateway}, annotations: {inject.istio.io/templates: gateway}}
spec: {serviceAccountName: gateway, containers: [{name: istio-proxy, image: auto}]}
status: {phase: Running, podIP: 127.0.0.1, podIPs: [{ip: 127.0.0.1}]}
---
apiVersion: v1
kind: Service
metadata: {name: app, namespace: default}
spec: {clusterIP: 10.96.0.1, ports: [{name: http, port: %(app)d}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: app-1, namespace: default, labels: {kubernetes.io/service-name: app}}
addressType: IPv4
endpoints: [{addresses: [127.0.0.1], conditions: {ready: true}}]
ports: [{name: http, port: %(app)d}]
---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: web, namespace: default}
spec: {selector: {istio: ingressgateway}, servers: [{port: {number: %(edge)d, name: http, protocol: HTTP}, hosts: ["*"]}]}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: shop, namespace: default}
spec:
  hosts: [shop.example]
  gateways: [web]
  http:
'''


def free_port():
    with socket.socket() as sock:
        sock.bind(('127.0.0.1', 0))
        return sock.getsockname()[1]


def app(port):
    listener = socket.create_server(('127.0.0.1', port), backlog=64)

    def serve(sock):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        pending = b''
        while data := sock.recv(65536):
            pending += data
            while (end := pending.find(b'\r\n\r\n')) >= 0:
                pending = pending[end + 4:]
                sock.sendall(ANSWER)

    def accept():
        while True:
            sock, _ = listener.accept()
            threading.Thread(target=serve, args=(sock,), daemon=True).start()
    threading.Thread(target=accept, daemon=True).start()


def run(binary, folder, edge, ports, requests):
    out = os.path.join(folder, f'callgrind.{requests}')
    argv = ['valgrind', '--tool=callgrind', f'--callgrind-out-file={out}', binary, 'gateway', '--config', os.path.join(folder, 'config'),
            '--pod', 'default/gateway', '--concurrency', '1', '--admin', f'127.0.0.1:{ports[0]}', '--health-port', str(ports[1]),
            '--metrics-port', str(ports[2]), '--agent-port', str(ports[3])]
    with open(os.path.join(folder, 'log'), 'wb') as log:
        proxy = subprocess.Popen(argv, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
    try:
        limit = time.monotonic() + 60
        while True:
            try:
                sock = socket.create_connection(('127.0.0.1', edge), 2)
                break
            except OSError:
                if time.monotonic() > limit or proxy.poll() is not None:
                    sys.exit(f"the gateway does not listen:\n{open(os.path.join(folder, 'log')).read()}")
                time.sleep(0.1)   # another process starts; there is no event to wait for
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for number in range(requests):
            sock.sendall(REQUEST)
            got = b''
            while not got.endswith(BODY):
                data = sock.recv(65536)
                if not data:
                    sys.exit(f'request {number}: the connection ended: {got[:300]}')
                got += data
            if not got.startswith(b'HTTP/1.1 200'):
                sys.exit(f'request {number}: {got[:300]}')
        sock.close()
        subprocess.run(['callgrind_control', '-d', str(proxy.pid)], capture_output=True, timeout=60)
    finally:
        proxy.send_signal(signal.SIGKILL)
        proxy.wait()
    total = 0
    for name in os.listdir(folder):
        if name.startswith(f'callgrind.{requests}'):
            with open(os.path.join(folder, name)) as file:
                for line in file:
                    found = re.match(r'(?:summary|totals): (\d+)', line)
                    if found:
                        total = max(total, int(found[1]))
    return total


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--proxy', required=True)
    parser.add_argument('--limit', type=int)
    parser.add_argument('--profile', metavar='FILE', help='keeps the longer run as a callgrind file, for callgrind_annotate')
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix='sluice-bench-') as folder:
        application, edge, *ports = [free_port() for _ in range(6)]
        app(application)
        os.mkdir(os.path.join(folder, 'config'))
        rules = ''.join(f'  - {{match: [{{uri: {{prefix: /route{i}/}}}}], route: [{{destination: {{host: app}}}}]}}\n' for i in range(10))
        with open(os.path.join(folder, 'config', 'config.yaml'), 'w') as file:
            file.write(CONFIG % {'app': application, 'edge': edge} + rules)
        short, long = 500, 2500
        first = run(options.proxy, folder, edge, ports, short)
        second = run(options.proxy, folder, edge, ports, long)
        if options.profile:
            newest = max((n for n in os.listdir(folder) if n.startswith(f'callgrind.{long}')), key=lambda n: os.path.getsize(os.path.join(folder, n)))
            os.replace(os.path.join(folder, newest), options.profile)
    per_request = (second - first) // (long - short)
    print(f'keep-alive through one hop: {per_request} instructions per request')
    if options.limit and per_request > options.limit:
        sys.exit(f'above the limit of {options.limit}')


main()
