#!/usr/bin/python3 -B
"""Rules are exchanged, removed and made again while connections pass: none goes past the proxy, none fails. `swap_test.py Nft…`
runs one backend."""
import http.client
import itertools
import json
import os
import random
import re
import socket
import sys
import threading
import time
import unittest

from lab import BIN, SANITIZED, Lab, inside, request, service

PORT = 9080
# Each of these captures both directions of the load, and each differs from the others in other tables and chains.
FIXED = ['--envoy-port=15001', '--inbound-capture-port=15006', '--log_output_level=error']
CONFIGURATIONS = [
    ['--proxy-uid=1337', '--istio-service-cidr=*', '--istio-inbound-ports=*', '--istio-local-exclude-ports=15090,15021,15020'],
    ['--proxy-uid=1337', '--istio-service-cidr=*', '--istio-inbound-ports=*', '--redirect-dns', '--capture-all-dns',
     '--istio-local-outbound-ports-exclude=443'],
    ['--proxy-uid=1337', '--istio-service-cidr=10.244.0.0/16,fd00:10:244::/48', f'--istio-inbound-ports={PORT}', '--drop-invalid'],
    ['--proxy-uid=1337,4242', '--proxy-gid=1337', f'--istio-outbound-ports={PORT}', '--istio-inbound-ports=9000:9100',
     '--istio-exclude-interfaces=eth7'],
]
BACKENDS = {'Nft': ['--force-iptables-binary=nft'], 'Legacy': ['--force-iptables-binary=legacy'], 'Native': ['--native-nftables']}
SWAPS, CYCLES = (12, 4) if SANITIZED else (60, 10)
SEED = 20250817


class Stream(threading.Thread):
    """One connection after the other from one namespace to one address, each with one request: how each of them ended."""

    def __init__(self, netns, address, stop):
        super().__init__(daemon=True)
        self.netns, self.address, self.stop = netns, address, stop
        self.seen = []   # (begun, connected, 'captured' | 'direct' | what went wrong)
        self.start()

    def run(self):
        inside(self.netns, self._dial_on, 1000)

    def _dial_on(self):
        while not self.stop.is_set():
            begun = connected = time.monotonic()
            try:
                connection = http.client.HTTPConnection(self.address, PORT, timeout=20)
                connection.host_header = 'load'
                connection.sock = socket.create_connection((self.address, PORT), 20)
                connected = time.monotonic()
                status, _, body = request(connection, '/')
                connection.close()
                # Every hop of the mesh adds this field, and nobody else does.
                verdict = f'status {status}' if status != 200 else 'captured' if 'x-request-id' in json.loads(body)['headers'] else 'direct'
            except (OSError, http.client.HTTPException) as error:
                verdict = f'{type(error).__name__}: {error}'
            self.seen.append((begun, connected, verdict))


class Load:
    """Into the pod and out of it, over both families, until stopped."""

    def __init__(self, pod, outsider):
        self.stop = threading.Event()
        ways = (('into', outsider.netns, pod), ('out to', pod.netns, outsider))
        self.streams = {f'{name} {address}': Stream(netns, address, self.stop)
                        for name, netns, other in ways for address in (other.ip, other.ip6)}

    def progress(self):
        """Every stream has begun and ended a connection since this was called."""
        now = time.monotonic()
        while any(not stream.seen or stream.seen[-1][0] < now for stream in self.streams.values()):
            if time.monotonic() > now + 30:
                raise RuntimeError('the load stands still')
            time.sleep(0.001)   # polling for an event of other threads

    def end(self):
        self.stop.set()
        for stream in self.streams.values():
            stream.join(30)
        return {name: stream.seen for name, stream in self.streams.items()}


class Swapped:
    @classmethod
    def setUpClass(cls):
        cls.lab = lab = Lab()
        cls.pod = lab.pod('pod')
        cls.outsider = lab.pod('outsider', sidecar=False)
        lab.write_pods()
        cls.pod.app(PORT)
        cls.outsider.app(PORT)
        # Without a virtual address the proxy knows the pod's own, and what goes past the proxy arrives as well.
        text = re.sub(r'  clusterIP.*\n', '', service('outsider', {'http': PORT}, 10))
        lab.write('services.yaml', text.replace('spec:', 'spec:\n  clusterIP: None'))
        cls.apply(cls.backends()[0], CONFIGURATIONS[0])
        cls.pod.start_proxy()
        lab.settled()

    @classmethod
    def tearDownClass(cls):
        cls.lab.close()

    @classmethod
    def backends(cls):
        return [BACKENDS[cls.__name__]]

    @classmethod
    def apply(cls, *flags):
        begun = time.monotonic()
        cls.pod.run(f'{BIN}/sluice-init', *FIXED, *itertools.chain(*flags))
        return begun, time.monotonic()

    def test_swaps_leak_and_fail_nothing(self):
        dice = random.Random(SEED)
        load, last, times = Load(self.pod, self.outsider), None, []
        try:
            for number in range(SWAPS):
                load.progress()
                backend = self.backends()[number % len(self.backends())]
                chosen = dice.choice([c for c in CONFIGURATIONS if c is not last])
                begun, ended = self.apply(backend, chosen, dice.choice([[], ['--reconcile'], ['--force-apply']]))
                times.append(ended - begun)
                last = chosen
            load.progress()
        finally:
            streams = load.end()
        for name, seen in streams.items():
            self.assertEqual([verdict for _, _, verdict in seen if verdict != 'captured'], [], f'{name}: of {len(seen)} connections')
        during = sum(len(seen) for seen in streams.values())
        print(f'\n  {type(self).__name__}: {SWAPS} swaps of {sorted(times)[len(times) // 2] * 1000:.0f} ms, {during} connections, '
              '0 leaked, 0 failed', file=sys.stderr)

    def test_cleaned_and_made_again_with_one_boundary_each(self):
        operations = []   # (begun, ended, the state that it leads to)
        load = Load(self.pod, self.outsider)
        try:
            for number in range(CYCLES):
                backend = self.backends()[number % len(self.backends())]
                for flags, state in ((['--cleanup-only'], 'direct'), (CONFIGURATIONS[number % len(CONFIGURATIONS)], 'captured')):
                    load.progress()
                    operations.append((*self.apply(backend, flags), state))
            load.progress()
        finally:
            streams = load.end()
        for name, seen in streams.items():
            self.assertEqual([v for _, _, v in seen if v not in ('captured', 'direct')], [], f'{name}: of {len(seen)} connections')
            self.one_boundary(name, seen, operations)
        print(f'\n  {type(self).__name__}: {CYCLES} times cleaned and made again, {sum(map(len, streams.values()))} connections, 0 failed',
              file=sys.stderr)

    def one_boundary(self, name, seen, operations):
        """Before an operation all connections are in the old state, after it all in the new one, and while it runs the state
        changes once."""
        state, at = 'captured', 0
        for begun, ended, becomes in operations:
            verdicts = []
            while at < len(seen) and seen[at][0] < ended:
                if seen[at][1] < begun:
                    self.assertEqual(seen[at][2], state, f'{name}: {begun - seen[at][1]:.4f} s before the rules for {becomes}')
                else:
                    verdicts.append(seen[at][2])
                at += 1
            changes = [verdict for verdict, _ in itertools.groupby([state, *verdicts])]
            self.assertIn(changes, ([state], [state, becomes]), f'{name}: {verdicts}')
            state = becomes
        self.assertLess(at, len(seen))
        self.assertEqual({verdict for _, _, verdict in seen[at:]}, {state}, f'{name}: after the last operation')


class Nft(Swapped, unittest.TestCase):
    pass


class Legacy(Swapped, unittest.TestCase):
    pass


class Native(Swapped, unittest.TestCase):
    pass


class Mixed(Swapped, unittest.TestCase):
    """Every swap goes to another backend too."""

    @classmethod
    def backends(cls):
        return list(BACKENDS.values())


if __name__ == '__main__':
    if os.geteuid() != 0:
        print('network namespaces need root')
        sys.exit(77)
    unittest.main(verbosity=2, warnings='ignore')   # sockets end with the process
