#!/usr/bin/python3 -B
"""SIGKILL at random instants: every table is all or nothing, the next run heals, and connections that are open go on.
`kill_test.py Nft` runs one backend, KILL_SEED=N another order of events."""
import functools
import os
import random
import re
import signal
import socket
import subprocess
import sys
import time
import unittest

from lab import BIN, CLEAN, SANITIZED, App, Lab, inside, ip

POD = ['--proxy-uid=1337', '--istio-service-cidr=*', '--istio-inbound-ports=*', '--istio-local-exclude-ports=15090,15021,15020']
CONFIGURATIONS = {
    'pod': POD,
    'TPROXY and DNS': [*POD, '--istio-inbound-interception-mode=TPROXY', '--redirect-dns', '--capture-all-dns', '--drop-invalid'],
    'another TPROXY': [*POD, '--istio-inbound-interception-mode=TPROXY', '--istio-inbound-tproxy-mark=512',
                       '--istio-inbound-tproxy-route-table=400'],
    'lists': ['--istio-service-cidr=10.0.0.0/8,fd00::/8', '--istio-inbound-ports=80,8080', '--istio-exclude-interfaces=eth7',
              '--drop-invalid'],
    'nothing': ['--cleanup-only'],
}
BACKENDS = {'Nft': ['--force-iptables-binary=nft'], 'Legacy': ['--force-iptables-binary=legacy'], 'Native': ['--native-nftables']}
PER_BACKEND = 20 if SANITIZED else 100
SEED = int(os.environ.get('KILL_SEED', '20240229'))


# What the tables hold while the kernel only follows connections, without counters.
TRACKING = {'tables': ['-A ISTIO_OUTPUT -j RETURN', '-A ISTIO_REDIRECT -p tcp -j REDIRECT --to-ports 15001', '-A OUTPUT -j ISTIO_OUTPUT',
                       ':ISTIO_OUTPUT -', ':ISTIO_REDIRECT -'],
            'nft': ['counter jump istio-output', 'counter return', 'meta l4proto tcp counter redirect to :15001']}
PLACES = {4: ('10.8.0.1', '10.8.0.2'), 6: ('fd00:8::1', 'fd00:8::2')}   # outside, pod
PORT = 9000


class Live:
    """Connections over a wire, in both directions and families, that were there before the first rule."""

    def __init__(self, pod, outside):
        self.apps = [App(netns, 'live', PORT, tcp=True) for netns in (outside, pod)]
        self.sockets = {}
        for family, (there, here) in PLACES.items():
            for name, netns, address in (('out', pod, there), ('in', outside, here)):
                self.sockets[f'IPv{family} {name}'] = inside(netns, lambda to=address: socket.create_connection((to, PORT), 5))

    def ask(self):
        """Those that do not answer."""
        silent = []
        for name, sock in self.sockets.items():
            try:
                sock.sendall(b'?')
                if sock.recv(1) != b'?':
                    silent.append(f'{name}: ended')
            except OSError as error:
                silent.append(f'{name}: {error}')
        return silent

    def close(self):
        for one in self.sockets.values():
            one.close()
        for app in self.apps:
            app.stop()


class Killed:
    """In a namespace with a wire to another one; nobody listens where the rules lead to."""

    @classmethod
    def setUpClass(cls):
        cls.lab, cls.number, cls.netns, cls.live = Lab(), 0, None, None
        cls.flags = ['--enable-ipv6=true', '--log_output_level=error', *BACKENDS[cls.__name__]]

    @classmethod
    def tearDownClass(cls):
        if cls.live:
            cls.live.close()
        cls.lab.close()

    def fresh(self):
        """A namespace that has never had a rule."""
        if self.live:
            self.live.close()
            for name in (self.netns, f'{self.netns}-out'):
                ip('netns', 'del', name)
                self.lab.netns.remove(name)
        type(self).number += 1
        type(self).netns = pod = f'{self.lab.prefix}-{self.number}'
        outside = f'{pod}-out'
        for name in (pod, outside):
            ip('netns', 'add', name)
            self.lab.netns.append(name)
            ip('-n', name, 'link', 'set', 'lo', 'up')
        ip('link', 'add', 'eth0', 'netns', pod, 'type', 'veth', 'peer', 'name', 'eth0', 'netns', outside)
        for name, four, six in zip((outside, pod), *PLACES.values()):
            ip('-n', name, 'addr', 'add', f'{four}/24', 'dev', 'eth0')
            ip('-n', name, 'addr', 'add', f'{six}/64', 'dev', 'eth0', 'nodad')
            ip('-n', name, 'link', 'set', 'eth0', 'up')
        type(self).live = Live(pod, outside)

    def start(self, name):
        return subprocess.Popen([f'{BIN}/sluice-init', *self.flags, *CONFIGURATIONS[name]], env=CLEAN, stdout=subprocess.DEVNULL,
                                stderr=subprocess.PIPE, text=True, start_new_session=True)

    def run_to_the_end(self, name):
        process = inside(self.netns, functools.partial(self.start, name))
        _, errors = process.communicate(timeout=60)
        self.assertEqual((process.returncode, errors), (0, ''), name)

    def tables(self):
        """(family, table) → its rules and chains in order; what is empty is left out, so is what only counts."""
        def output(*argv):
            return subprocess.run(argv, env=CLEAN, capture_output=True, text=True, check=True).stdout
        if type(self) is Native:
            listing = output('nft', '--stateless', 'list', 'ruleset')
            return {tuple(head.split()): body for head, body in re.findall(r'^table (\w+ \S+) (\{.*?^\})', listing, re.M | re.S)}
        out = {}
        for tool in ('iptables', 'ip6tables'):   # of this backend alone: a question about a legacy table registers it
            table = None
            for line in output(f'{tool}-{type(self).__name__.lower()}-save').splitlines():
                if line.startswith('*'):
                    table = (tool, line[1:])
                elif line.startswith('-A') or re.match(r':\S+ - ', line):
                    out.setdefault(table, []).append(line.partition(' [')[0])
        return out

    def routes(self):
        """What TPROXY and the marker address need besides tables."""
        questions = ['rule', '-6 rule', '-6 -o address show dev lo'] + [f'{family} route show table {table}' for family in ('-4', '-6')
                                                                        for table in (133, 400)]
        return subprocess.run(['sh', '-c', ''.join(f'ip {question}; ' for question in questions)], env=CLEAN, capture_output=True,
                              text=True).stdout

    def look(self):
        return inside(self.netns, lambda: (self.tables(), self.routes()))

    def look_twice(self):
        """A listing is no snapshot; what a killed child was doing in the kernel may take a moment more."""
        before, now = None, self.look()[0]
        while now != before:
            before, now = now, self.look()[0]
        return now

    def test_killed_at_any_instant_the_next_run_heals(self):
        self.golden, took = {}, []
        for name in CONFIGURATIONS:
            self.fresh()
            begun = time.monotonic()
            self.run_to_the_end(name)
            took.append(time.monotonic() - begun)
            self.golden[name] = self.look()
        dice, old, counts = random.Random(SEED), None, {'not looked at': 0, 'nothing done': 0, 'half done': 0, 'all done': 0}
        for number in range(PER_BACKEND):
            if old is None or dice.random() < 0.4:
                self.fresh()
                old = 'nothing'
            new = dice.choice([name for name in CONFIGURATIONS if name != old])
            begun_with, old = old, None   # after a failure the next one begins afresh
            with self.subTest(number=number, old=begun_with, new=new):
                counts[self.one_kill(dice, begun_with, new, max(took))] += 1
                old = new
        print(f'\n  {type(self).__name__}: {PER_BACKEND} kills, {counts}', file=sys.stderr)
        self.assertGreater(counts['half done'], 0)   # kills that come too early or too late would show nothing

    def is_between(self, table, found, old, new):
        """Between no rules and some, where connections are open, stands: the kernel follows them and nothing new is captured. From
        one configuration to another there is nothing between."""
        native = isinstance(found, str)
        if table[-1].endswith('nat') and 'nothing' in (old, new):
            lines = re.findall(r'^.*counter.*$', found, re.M) if native else found or []
            return sorted(line.strip() for line in lines) == TRACKING['nft' if native else 'tables']
        before = self.golden[old][0].get(table)
        if table[-1].endswith('mangle') and new == 'nothing' and before and found:   # what TPROXY has delivered keeps its rules
            if native:
                return found == re.sub(r'^.*jump istio-tproxy( comment ".*")?\n', '', before, flags=re.M)
            return sorted(found) == sorted(line for line in before if 'ISTIO_TPROXY' not in line)
        return False

    def one_kill(self, dice, old, new, longest):
        # Uniform over a run's length and a little more. The whole group dies, as with a container; or the program alone, whose
        # children then finish what they were told while the next run begins: nobody waits for them here.
        delay, alone = dice.uniform(0, max(0.02, longest * 1.2)), dice.random() < 0.3
        after = self.golden[new][0]
        process = inside(self.netns, functools.partial(self.start, new))
        limit = time.monotonic() + delay
        while time.monotonic() < limit:
            pass   # an instant is needed, not an event; sleeping would round it
        try:
            (os.kill if alone else os.killpg)(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        process.wait()
        process.stderr.close()
        seen = 'not looked at' if alone else self.what_is_left(old, new, delay)
        self.run_to_the_end(new)
        healed = self.look()
        self.assertEqual(healed[0], after, f'killed after {delay * 1000:.2f} ms')
        self.assertEqual(self.live.ask(), [], f'killed after {delay * 1000:.2f} ms and run again')
        self.assertEqual(healed[1], self.golden[new][1], f'killed after {delay * 1000:.2f} ms')
        return seen

    def what_is_left(self, old, new, delay):
        before, after, found = self.golden[old][0], self.golden[new][0], self.look_twice()
        for table in before.keys() | after.keys() | found.keys():
            if not self.is_between(table, found.get(table), old, new):
                self.assertIn(found.get(table), (before.get(table), after.get(table)), f'{table} after {delay * 1000:.2f} ms')
        self.assertEqual(self.live.ask(), [], f'killed after {delay * 1000:.2f} ms')
        for tool in ('iptables', 'ip6tables'):   # what nat relies on stands before it captures
            if old == 'nothing' and found.get((tool, 'nat')) and not self.is_between((tool, 'nat'), found[tool, 'nat'], old, new):
                self.assertEqual({key for key in after if key[0] == tool}, {key for key in found if key[0] == tool})
        return 'nothing done' if found == before else 'all done' if found == after else 'half done'


class Nft(Killed, unittest.TestCase):
    pass


class Legacy(Killed, unittest.TestCase):
    pass


class Native(Killed, unittest.TestCase):
    pass


if __name__ == '__main__':
    if os.geteuid() != 0:
        print('network namespaces need root')
        sys.exit(77)
    unittest.main(verbosity=2, warnings='ignore')
