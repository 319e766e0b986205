#!/usr/bin/python3 -B
"""Who is captured, option by option: real connections into and out of a pod, before and after sluice-init got the option, over
both families. `capture_test.py Nft` runs one backend, `capture_test.py Nft.test_istio_service_cidr` one row of it."""
import dataclasses
import errno
import itertools
import json
import os
import re
import socket
import struct
import subprocess
import sys
import threading
import unittest

from lab import BIN, App, Lab, inside, ip

# What the injector hands to the init container of every pod.
POD = {'envoy-port': '15001', 'inbound-capture-port': '15006', 'proxy-uid': '1337', 'istio-inbound-interception-mode': 'REDIRECT',
       'istio-service-cidr': '*', 'istio-service-exclude-cidr': '', 'istio-inbound-ports': '*',
       'istio-local-exclude-ports': '15090,15021,15020'}
NOBODYS = {name: value for name, value in POD.items() if name != 'proxy-uid'}
TPROXY = {**POD, 'istio-inbound-interception-mode': 'TPROXY'}
DNS = {**POD, 'redirect-dns': None, 'capture-all-dns': None}
RESOLVER = {**POD, 'dns-servers': '203.0.113.53,2001:db8:53::53'}
BACKENDS = {'Nft': {'force-iptables-binary': 'nft'}, 'Legacy': {'force-iptables-binary': 'legacy'}, 'Native': {'native-nftables': None}}

# near and far, dns and dns2 are addresses of the router outside; the way to far leads through eth1.
PLACES = {
    4: {'near': '192.0.2.1', 'far': '198.51.100.1', 'dns': '203.0.113.53', 'dns2': '203.0.113.54', 'eth1': '10.244.78.2',
        'localhost': '127.0.0.1', 'localhost5': '127.0.0.5', 'marker': '127.0.0.6'},
    6: {'near': '2001:db8:9::1', 'far': '2001:db8:f::1', 'dns': '2001:db8:53::53', 'dns2': '2001:db8:53::54', 'eth1': 'fd00:10:244:78::2',
        'localhost': '::1', 'marker': '::6'}}
NEAR, OWN, LOOPBACK = '192.0.2.0/24,2001:db8:9::/64', '10.244.77.0/24,fd00:10:244:77::/64', '127.0.0.0/8,::1/128'

SO_ORIGINAL_DST, IP_TRANSPARENT = 80, 19
# One for each dial of the run, below those that the kernel gives away: the kernel remembers what it did with the datagrams of a port,
# and with a connection that nobody answered, for two minutes, and would do the same again whatever the rules are by then.
SOURCE_PORTS = itertools.count(20000)
TCP_REPAIR, TCP_REPAIR_QUEUE, TCP_QUEUE_SEQ = 19, 20, 21


class Witness(App):
    """Listens on a port and tells everybody who connects what it knows about the connection; then it echoes."""

    def __init__(self, netns, name, port):
        super().__init__(netns, name, port, tcp=True)
        self.port = port
        self.listener.setsockopt(socket.IPPROTO_IP, IP_TRANSPARENT, 1)   # TPROXY finds no other listener

    def _echo(self, sock, peer):
        local = sock.getsockname()
        four = local[0].startswith('::ffff:')
        try:
            raw = sock.getsockopt(socket.IPPROTO_IP if four else socket.IPPROTO_IPV6, SO_ORIGINAL_DST, 28)
            port, = struct.unpack('!H', raw[2:4])
            to = [socket.inet_ntop(socket.AF_INET, raw[4:8]) if four else socket.inet_ntop(socket.AF_INET6, raw[8:24]), port]
        except OSError:   # no connection tracking here: nothing was redirected
            to = [local[0], local[1]]
        clear = [text.removeprefix('::ffff:') for text in (to[0], peer[0])]
        sock.sendall(json.dumps([self.name, local[1] != self.port, clear[0], to[1], clear[1]]).encode() + b'\n')
        super()._echo(sock, peer)


def resolver(netns, address, port, name, uid=0):
    """Answers every datagram with its name."""
    def listen():
        sock = socket.socket(socket.AF_INET6 if ':' in address else socket.AF_INET, socket.SOCK_DGRAM)
        sock.bind((address, port))
        return sock
    sock = inside(netns, listen, uid)

    def serve():
        while True:
            sock.sendto(name.encode(), sock.recvfrom(100)[1])
    threading.Thread(target=serve, daemon=True).start()


@dataclasses.dataclass(frozen=True)
class Dial:
    """One connection, or with kind 'udp' one query. ask() says who answered:
    direct (who was dialled), outbound, inbound, dns (the proxy's three ports), 'X on PORT' (the same on another port),
    'X, transparently' (by TPROXY), refused, nothing, no such source; whatever else differs from what was dialled is added in words."""
    origin: str
    to: str
    port: int
    uid: int = 1000
    gid: int = 1000
    source: str = ''
    mark: int = 0
    kind: str = 'tcp'
    families: tuple = (4, 6)

    def words(self, family):
        extra = ''.join(f', {name} {getattr(self, name)}' for name in ('uid', 'gid', 'source', 'mark')
                        if getattr(self, name) != getattr(Dial, name))
        return f'IPv{family} {self.kind} from {self.origin} to {self.to}:{self.port}{extra}'

    def ask(self, world, family, patience):
        work = {'tcp': self._connect, 'udp': self._query, 'stray': self._stray}[self.kind]
        try:
            return inside(world.netns[self.origin], lambda: work(world.places[family], family, patience), self.uid, self.gid)
        except TimeoutError:
            return 'nothing'
        except ConnectionRefusedError:
            return 'refused'
        except OSError as error:
            if error.errno == errno.EADDRNOTAVAIL:
                return 'no such source'
            raise

    def _socket(self, kind, places, family, patience):
        sock = socket.socket(socket.AF_INET if family == 4 else socket.AF_INET6, kind)
        sock.settimeout(patience)
        if self.mark:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, self.mark)
            sock.setsockopt(socket.IPPROTO_IP, IP_TRANSPARENT, 1)   # may bind the address of somebody else
        sock.bind((places[self.source] if self.source else '', next(SOURCE_PORTS)))
        sock.connect((places[self.to], self.port))
        return sock

    def _query(self, places, family, patience):
        with self._socket(socket.SOCK_DGRAM, places, family, patience) as sock:
            sock.send(b'?')
            return sock.recv(100).decode()

    def _connect(self, places, family, patience):
        with self._socket(socket.SOCK_STREAM, places, family, patience) as sock:
            return self._verdict(sock, places)

    def _verdict(self, sock, places):
        who, transparent, address, port, peer = json.loads(sock.makefile('rb').readline())
        if (address, port) != (places[self.to], self.port):
            who += f' as {address}:{port}'
        if peer != sock.getsockname()[0]:
            who += f' from {peer}'
        return who + (', transparently' if transparent else '')

    def _stray(self, places, family, patience):
        """A segment from outside the window of a connection that is captured: does the connection live on?"""
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})   # of this thread: one processor delivers in order
        with self._socket(socket.SOCK_STREAM, places, family, patience) as sock:
            verdict = self._verdict(sock, places)
            number = {}
            sock.setsockopt(socket.IPPROTO_TCP, TCP_REPAIR, 1)
            for queue in (1, 2):   # what comes next from there, and from here
                sock.setsockopt(socket.IPPROTO_TCP, TCP_REPAIR_QUEUE, queue)
                number[queue] = sock.getsockopt(socket.IPPROTO_TCP, TCP_QUEUE_SEQ) & 0xffffffff
            sock.setsockopt(socket.IPPROTO_TCP, TCP_REPAIR, -1)
            far_ahead, ack = (number[2] + (1 << 28)) & 0xffffffff, 0x10
            segment = struct.pack('!HHIIBBHHH', sock.getsockname()[1], self.port, far_ahead, number[1], 5 << 4, ack, 512, 0, 0)
            with socket.socket(sock.family, socket.SOCK_RAW, socket.IPPROTO_TCP) as raw:
                if family == 6:
                    raw.setsockopt(socket.IPPROTO_IPV6, 7, 16)   # IPV6_CHECKSUM: the kernel fills it in
                else:
                    ends = socket.inet_aton(sock.getsockname()[0]) + socket.inet_aton(places[self.to])
                    total = sum(struct.unpack('!16H', ends + struct.pack('!HH', socket.IPPROTO_TCP, len(segment)) + segment))
                    segment = segment[:16] + struct.pack('!H', ~(total + (total >> 16)) & 0xffff) + segment[18:]
                raw.sendto(segment, (places[self.to], 0))
            try:
                sock.sendall(b'x')
                return f'{verdict}, alive' if sock.recv(1) == b'x' else f'{verdict}, closed'
            except ConnectionError:
                return f'{verdict}, reset'


def out(to='near', port=80, **more):
    return Dial('pod', to, port, **more)


def into(port=8080, to='pod', **more):
    return Dial('outside', to, port, **more)


def vm(to='near', port=80, **more):
    return Dial('vm', to, port, **more)


def itself(port=8080, to='pod', **more):
    """The proxy dials its own pod."""
    return Dial('pod', to, port, uid=1337, gid=1337, **more)


def delivery(client):
    """The proxy hands a connection to the app under the address of the client, as it does in TPROXY mode."""
    return Dial('pod', 'pod', 8080, uid=0, gid=1337, mark=1337, source=client)


@dataclasses.dataclass(frozen=True)
class Row:
    """With `base` every dial of `dials` ends as its first verdict says, with `base` and `given` as its second."""
    name: str
    given: dict
    dials: list
    base: dict = dataclasses.field(default_factory=lambda: POD)
    after: tuple = ()    # `ip` commands once the option is applied, …
    undo: tuple = ()     # … and what takes them back


CONTROL = [(into(), 'inbound', 'inbound'), (out(), 'outbound', 'outbound')]
LEFT_ALONE = [(out(), 'outbound', 'outbound'), (out('far', 443), 'outbound', 'outbound'), (into(), 'inbound', 'inbound')]
NO_OUTBOUND = [(out(), 'outbound', 'direct'), (out('far', 443), 'outbound', 'direct'), (into(), 'inbound', 'inbound')]
ROWS = [
    Row('pod', {**POD, 'cleanup-only': 'false'}, base={'cleanup-only': None}, dials=[
        (out(), 'direct', 'outbound'), (out('far', 443), 'direct', 'outbound'), (out(uid=0, gid=0), 'direct', 'outbound'),
        (out(uid=1337), 'direct', 'direct'), (out(gid=1337), 'direct', 'direct'),
        (out('localhost', 8080), 'direct', 'direct'), (out('pod', 8080), 'direct', 'direct'), (out('eth1', 8080), 'direct', 'direct'),
        (itself(), 'direct', 'inbound'), (itself(to='localhost'), 'direct', 'direct'), (itself(15008), 'direct', 'direct'),
        (itself(source='marker', families=(4,)), 'direct', 'direct'), (itself(source='marker', families=(6,)), 'no such source', 'direct'),
        (out('dns', 53, kind='udp'), 'direct', 'direct'),
        (into(), 'direct', 'inbound'), (into(8081), 'direct', 'inbound'), (into(to='eth1'), 'direct', 'inbound'),
        (into(15008), 'direct', 'direct'), (into(15020), 'direct', 'direct'), (into(9), 'refused', 'inbound')]),
    Row('cleanup-only', {'cleanup-only': None}, dials=[
        (out(), 'outbound', 'direct'), (into(), 'inbound', 'direct'), (itself(), 'inbound', 'direct')]),
    Row('cleanup-only after TPROXY and DNS', {'cleanup-only': None}, base={**TPROXY, 'redirect-dns': None, 'capture-all-dns': None}, dials=[
        (out(), 'outbound', 'direct'), (into(), 'inbound, transparently', 'direct'), (out('dns', 53, kind='udp'), 'dns', 'direct')]),

    Row('envoy-port', {'envoy-port': '16001'}, [(out(), 'outbound', 'outbound on 16001'), (into(), 'inbound', 'inbound')]),
    Row('inbound-capture-port', {'inbound-capture-port': '16006'}, [
        (into(), 'inbound', 'inbound on 16006'), (itself(), 'inbound', 'inbound on 16006'), (out(), 'outbound', 'outbound')]),
    Row('inbound-capture-port, TPROXY', {'inbound-capture-port': '16006'}, base=TPROXY, dials=[
        (into(), 'inbound, transparently', 'inbound on 16006, transparently'), (out(), 'outbound', 'outbound')]),
    Row('inbound-tunnel-port', {'inbound-tunnel-port': '15009'}, CONTROL + [
        (into(15008), 'direct', 'inbound'), (into(15009), 'inbound', 'direct'),
        (itself(15008), 'direct', 'inbound'), (itself(15009), 'inbound', 'direct')]),

    Row('proxy-uid', {'proxy-uid': '4242'}, CONTROL + [
        (out(uid=4242), 'outbound', 'direct'), (out(uid=1337), 'direct', 'outbound'),
        (out(gid=4242), 'outbound', 'direct'), (out(gid=1337), 'direct', 'outbound'),      # the default of proxy-gid follows
        (Dial('pod', 'pod', 8080, uid=4242, gid=4242), 'direct', 'inbound')]),
    Row('proxy-uid, a list', {'proxy-uid': '1337,4242'}, CONTROL + [
        (out(uid=4242), 'outbound', 'direct'), (out(uid=1337), 'direct', 'direct')]),
    Row('ENVOY_USER', {'ENVOY_USER': 'nobody'}, base=NOBODYS, dials=CONTROL + [
        (out(uid=65534), 'outbound', 'direct'), (out(uid=1337), 'direct', 'outbound')]),
    Row('proxy-gid', {'proxy-gid': '5005'}, CONTROL + [
        (out(gid=5005), 'outbound', 'direct'), (out(gid=1337), 'direct', 'outbound'), (out(uid=1337), 'direct', 'direct')]),
    Row('ISTIO_OUTBOUND_OWNER_GROUPS', {'ISTIO_OUTBOUND_OWNER_GROUPS': '5005,5006'}, [
        (out(), 'outbound', 'direct'), (out(gid=5005), 'outbound', 'outbound'), (out(gid=5006), 'outbound', 'outbound'),
        (into(), 'inbound', 'inbound')]),
    Row('ISTIO_OUTBOUND_OWNER_GROUPS_EXCLUDE', {'ISTIO_OUTBOUND_OWNER_GROUPS_EXCLUDE': '5005'}, base=DNS, dials=CONTROL + [
        (out(gid=5005), 'outbound', 'direct'), (out('dns', 53, kind='udp', gid=5005), 'dns', 'direct'),
        (out('dns', 53, kind='udp'), 'dns', 'dns')]),

    Row('istio-inbound-interception-mode', {'istio-inbound-interception-mode': 'TPROXY'}, [
        (into(), 'inbound', 'inbound, transparently'), (into(to='eth1'), 'inbound', 'inbound, transparently'),
        (into(15020), 'direct', 'direct'), (out(), 'outbound', 'outbound'), (out(uid=1337), 'direct', 'direct'),
        (delivery('near'), 'nothing', 'direct'),
        (out('pod', 8080), 'direct', 'direct'), (out('localhost', 8080), 'direct', 'direct')]),
    Row('istio-inbound-tproxy-mark', {'istio-inbound-tproxy-mark': '512'}, base=TPROXY, dials=[
        # The proxy hands a connection to the app with the mark, and calls its own pod without.
        (Dial('pod', 'pod', 8080, uid=0, gid=1337, mark=512), 'inbound, transparently', 'direct'),
        (Dial('pod', 'pod', 8080, uid=0, gid=1337, mark=1337), 'direct', 'inbound, transparently'),
        (into(), 'inbound, transparently', 'inbound, transparently')]),
    Row('istio-inbound-tproxy-route-table', {'istio-inbound-tproxy-route-table': '400'}, base=TPROXY, dials=[
        # What is not the pod's own address is delivered by the table alone; a hole in it shows which one.
        (vm(), 'inbound, transparently', 'nothing'), (vm('far'), 'inbound, transparently', 'inbound, transparently'),
        (delivery('near'), 'direct', 'nothing'), (delivery('far'), 'direct', 'direct')],
        after=('route add blackhole 192.0.2.0/24 table 400', '-6 route add blackhole 2001:db8:9::/64 table 400'),
        undo=('route del blackhole 192.0.2.0/24 table 400', '-6 route del blackhole 2001:db8:9::/64 table 400')),

    Row('istio-inbound-ports, none', {'istio-inbound-ports': ''}, [
        (into(), 'inbound', 'direct'), (into(8081), 'inbound', 'direct'), (out(), 'outbound', 'outbound'),
        (itself(), 'inbound', 'inbound')]),
    Row('istio-inbound-ports, a list', {'istio-inbound-ports': '8081,15020'}, [
        (into(), 'inbound', 'direct'), (into(8081), 'inbound', 'inbound'), (into(15020), 'direct', 'inbound'),   # excludes are for * only
        (out(), 'outbound', 'outbound')]),
    Row('istio-inbound-ports, a range', {'istio-inbound-ports': '8000:8080'}, [
        (into(), 'inbound', 'inbound'), (into(8081), 'inbound', 'direct')]),
    Row('istio-inbound-ports, TPROXY', {'istio-inbound-ports': '8081'}, base=TPROXY, dials=[
        (into(), 'inbound, transparently', 'direct'), (into(8081), 'inbound, transparently', 'inbound, transparently')]),
    Row('istio-local-exclude-ports', {'istio-local-exclude-ports': '8080'}, [
        (into(), 'inbound', 'direct'), (into(15020), 'direct', 'inbound'), (into(8081), 'inbound', 'inbound'),
        (itself(), 'inbound', 'inbound'), (out(), 'outbound', 'outbound'), (out(port=8080), 'outbound', 'outbound')]),
    Row('istio-local-exclude-ports, TPROXY', {'istio-local-exclude-ports': '8080'}, base=TPROXY, dials=[
        (into(), 'inbound, transparently', 'direct'), (into(15020), 'direct', 'inbound, transparently')]),

    Row('istio-service-cidr, none', {'istio-service-cidr': ''}, NO_OUTBOUND),
    Row('istio-service-cidr, a list', {'istio-service-cidr': NEAR}, CONTROL + [(out('far'), 'outbound', 'direct')]),
    Row('istio-service-cidr, one family', {'istio-service-cidr': '192.0.2.0/24'}, [
        (out(families=(4,)), 'outbound', 'outbound'), (out(families=(6,)), 'outbound', 'direct'), (out('far'), 'outbound', 'direct')]),
    # With loopback among the ranges the app's calls to its own pod count as outbound too.
    Row('istio-service-cidr, loopback', {'istio-service-cidr': f'{OWN},{LOOPBACK}'}, base={**POD, 'istio-service-cidr': OWN}, dials=[
        (out('pod', 8080), 'direct', 'outbound'), (out('localhost5', 8080, families=(4,)), 'direct', 'outbound'),
        (out('localhost', 8080), 'direct', 'direct'), (out(), 'direct', 'direct')]),
    Row('ISTIO_OUTBOUND_IPV4_LOOPBACK_CIDR', {'ISTIO_OUTBOUND_IPV4_LOOPBACK_CIDR': '127.0.0.0/8'}, CONTROL + [
        (itself(to='localhost5', families=(4,)), 'inbound', 'direct'), (itself(to='localhost'), 'direct', 'direct'),
        (itself(), 'inbound', 'inbound')]),
    Row('istio-service-exclude-cidr', {'istio-service-exclude-cidr': NEAR}, [
        (out(), 'outbound', 'direct'), (out('far'), 'outbound', 'outbound'), (into(), 'inbound', 'inbound')]),
    Row('istio-outbound-ports', {'istio-outbound-ports': '443'}, base={**POD, 'istio-service-cidr': ''}, dials=[
        (out(port=443), 'direct', 'outbound'), (out('far', 443), 'direct', 'outbound'), (out(), 'direct', 'direct'),
        (out(port=443, uid=1337), 'direct', 'direct')]),
    Row('istio-outbound-ports, excluded range', {'istio-outbound-ports': '443'}, dials=[
        (out(port=443), 'direct', 'direct'), (out('far', 443), 'direct', 'outbound')],
        base={**POD, 'istio-service-cidr': '', 'istio-service-exclude-cidr': NEAR}),
    Row('istio-local-outbound-ports-exclude', {'istio-local-outbound-ports-exclude': '443,53'}, base=DNS, dials=CONTROL + [
        (out(port=443), 'outbound', 'direct'), (out('far', 443), 'outbound', 'direct'),
        (out('dns', 53, kind='udp'), 'dns', 'direct'), (out('dns', 53), 'dns', 'direct')]),

    Row('istio-exclude-interfaces', {'istio-exclude-interfaces': 'eth1'}, CONTROL + [
        (into(to='eth1'), 'inbound', 'direct'), (out('far'), 'outbound', 'direct')]),
    Row('istio-exclude-interfaces, TPROXY', {'istio-exclude-interfaces': 'eth7,eth1'}, base=TPROXY, dials=[
        (into(to='eth1'), 'inbound, transparently', 'direct'), (into(), 'inbound, transparently', 'inbound, transparently'),
        (out('far'), 'outbound', 'direct'), (out(), 'outbound', 'outbound')]),
    Row('istio-exclude-interfaces, wildcard', {'istio-exclude-interfaces': 'eth+'}, [
        (into(), 'inbound', 'direct'), (out(), 'outbound', 'direct'), (vm(), 'inbound', 'inbound')]),
    Row('kube-virt-interfaces', {'kube-virt-interfaces': 'net1'}, CONTROL + [
        (vm(), 'inbound', 'outbound'), (vm('far', 443), 'inbound', 'outbound')]),
    Row('kube-virt-interfaces, a range', {'kube-virt-interfaces': 'net1'}, base={**POD, 'istio-service-cidr': NEAR}, dials=CONTROL + [
        (vm(), 'inbound', 'outbound'), (vm('far', 443), 'inbound', 'direct')]),

    Row('redirect-dns', {'redirect-dns': None}, base=RESOLVER, dials=CONTROL + [
        (out('dns', 53, kind='udp'), 'direct', 'dns'), (out('dns', 53), 'outbound', 'dns'),
        (out('dns2', 53, kind='udp'), 'direct', 'direct'), (out('dns2', 53), 'outbound', 'outbound'),
        (out('dns', 53, kind='udp', uid=1337), 'direct', 'direct'), (out('dns', 53, uid=1337), 'direct', 'direct')]),
    Row('dns-servers', {'dns-servers': '203.0.113.54,2001:db8:53::54'}, base={**RESOLVER, 'redirect-dns': None}, dials=CONTROL + [
        (out('dns', 53, kind='udp'), 'dns', 'direct'), (out('dns2', 53, kind='udp'), 'direct', 'dns'),
        (out('dns2', 53), 'outbound', 'dns')]),
    Row('capture-all-dns', {'capture-all-dns': None}, base={**RESOLVER, 'redirect-dns': None}, dials=CONTROL + [
        (out('dns', 53, kind='udp'), 'dns', 'dns'), (out('dns2', 53, kind='udp'), 'direct', 'dns'),
        (out('dns2', 53), 'outbound', 'dns'),
        (out('dns2', 53, kind='udp', uid=1337), 'direct', 'direct')]),

    Row('drop-invalid', {'drop-invalid': None}, CONTROL + [(into(kind='stray'), 'inbound, reset', 'inbound, alive')]),
    Row('enable-ipv6', {'enable-ipv6': 'false'}, [
        (out(families=(4,)), 'outbound', 'outbound'), (into(families=(4,)), 'inbound', 'inbound'),
        (out(families=(6,)), 'outbound', 'direct'), (into(families=(6,)), 'inbound', 'direct')]),
    Row('dual-stack', {'dual-stack': None}, LEFT_ALONE),   # both families are always looked at

    Row('hold-until-ready', {'hold-until-ready': None}, base={**POD, 'envoy-port': '17001', 'inbound-capture-port': '17006'}, dials=[
        (out(), 'refused', 'nothing'), (into(), 'refused', 'nothing'), (itself(), 'refused', 'nothing'),   # nobody listens there
        (out(uid=1337), 'direct', 'direct'), (into(15020), 'direct', 'direct')]),

    # The same other configuration with the options that say what becomes of it.
    Row('dry-run', {'istio-service-cidr': '', 'dry-run': None}, LEFT_ALONE),
    Row('explain', {'istio-service-cidr': '', 'explain': None}, LEFT_ALONE),
    Row('trace', {'istio-service-cidr': '', 'trace': 'out 192.0.2.1:80'}, LEFT_ALONE),
    Row('skip-rule-apply', {'istio-service-cidr': '', 'skip-rule-apply': None}, LEFT_ALONE),
    Row('reconcile', {'istio-service-cidr': '', 'reconcile': None}, NO_OUTBOUND),
    Row('force-apply', {'istio-service-cidr': '', 'force-apply': None}, NO_OUTBOUND),
    Row('force-apply, the same', {'force-apply': None}, LEFT_ALONE),
    Row('cni-mode', {'istio-service-cidr': '', 'cni-mode': None, 'network-namespace': '/proc/self/ns/net'}, NO_OUTBOUND),
]
# Flags and variables that capture nobody and free nobody: checks, refusals, and where words go to.
NO_ROW = {'help', 'version', 'host', 'iptables-probe-port', 'probe-timeout', 'run-validation', 'log_output_level', 'log_as_json',
          'DRY_RUN_FILE_PATH'}


class World:
    """A pod with two cards and a virtual machine behind it; around it a router that has everything outside on its lo."""

    def __init__(self):
        self.lab = Lab()
        self.pod = self.lab.pod('pod')
        machine = f'{self.lab.prefix}-vm'
        self.netns = {'pod': self.pod.netns, 'outside': self.lab.bridge, 'vm': machine}
        self.places = {4: {**PLACES[4], 'pod': self.pod.ip}, 6: {**PLACES[6], 'pod': self.pod.ip6}}
        ip('netns', 'add', machine)
        self.lab.netns.append(machine)
        self.wire('outside', 'e1', 1, 'pod', 'eth1', 2, '78')
        self.wire('pod', 'net1', 1, 'vm', 'eth0', 2, '79')
        for name, family, places in (('lo', '-4', PLACES[4]), ('lo', '-6', PLACES[6])):
            for place in ('near', 'far', 'dns', 'dns2'):
                ip('-n', self.lab.bridge, family, 'addr', 'add', places[place], 'dev', name)
        for netns in self.netns.values():
            ip('-n', netns, 'link', 'set', 'lo', 'up')
        ip('-n', machine, 'route', 'add', 'default', 'via', '10.244.79.1')
        ip('-n', machine, '-6', 'route', 'add', 'default', 'via', 'fd00:10:244:79::1')
        ip('-n', self.pod.netns, 'route', 'add', '198.51.100.0/24', 'via', '10.244.78.1')
        ip('-n', self.pod.netns, '-6', 'route', 'add', '2001:db8:f::/64', 'via', 'fd00:10:244:78::1')
        ip('-n', self.lab.bridge, 'route', 'add', '10.244.79.0/24', 'via', self.pod.ip)
        ip('-n', self.lab.bridge, '-6', 'route', 'add', 'fd00:10:244:79::/64', 'via', self.pod.ip6)
        self.pod.run('sysctl', '-qw', 'net.ipv4.ip_forward=1', 'net.ipv6.conf.all.forwarding=1', 'net.ipv4.conf.all.rp_filter=0')
        for port, name in ((15001, 'outbound'), (15006, 'inbound'), (15053, 'dns'), (16001, 'outbound on 16001'),
                           (16006, 'inbound on 16006')):
            Witness(self.pod.netns, name, port)
        for port in (8080, 8081, 15008, 15009, 15020):
            Witness(self.pod.netns, 'direct', port)
        for port in (53, 80, 443, 8080):
            Witness(self.lab.bridge, 'direct', port)
        for places in PLACES.values():
            resolver(self.pod.netns, places['localhost'], 15053, 'dns', uid=1337)
            for place in ('dns', 'dns2'):
                resolver(self.lab.bridge, places[place], 53, 'direct')

    def wire(self, one, card, number, other, other_card, other_number, net):
        ip('link', 'add', card, 'netns', self.netns[one], 'type', 'veth', 'peer', 'name', other_card, 'netns', self.netns[other])
        for name, nic, last in ((one, card, number), (other, other_card, other_number)):
            ip('-n', self.netns[name], 'addr', 'add', f'10.244.{net}.{last}/24', 'dev', nic)
            ip('-n', self.netns[name], 'addr', 'add', f'fd00:10:244:{net}::{last}/64', 'dev', nic, 'nodad')
            ip('-n', self.netns[name], 'link', 'set', nic, 'up')

    def apply(self, options):
        variables = [f'{name}={value}' for name, value in options.items() if name.isupper()]
        flags = [f'--{name}' if value is None else f'--{name}={value}' for name, value in options.items() if not name.isupper()]
        self.pod.run('env', *variables, f'{BIN}/sluice-init', '--log_output_level=error', *flags)

    def commands(self, commands):
        for command in commands:
            ip('-n', self.pod.netns, *command.split())

    def context(self, options):
        """What the kernel knows at this moment, for a difference that nobody can repeat."""
        parts = [f'options: {options}']
        for command in ('nft list ruleset', 'iptables-nft-save', 'ip6tables-nft-save', 'iptables-legacy-save', 'ip6tables-legacy-save',
                        'ip rule', 'ip route show table all', 'ip -6 rule', 'ip -6 route show table all', 'ss -tanp',
                        'cat /proc/net/nf_conntrack'):
            try:
                done = self.pod.run(*command.split(), check=False, timeout=10)
                parts.append(f'{command}: exit {done.returncode}\n{done.stdout}{done.stderr}')
            except (OSError, subprocess.TimeoutExpired) as error:
                parts.append(f'{command}: {error}')
        return '\n'.join(parts)


class Backend:
    """The rows with one backend. Nothing is cleaned between them: each first configuration replaces the last one's rules."""

    @classmethod
    def setUpClass(cls):
        if not hasattr(Backend, 'world'):
            Backend.world = World()
        cls.world.apply({'cleanup-only': None})

    @classmethod
    def tearDownClass(cls):
        cls.world.apply({'cleanup-only': None})

    def check(self, row):
        differences, context = [], ''
        for column, words, options in ((1, 'without', row.base), (2, 'with', {**row.base, **row.given})):
            self.world.apply({**BACKENDS[type(self).__name__], **options})
            if column == 2:
                self.world.commands(row.after)
            for probe in row.dials:
                for family in probe[0].families:
                    got = probe[0].ask(self.world, family, 0.4 if probe[column] == 'nothing' else 10)
                    if got != probe[column]:
                        differences.append(f'{words} {row.given}: {probe[0].words(family)}: {got}, not {probe[column]}')
                        context = context or self.world.context(options)   # before anything changes
        self.world.commands(row.undo)
        self.assertEqual(differences, [], context)


class Nft(Backend, unittest.TestCase):
    pass


class Legacy(Backend, unittest.TestCase):
    pass


class Native(Backend, unittest.TestCase):
    pass


for case in ROWS:
    for name in BACKENDS:
        setattr(globals()[name], 'test_' + re.sub(r'\W+', '_', case.name), lambda self, case=case: self.check(case))


class Table(unittest.TestCase):
    def test_every_option_has_a_row(self):
        text = subprocess.run([f'{BIN}/sluice-init', '--help'], capture_output=True, text=True, check=True).stdout
        known = set(re.findall(r'^ .{5}--([\w-]+)', text, re.M)) | set(re.findall(r'^  ([A-Z_]{3,}) ', text, re.M))
        self.assertIn('istio-service-cidr', known)
        self.assertIn('ENVOY_USER', known)
        backends = {name for options in BACKENDS.values() for name in options}
        self.assertEqual(known - backends - NO_ROW - {name for row in ROWS for name in row.given}, set())

    def test_every_row_with_an_effect_shows_one(self):
        for row in ROWS:
            if row.dials is not LEFT_ALONE:
                self.assertTrue(any(without != given for _, without, given in row.dials), row.name)


if __name__ == '__main__':
    if os.geteuid() != 0:
        print('network namespaces need root')
        sys.exit(77)
    unittest.main(verbosity=2, warnings='ignore')   # sockets end with the process
