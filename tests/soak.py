#!/usr/bin/python3 -B
"""The mesh under load while things change: configuration, upstreams, the proxies themselves, the logs. Every request carries an
id and every answer is checked. `soak.py [Scenarios.test_…]`; SOAK_SECONDS is the length of the longest part (10), SOAK_RATE the
requests a second (2000). In `make test` it runs as it is, `make soak` gives it a minute and more rounds. Prints what it ran;
exit 1 when a request failed that may not fail, or memory grew."""
import collections
import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
import unittest

from lab import BIN, CLEAN, SANITIZED, Lab, service

SECONDS = float(os.environ.get('SOAK_SECONDS', 10))
RATE = float(os.environ.get('SOAK_RATE', 2000)) / (10 if SANITIZED else 1)
LONG = SECONDS >= 30
SWAPS = 10                      # a second
GROWTH = 5.0                    # MiB that a proxy may grow between warm-up and end (the allocator's slack, rings, log lines)
GRACE = 30                      # seconds that Kubernetes leaves a pod between SIGTERM and SIGKILL
F_SETPIPE_SZ = 1031
HERE = os.path.dirname(os.path.abspath(__file__))
PYTHON = '/usr/bin/python3'
VIP, PORT, SERVERS = '10.96.77.30', 9080, 3

CONFIG = '''apiVersion: v1
kind: ConfigMap
metadata: {{name: istio, namespace: istio-system}}
data:
  mesh: |
    accessLogFile: {log}
    defaultConfig:
      proxyMetadata: {{EXIT_ON_ZERO_ACTIVE_CONNECTIONS: "true", MINIMUM_DRAIN_DURATION: 1s}}
'''


def as_user(pod, uid, *argv, inside=()):
    return ['ip', 'netns', 'exec', pod.netns, *inside, 'setpriv', f'--reuid={uid}', f'--regid={uid}', '--clear-groups', '--pdeathsig=KILL', *argv]


def memory(pid, field):
    """MiB; None when the process is not there."""
    try:
        with open(f'/proc/{pid}/status') as file:
            return next((int(line.split()[1]) / 1024 for line in file if line.startswith(field)), None)
    except OSError:
        return None


class Drain(threading.Thread):
    """Takes the access log of one proxy from a pipe, and counts its lines."""

    def __init__(self, end):
        super().__init__(daemon=True)
        self.end, self.lines = end, 0
        self.start()

    def run(self):
        while data := os.read(self.end, 1 << 20):
            self.lines += data.count(b'\n')
        os.close(self.end)


class Memory(threading.Thread):
    """Samples the resident memory of proxies while it lives: first (after the warm-up), peak and last."""

    def __init__(self, pods, warm_up):
        super().__init__(daemon=True)
        self.pods, self.warm_up, self.over = pods, time.monotonic() + warm_up, threading.Event()
        self.first, self.peak, self.last = {}, collections.Counter(), {}
        self.start()

    def run(self):
        while not self.over.wait(0.25):
            for pod in self.pods:
                if (now := memory(pod.proxy.pid, 'VmRSS:')) is None:
                    continue
                if time.monotonic() >= self.warm_up:
                    self.first.setdefault(pod.name, now)
                self.peak[pod.name] = max(self.peak[pod.name], now)
                self.last[pod.name] = now

    def stop(self):
        self.over.set()
        self.join()

    def growth(self):
        return {name: self.last[name] - first for name, first in self.first.items()}

    def __str__(self):
        return ', '.join(f'{name} {first:.1f} → {self.last[name]:.1f} (peak {self.peak[name]:.1f})' for name, first in self.first.items())


class Client:
    """load_client.py in a pod, as its application."""

    def __init__(self, lab, pod, address=VIP, rate=RATE, path_size=0, burst=0):
        self.process = subprocess.Popen(
            as_user(pod, 1000, PYTHON, '-B', f'{lab.folder}/load_client.py', address, str(PORT), 'web:9080', str(rate), str(path_size), str(burst)),
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=CLEAN, cwd='/')

    def mark(self, name):
        self.process.stdin.write(f'mark {name}\n')
        self.process.stdin.flush()
        self.process.stdout.readline()

    def stop(self):
        """The sections by name, when every request has its answer."""
        self.process.stdin.write('stop\n')
        self.process.stdin.close()
        sections = json.loads(self.process.stdout.read())
        self.process.wait()
        return {section['name']: section for section in sections}


class Bed:
    """client → sidecar → sidecar → web-1, web-2, web-3. An outsider without sidecar."""

    def __init__(self):
        self.lab = lab = Lab()
        for name in ('load_client.py', 'load_server.py'):   # where other users may read it, wherever the sources lie
            shutil.copy(f'{HERE}/{name}', lab.folder)
        os.mkdir(f'{lab.folder}/full')
        os.chmod(f'{lab.folder}/full', 0o777)
        self.client = lab.pod('client')
        self.web = [lab.pod(f'web-{i + 1}', {'app': 'web', 'version': f'v{i + 1}'}) for i in range(SERVERS)]
        self.outsider = lab.pod('outsider', sidecar=False)
        self.grace, self.away, self.log, self.servers, self.drains = GRACE, set(), '/dev/stdout', {}, {}
        lab.write('services.yaml', service('web', {'http': PORT}, 30) + service('client', {'http': 8080}, 31))
        lab.write('rules.yaml', PLAIN)
        self.publish()
        for pod in self.web:
            self.start_server(pod)
        for pod in (self.client, *self.web):
            pod.init()
            self.start_proxy(pod)
        lab.settled()

    def publish(self):
        """The pods as the cluster sees them: those in `away` are not ready."""
        text = CONFIG.format(log=self.log)
        for pod in self.lab.pods:
            yaml = pod.yaml().replace('spec: {', f'spec: {{terminationGracePeriodSeconds: {self.grace}, ')
            text += yaml.replace('status: "True"', 'status: "False"') if pod.name in self.away else yaml
        self.lab.write('pods.yaml', text)

    def start_server(self, pod):
        server = subprocess.Popen(as_user(pod, 1000, PYTHON, '-B', f'{self.lab.folder}/load_server.py', pod.name, str(PORT)),
                                  stdout=subprocess.PIPE, text=True, env=CLEAN, cwd='/')
        server.stdout.readline()
        self.servers[pod.name] = server

    def start_proxy(self, pod, stdout=None, inside=()):
        """Returns when it is ready. Its access log is counted and thrown away, unless it goes to `stdout`."""
        pod.log = open(f'{self.lab.folder}/{pod.name}.log', 'ab')
        end, writer = os.pipe() if stdout is None else (None, stdout)
        pod.proxy = subprocess.Popen(as_user(pod, 1337, f'{BIN}/sluice-proxy', 'sidecar', '--config', self.lab.config, '--pod', f'default/{pod.name}', inside=inside),
                                     stdin=subprocess.DEVNULL, stdout=writer, stderr=pod.log, env=CLEAN, cwd='/')
        if stdout is None:
            os.close(writer)
            self.drains[pod.name] = Drain(end)
        pod.wait(lambda: pod.admin(15021, '/healthz/ready')[0] == 200, 'ready')

    def status(self, pod):
        return json.loads(pod.admin(15000, '/config/status')[1])

    def stat(self, pod, name):
        lines = pod.admin(15000, f'/stats/prometheus?filter={name}')[1].splitlines()
        return sum(float(line.rsplit(' ', 1)[1]) for line in lines if line.startswith(name))

    def close(self):
        for server in self.servers.values():
            if server.poll() is None:
                server.kill()
                server.wait()
        self.lab.close()


PLAIN = """apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: web, namespace: default}
spec: {host: web, trafficPolicy: {loadBalancer: {simple: LEAST_REQUEST}}}
"""                             # any endpoint will do: each subset of rules() is one pod, and that must be there then


def rules(number):
    """Configuration number N: other weights and policies each time, subsets and services that come and go."""
    share = number * 7 % 101
    extra = ''.join(service(f'extra-{i}', {'http': 80, 'tcp-x': 90}, 100 + i, 'web') for i in range(number % 20))
    third = '  - {name: third, labels: {version: v3}}\n' if number % 2 else ''
    return f'''apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {{name: web, namespace: default}}
spec:
  host: web
  trafficPolicy: {{loadBalancer: {{simple: {('LEAST_REQUEST', 'ROUND_ROBIN', 'RANDOM')[number % 3]}}}}}
  subsets:
  - {{name: v1, labels: {{version: v1}}}}
  - {{name: v2, labels: {{version: v2}}}}
{third}---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: web, namespace: default}}
spec:
  hosts: [web]
  http:
  - match: [{{headers: {{number: {{exact: "{number}"}}}}}}]
    route: [{{destination: {{host: web, subset: v1}}}}]
  - route:
    - {{destination: {{host: web, subset: v1}}, weight: {share}}}
    - {{destination: {{host: web, subset: v2}}, weight: {100 - share}}}
    - {{destination: {{host: web}}, weight: 50}}
{extra}'''


class Scenarios(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.bed = Bed()

    @classmethod
    def tearDownClass(cls):
        cls.bed.close()

    def say(self, text):
        print(f'  {self._testMethodName[5:]}: {text}', flush=True)

    def report(self, sections):
        self.assertGreater(sum(section['answered'] for section in sections.values()), 100, 'no load, no test')
        for section in sections.values():
            self.say(f"{section['name']}: {section['due']} requests in {section['seconds']} s, {section['answered']} answered, {section['failed']} failed, "
                     f"p50 {section['p50_ms']} ms, p99 {section['p99_ms']} ms, max {section['max_ms']} ms, {section['connections_opened']} connections, "
                     f"by server {dict(sorted(section['servers'].items()))}")

    def none_failed(self, section):
        self.assertEqual((section['failed'], section['failures']), (0, []), section['name'])
        self.assertEqual(section['answered'], section['due'], section['name'])

    def pause(self, seconds):
        """Load goes on meanwhile: what is waited for is requests, and they come by the clock."""
        time.sleep(seconds)

    def test_a_configuration_swaps_under_load(self):
        bed, lab = self.bed, self.bed.lab
        client = Client(lab, bed.client, burst=400)   # as many connections as there will ever be: none of them counts as growth later
        watched = Memory([bed.client, *bed.web], SECONDS * 0.3)
        before, began = bed.status(bed.client)['snapshot'], time.monotonic()
        swaps = 0
        while (spent := time.monotonic() - began) < SECONDS:
            if spent * SWAPS >= swaps:
                lab.write('rules.yaml', rules(swaps := swaps + 1))
            time.sleep(max(0.0, began + swaps / SWAPS - time.monotonic()))
        lab.settled()
        applied = bed.status(bed.client)['snapshot'] - before
        sections = client.stop()
        watched.stop()
        lab.write('rules.yaml', PLAIN)
        lab.settled()
        self.report(sections)
        self.say(f'{swaps} configurations written, {applied} applied; MiB {watched}')
        self.none_failed(sections['begin'])
        self.assertGreaterEqual(applied, swaps * 0.25)   # those that a busy machine reads together are one
        if not SANITIZED:
            for name, growth in watched.growth().items():
                self.assertLess(growth, GROWTH, name)

    def restart(self, pod):
        """As a rolling update does it: out of the endpoints, SIGTERM, the app ends, both come back, in again."""
        bed = self.bed
        bed.away.add(pod.name)
        bed.publish()
        bed.lab.settled()
        pod.proxy.send_signal(signal.SIGTERM)
        began = time.monotonic()
        self.assertEqual(pod.proxy.wait(timeout=GRACE), 0)
        drained = time.monotonic() - began
        pod.proxy = None
        bed.servers[pod.name].terminate()
        bed.servers[pod.name].wait(timeout=10)
        bed.start_server(pod)
        bed.start_proxy(pod)
        bed.away.discard(pod.name)
        bed.publish()
        bed.lab.settled()
        return drained

    def test_b_rolling_restart_of_all_upstreams(self):
        client = Client(self.bed.lab, self.bed.client, rate=RATE / 2)
        for _ in range(3 if LONG else 1):
            for pod in self.bed.web:
                drained = self.restart(pod)
                self.say(f'{pod.name} restarted, drained in {drained:.1f} s')
                self.assertLess(drained, GRACE)
        client.mark('afterwards')
        self.pause(1)
        sections = client.stop()
        self.report(sections)
        for section in sections.values():
            self.none_failed(section)
        self.assertEqual(len(sections['afterwards']['servers']), SERVERS)

    def test_c_server_side_drains_while_its_clients_go_on(self):
        """Endpoints learn of the end later than the proxy does, as in a cluster: until then it takes new connections."""
        bed, pod = self.bed, self.bed.web[0]
        client = Client(bed.lab, bed.client, rate=RATE / 2)
        stranger = Client(bed.lab, bed.outsider, pod.ip, rate=100)
        self.pause(0.5)
        stranger.mark('signal')
        began = time.monotonic()
        pod.proxy.send_signal(signal.SIGTERM)
        pod.wait(lambda: pod.admin(15021, '/healthz/ready')[0] == 503, 'draining')
        stranger.mark('draining')
        client.mark('draining')
        self.pause(0.5)
        strangers = stranger.stop()
        bed.away.add(pod.name)
        bed.publish()
        self.assertEqual(pod.proxy.wait(timeout=GRACE), 0)
        took = time.monotonic() - began
        pod.proxy = None
        client.mark('gone')
        self.pause(0.5)
        sections = client.stop()
        bed.start_proxy(pod)
        bed.away.clear()
        bed.publish()
        bed.lab.settled()
        self.report(sections)
        self.say(f"ended {took:.1f} s after SIGTERM; {strangers['draining']['close_announced']} of {strangers['draining']['answered']} answers to an outsider announced it")
        for section in (*sections.values(), *strangers.values()):
            self.none_failed(section)
        # A request that was on its way when the signal came may be answered either way.
        self.assertLessEqual(strangers['begin']['close_announced'], 2)
        self.assertGreaterEqual(strangers['draining']['close_announced'], strangers['draining']['answered'] - 2)
        self.assertGreaterEqual(took, 1, 'the minimum')
        self.assertLess(took, 10, 'leaves when it is idle, long before the grace period')
        self.assertNotIn(pod.name, sections['gone']['servers'])

    def test_d_client_side_drains_while_its_application_goes_on(self):
        bed = self.bed
        client = Client(bed.lab, bed.client, rate=RATE / 2)
        self.pause(0.5)
        bed.client.proxy.send_signal(signal.SIGTERM)
        bed.client.wait(lambda: bed.client.admin(15021, '/healthz/ready')[0] == 503, 'draining')
        client.mark('draining')
        self.pause(2)                # twice the minimum: it is not idle, so it stays
        self.assertIsNone(bed.client.proxy.poll())
        sections = client.stop()
        began = time.monotonic()
        self.assertEqual(bed.client.proxy.wait(timeout=GRACE), 0)
        took = time.monotonic() - began
        bed.start_proxy(bed.client)
        bed.lab.settled()
        self.report(sections)
        self.say(f'ended {took:.1f} s after its application')
        for section in sections.values():
            self.none_failed(section)
        self.assertLess(took, 5)

    def test_d_one_that_never_becomes_idle_leaves_before_it_is_killed(self):
        bed, pod = self.bed, self.bed.web[0]
        bed.grace = 4
        bed.publish()
        bed.lab.settled()
        held = bed.outsider.connect(pod.ip, PORT)
        held.sendall(b'POST / HTTP/1.1\r\nHost: web\r\nContent-Length: 10\r\n\r\n1')
        pod.wait(lambda: any(c['state'] == 'request' for c in json.loads(pod.admin(15000, '/connections')[1])), 'serving the request')
        began = time.monotonic()
        pod.proxy.send_signal(signal.SIGTERM)
        self.assertEqual(pod.proxy.wait(timeout=GRACE), 0)
        took = time.monotonic() - began
        bed.grace = GRACE
        bed.start_proxy(pod)
        bed.publish()
        bed.lab.settled()
        self.say(f'ended {took:.1f} s after SIGTERM, of 4 s')
        self.assertGreater(took, 1.5, 'it did wait')
        self.assertLess(took, 4)

    def test_e_a_log_that_nobody_reads_costs_lines_only(self):
        bed, pod = self.bed, self.bed.client
        pod.kill_proxy()
        reader, writer = os.pipe()
        fcntl.fcntl(writer, F_SETPIPE_SZ, 4096)
        try:
            bed.start_proxy(pod, stdout=writer)
            os.close(writer)
            bed.lab.settled()
            client = Client(bed.lab, pod, path_size=1500)
            pod.wait(lambda: bed.stat(pod, 'sluice_access_log_dropped_total') > 0, 'dropping lines')
            client.mark('dropping')
            self.pause(SECONDS / 10)
            sections = client.stop()
            self.report(sections)
            pod.wait(lambda: bed.stat(pod, 'istio_requests_total') >= sum(s['answered'] for s in sections.values()), 'counting')
            dropped = bed.stat(pod, 'sluice_access_log_dropped_total')
            stuck = bed.stat(pod, 'sluice_worker_stuck_total')
            drain = Drain(os.dup(reader))
            pod.proxy.send_signal(signal.SIGTERM)
            self.assertEqual(pod.proxy.wait(timeout=GRACE), 0)
            drain.join()
            answered = sum(section['answered'] for section in sections.values())
            self.say(f'{answered} requests, {drain.lines} lines read afterwards, {dropped:.0f} dropped and counted, {stuck:.0f} workers stuck')
            for section in sections.values():
                self.none_failed(section)
            self.assertGreater(dropped, 0)
            self.assertEqual(stuck, 0)
            self.assertEqual(drain.lines + dropped, answered)
        finally:
            os.close(reader)
            if pod.proxy.poll() is None:
                pod.kill_proxy()
            bed.start_proxy(pod)
            bed.lab.settled()

    def test_f_a_full_disk_costs_lines_only(self):
        bed, pod = self.bed, self.bed.client
        folder = f'{bed.lab.folder}/full'
        pod.kill_proxy()
        bed.log = f'{folder}/access.log'
        bed.publish()
        try:
            # The mount is the proxy's own and goes with it.
            bed.start_proxy(pod, inside=['sh', '-c', 'mount -t tmpfs -o size=64k,mode=777 tmpfs "$0" && exec "$@"', folder])
            bed.lab.settled()
            client = Client(bed.lab, pod)
            pod.wait(lambda: bed.stat(pod, 'sluice_access_log_dropped_total') > 0, 'dropping lines')
            client.mark('full')
            self.pause(SECONDS / 10)
            mounted = f'/proc/{pod.proxy.pid}/root{bed.log}'
            self.assertGreater(os.path.getsize(mounted), 30000)
            client.mark('room again')
            os.truncate(mounted, 0)
            pod.wait(lambda: os.path.getsize(mounted) > 1000, 'writing again')
            dropped = bed.stat(pod, 'sluice_access_log_dropped_total')
            sections = client.stop()
            self.report(sections)
            self.say(f'{dropped:.0f} lines dropped and counted')
            for section in sections.values():
                self.none_failed(section)
        finally:
            pod.kill_proxy()
            bed.log = '/dev/stdout'
            bed.publish()
            bed.start_proxy(pod)
            bed.lab.settled()

    def test_g_kill_and_restart_under_load(self):
        """Of a killed proxy only what was in flight fails; nobody is sent to it while it is away; nothing stays behind."""
        bed = self.bed
        for pod, others in ((bed.web[0], True), (bed.client, False)):
            client = Client(bed.lab, bed.client, rate=RATE / 2)
            self.pause(1)
            client.mark(f'{pod.name} killed')
            killed = time.time()
            pod.kill_proxy()
            gone = time.time()       # on a busy machine its threads take their time to die, and keep the sockets until then
            self.pause(1 if others else 0.2)
            starting = time.time()
            bed.start_proxy(pod)
            ready = time.time()
            client.mark('ready again')
            self.pause(1)
            sections = client.stop()
            self.report(sections)
            before, during, after = sections['begin'], sections[f'{pod.name} killed'], sections['ready again']
            failed, last = before['failed'] + during['failed'], max(before['last_failure'] or killed, during['last_failure'] or killed)
            self.say(f'ready {(ready - starting) * 1000:.0f} ms after its start; {failed} failed, the last {(last - killed) * 1000:.0f} ms after the kill, which took {(gone - killed) * 1000:.0f} ms')
            self.none_failed(after)
            if before['failed']:
                self.assertGreaterEqual(before['first_failure'], killed, before['failures'])
            if others:   # connections of the pool break, connects are refused and go elsewhere
                self.assertLess(last - gone, 0.7, during['failures'])
                self.assertLess(failed, 100, during['failures'])
                self.assertIn(pod.name, after['servers'])
            else:
                self.assertGreater(during['connects_refused'], 0)
                self.assertLess(after['first_ok'] - ready, 2)


if __name__ == '__main__':
    if os.geteuid() != 0:
        print('network namespaces need root')
        sys.exit(77)
    print(f'soak: {SECONDS:.0f} s, {RATE:.0f} requests/s, {SWAPS} configurations/s, programs in {BIN}', flush=True)
    unittest.main(verbosity=2, warnings='ignore')
