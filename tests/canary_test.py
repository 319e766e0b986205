#!/usr/bin/python3 -B
"""The proxy's canary: ready with the rules of every family that the pod has, not ready without one of them, and ready again when
they come. REDIRECT and TPROXY, one family and both, with the real programs."""
import os
import re
import sys
import threading
import unittest

from lab import Lab, ip

# What the injector gives the proxy: user 1337 without capabilities, or with TPROXY root in group 1337 with one.
BECOME = {'REDIRECT': ('--reuid=1337',),
          'TPROXY': ('--reuid=0', '--inh-caps=-all', '--bounding-set=-all,+net_admin')}
LINE = 'not ready, traffic is not intercepted: '
V4, V6, BOTH = ('--enable-ipv6=false',), ('no IPv4',), ()


def rules(pod, mode, which):
    if which != V6:
        return pod.init('-m', mode, '--force-iptables-binary=nft', *which)
    pod.init('-m', mode, '--force-iptables-binary=nft')
    for table in ('nat', 'mangle'):
        pod.run('iptables-nft', '-t', table, '-F')


class Look:
    """What a proxy says about itself."""

    def __init__(self, pod):
        self.pod = pod

    def ready(self):
        return self.pod.admin(15021, '/healthz/ready')[0] == 200

    def metric(self, name):
        page = self.pod.admin(15090, '/stats/prometheus')[1]
        found = re.search(rf'^sluice_interception_{re.escape(name)} (\d+)$', page, re.M)
        return int(found[1]) if found else None

    def lines(self, what=LINE):
        with open(self.pod.log.name, errors='replace') as file:
            return [line for line in file if what in line]


def late(pod, look):
    """The address of IPv6 comes when the rules are made: said, counted, and the pod works on in the other family."""
    pod.launch_proxy('--interception-mode', 'REDIRECT')
    pod.wait(look.lines, 'saying that there are no rules', 8)
    rules(pod, 'REDIRECT', V4)
    ip('-n', pod.netns, 'addr', 'add', f'{pod.ip6}/64', 'dev', 'eth0', 'nodad')
    pod.wait(look.ready, 'ready', 8)
    expect(look.lines('traffic over IPv6 is not intercepted: '), 'no word about IPv6')
    expect(look.metric('failures_total{family="ipv6"}'), 'IPv6 is not counted')


def ready_with(pod, look, word=None, env=None, become=BECOME['REDIRECT'], flags=('--interception-mode', 'REDIRECT')):
    pod.launch_proxy(*flags, become=become, env=env)
    pod.wait(look.ready, 'ready', 8)
    expect(word is None or look.lines(word), f'no line says: {word}')
    expect(not look.lines(), f'{look.lines()}')


def tentative(pod, look):
    """IPv6 still asks whether an address is somebody else's, and knows of another one that it is."""
    rules(pod, 'REDIRECT', V4)
    pod.run('sysctl', '-qw', 'net.ipv6.conf.eth0.dad_transmits=60')
    ip('-n', pod.netns, 'addr', 'add', f'{pod.ip6}/64', 'dev', 'eth0')
    ready_with(pod, look)
    expect(look.metric('failures_total{family="ipv6"}') == 0, 'an address was dialled that nobody can be reached at')


def doubled(pod, look):
    """One address is somebody else's, the other one works."""
    taken = pod.ip6.rsplit('::', 1)[0] + '::dead'
    ip('-n', pod.lab.bridge, 'addr', 'add', f'{taken}/64', 'dev', 'br0', 'nodad')
    ip('-n', pod.netns, 'addr', 'add', f'{taken}/64', 'dev', 'eth0')
    pod.wait(lambda: 'dadfailed' in pod.run('ip', '-6', 'addr', 'show', 'dev', 'eth0').stdout, 'found to be taken', 8)
    rules(pod, 'REDIRECT', BOTH)
    ready_with(pod, look)


def left_alone(pod, look):
    """The injector knows that the rules leave the canary alone."""
    ready_with(pod, look, 'whether traffic is intercepted is not checked: SLUICE_INTERCEPTION_PROBE is false',
               env={'SLUICE_INTERCEPTION_PROBE': 'false'})


def by_root(pod, look):
    """With the annotation for low ports: root, whose calls to the own pod the rules pass by."""
    ready_with(pod, look, 'whether traffic is intercepted is not checked: rules for REDIRECT', become=('--reuid=0',))


def nobody_asked(pod, look):
    """Nobody said that there are rules, and there are none."""
    ready_with(pod, look, flags=())
    pod.wait(lambda: look.lines('traffic is not intercepted here: '), 'saying so', 8)
    expect(look.ready() and look.metric('ok') == 0, 'not ready')


def expect(fine, why):
    if not fine:
        raise AssertionError(why)


OTHERS = {'late': late, 'tentative': tentative, 'doubled': doubled, 'left-alone': left_alone, 'by-root': by_root,
          'nobody-asked': nobody_asked}


class Canary(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.lab = Lab()
        # All of them at once, for most of the time is the proxy's second between two looks.
        cls.cases = {}
        for mode in BECOME:
            cls.cases[f'{mode.lower()}-v4'] = (mode, False, [(None, {4}), (BOTH, set())])
            cls.cases[f'{mode.lower()}-dual'] = (mode, True, [(None, {4, 6}), (V4, {6}), (BOTH, set())])
            cls.cases[f'{mode.lower()}-no4'] = (mode, True, [(V6, {4}), (BOTH, set())])
            cls.cases[f'{mode.lower()}-good'] = (mode, True, [(BOTH, set())])
        cls.pods = {name: cls.lab.pod(name) for name in (*cls.cases, *OTHERS)}
        for name in (*(name for name, (_, dual, _) in cls.cases.items() if not dual), 'late', 'tentative'):
            ip('-n', cls.pods[name].netns, 'addr', 'del', f'{cls.pods[name].ip6}/64', 'dev', 'eth0')
        cls.lab.write_pods()
        cls.problems = {}
        threads = [threading.Thread(target=cls.work, args=(name,)) for name in cls.pods]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    @classmethod
    def tearDownClass(cls):
        cls.lab.close()

    @classmethod
    def work(cls, name):
        try:
            if name in OTHERS:
                OTHERS[name](cls.pods[name], Look(cls.pods[name]))
            else:
                cls.story(cls.pods[name], *cls.cases[name])
        except Exception as error:   # told by the test of this name
            cls.problems[name] = f'{type(error).__name__}: {error}'

    @classmethod
    def story(cls, pod, mode, dual, steps):
        look, told = Look(pod), 0
        for number, (which, missing) in enumerate(steps):
            if which is not None:
                rules(pod, mode, which)
            if number == 0:
                pod.launch_proxy('--interception-mode', mode, '--concurrency', '1', become=BECOME[mode])
            if not missing:
                pod.wait(look.ready, f'ready in step {number}', 8)
                pod.wait(lambda: look.metric('ok') == 1, f'counted as intercepted in step {number}', 8)
                if len(look.lines()) != told:
                    raise AssertionError(f'step {number}: {look.lines()}')
                continue
            told += 1
            pod.wait(lambda: len(look.lines()) == told, f'saying why in step {number}', 8)
            line = look.lines()[-1]
            for family in (4, 6):
                if (f'IPv{family}: a connection of user' in line) != (family in missing):
                    raise AssertionError(f'step {number}: missing IPv{missing}: {line}')
                count = look.metric(f'failures_total{{family="ipv{family}"}}') or 0
                if family in missing and count < 2:
                    raise AssertionError(f'step {number}: {count} failures over IPv{family}')
                if family == 6 and not dual and count:
                    raise AssertionError(f'step {number}: {count} failures over a family that the pod has not')
            if f'the rules for {mode} ' not in line:
                raise AssertionError(line)
            if look.ready() or look.metric('ok') != 0:
                raise AssertionError(f'step {number}: ready {look.ready()}, metric {look.metric("ok")}')


def add(name):
    def test(self):
        self.assertIsNone(self.problems.get(name))
    setattr(Canary, 'test_' + name.replace('-', '_'), test)


for kind in ('redirect', 'tproxy'):
    for world in ('v4', 'dual', 'no4', 'good'):
        add(f'{kind}-{world}')
for other in OTHERS:
    add(other)


if __name__ == '__main__':
    if os.geteuid() != 0:
        print('network namespaces need root')
        sys.exit(77)
    unittest.main(verbosity=2, warnings='ignore')   # sockets end with the process
