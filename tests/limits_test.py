#!/usr/bin/python3 -B
"""What happens at the limits: descriptors, connections, memory, a log that nobody reads. `limits_test.py TestClass…` runs some."""
import fcntl
import os
import resource
import signal
import socket
import subprocess
import sys
import threading
import time
import unittest

from lab import BIN, CLEAN, SANITIZED, Lab, request, service

F_SETPIPE_SZ = 1031
AS_PROXY = ['setpriv', '--reuid=1337', '--regid=1337', '--clear-groups', '--pdeathsig=KILL', f'{BIN}/sluice-proxy', 'sidecar']


class Limited(unittest.TestCase):
    """outsider → the sidecar of `web` → its app. The proxy is started by each test, with its own flags."""

    @classmethod
    def setUpClass(cls):
        cls.lab = lab = Lab()
        cls.web = lab.pod('web')
        cls.outsider = lab.pod('outsider', sidecar=False)
        lab.write_pods()
        lab.write('services.yaml', service('web', {'http': 9080}, 20))
        cls.web.app(9080)
        cls.web.init()

    @classmethod
    def tearDownClass(cls):
        cls.lab.close()

    def tearDown(self):
        if self.web.proxy and self.web.proxy.poll() is None:
            self.web.kill_proxy()
        self.web.proxy = None

    def start(self, *flags, stdout=None, env=None, descriptors=None, inside=()):
        """`inside`: a command that runs the proxy in its turn, as root."""
        web = self.web
        web.log = open(f'{self.lab.folder}/web.log', 'ab')
        web.access = open(f'{self.lab.folder}/web.access', 'ab')
        limit = (lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (descriptors, descriptors))) if descriptors else None
        web.proxy = subprocess.Popen(
            ['ip', 'netns', 'exec', web.netns, *inside, *AS_PROXY, '--config', self.lab.config, '--pod', 'default/web', *flags],
            stdin=subprocess.DEVNULL, stdout=web.access if stdout is None else stdout, stderr=web.log, env={**CLEAN, **(env or {})}, cwd='/',
            preexec_fn=limit)
        web.wait(lambda: web.admin(15021, '/healthz/ready')[0] == 200, 'ready')

    def stat(self, name, label=''):
        """The sum over all series of one name that carry this label."""
        lines = self.web.admin(15000, f'/stats/prometheus?filter={name}')[1].splitlines()
        return sum(float(line.rsplit(' ', 1)[1]) for line in lines if line.startswith(name) and label in line)

    def get(self, connection, path='/'):
        return request(connection, path)[0]

    def http(self):
        return self.outsider.http(self.web.ip, 9080, 'web')

    def cpu(self):
        with open(f'/proc/{self.web.proxy.pid}/stat') as file:
            fields = file.read().rsplit(') ', 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf('SC_CLK_TCK')


class Descriptors(Limited):
    def test_running_out_of_descriptors_is_survived(self):
        began = time.monotonic()
        self.start('--concurrency', '1', descriptors=64)
        live = self.http()
        self.assertEqual(self.get(live), 200)
        crowd = []
        for _ in range(70):
            crowd.append(self.outsider.connect(self.web.ip, 9080))
            crowd[-1].sendall(b'GET / HT')      # stays in the proxy as half a head
        self.web.wait(lambda: 'cannot accept' in self.web.tail(), 'out of descriptors')
        before, since = self.cpu(), time.monotonic()
        refused = 0
        for sock in crowd:                      # those beyond the limit are refused one by one, 100 ms apart
            sock.settimeout(0.1)
            try:
                refused += sock.recv(1) == b''
            except ConnectionError:
                refused += 1
            except TimeoutError:
                pass
            self.assertEqual(self.get(live), 200)   # needs no new descriptor: both of its connections are open
        self.assertGreaterEqual(refused, 1)
        share = (self.cpu() - before) / (time.monotonic() - since)
        if not SANITIZED:
            self.assertLess(share, 0.3, 'a busy loop')
        for sock in crowd:
            sock.close()

        def served():
            return self.get(self.http()) == 200
        since = time.monotonic()
        self.web.wait(served, 'serving again', seconds=5)
        self.assertLess(time.monotonic() - since, 2)
        with open(self.web.log.name, errors='replace') as file:
            self.assertLessEqual(sum('cannot accept' in line for line in file), (time.monotonic() - began + 1) * 6, 'one line a second and listener')


class Connections(Limited):
    def test_accepting_pauses_at_the_limit_and_goes_on(self):
        self.start('--max-connections', '3')
        held = [self.http() for _ in range(3)]
        for connection in held:
            self.assertEqual(self.get(connection), 200)
        waiting = self.http()                   # the kernel took it, the proxy has not
        waiting.sock.settimeout(20)
        result = []
        thread = threading.Thread(target=lambda: result.append(self.get(waiting)))
        thread.start()
        self.web.wait(lambda: self.stat('sluice_limit_reached_total', 'listener_connections') >= 1, 'pausing')
        self.assertEqual(self.get(held[1]), 200)
        self.assertEqual(result, [])
        held[0].close()
        thread.join()
        self.assertEqual(result, [200])

    def test_more_than_a_worker_may_have_are_closed(self):
        self.start('--max-worker-connections', '2', '--concurrency', '1')
        held = [self.http() for _ in range(2)]
        for connection in held:
            self.assertEqual(self.get(connection), 200)
        refused = self.outsider.connect(self.web.ip, 9080)
        try:
            self.assertEqual(refused.recv(1), b'')
        except ConnectionResetError:
            pass
        self.assertEqual(self.get(held[0]), 200)
        self.assertEqual(self.stat('sluice_limit_reached_total', 'worker_connections'), 1)

    def test_slow_heads_and_bodies_get_408(self):
        self.start('--header-timeout', '300ms', '--body-idle-timeout', '300ms', '--max-header-fields', '20')
        for beginning in (b'GET / HTTP/1.1\r\nHost: we', b'POST / HTTP/1.1\r\nHost: web\r\nContent-Length: 10\r\n\r\nabc'):
            sock = self.outsider.connect(self.web.ip, 9080)
            sock.sendall(beginning)
            self.assertTrue(sock.recv(64).startswith(b'HTTP/1.1 408 '), beginning)
        sock = self.outsider.connect(self.web.ip, 9080)
        sock.sendall(b'GET / HTTP/1.1\r\nHost: web\r\n' + b'A: b\r\n' * 20 + b'\r\n')
        self.assertTrue(sock.recv(64).startswith(b'HTTP/1.1 431 '))
        for details in ('408 DPE request_header_timeout', '408 DPE request_body_timeout', '431 DPE'):
            self.web.wait(lambda: any(details in line for line in self.web.access_lines()), f'logging {details}')
        for limit in ('header_time', 'body_time', 'header_fields'):
            self.assertEqual(self.stat('sluice_limit_reached_total', limit), 1, limit)


class AccessLog(Limited):
    def test_a_pipe_that_nobody_reads_costs_lines_and_no_request(self):
        reader, writer = os.pipe()
        fcntl.fcntl(writer, F_SETPIPE_SZ, 4096)
        try:
            self.start('--concurrency', '1', stdout=writer, env={'TERMINATION_DRAIN_DURATION_SECONDS': '0'})
            connection = self.http()
            path = '/' + 'x' * 7000
            for _ in range(400):                # 2.8 MiB: pipe and ring hold about 1 MiB
                self.assertEqual(self.get(connection, path), 200)
            self.web.wait(lambda: self.stat('sluice_access_log_dropped_total') > 0, 'dropping lines')
            self.assertEqual(self.get(connection), 200)
            self.web.proxy.send_signal(signal.SIGTERM)
            self.assertEqual(self.web.proxy.wait(timeout=5), 0)   # gives the reader a second, and goes
        finally:
            os.close(reader)
            os.close(writer)


class Drain(Limited):
    def test_last_line_is_written_and_idle_connections_live_on(self):
        self.start(env={'TERMINATION_DRAIN_DURATION_SECONDS': '1'})
        idle = self.http()
        self.assertEqual(self.get(idle), 200)
        self.web.proxy.send_signal(signal.SIGTERM)
        self.web.wait(lambda: self.web.admin(15021, '/healthz/ready')[0] == 503, 'draining')
        status, headers, _ = request(idle, '/the-last-one')      # was idle when the signal came
        self.assertEqual((status, headers.get('connection')), (200, 'close'))
        self.assertEqual(self.web.proxy.wait(timeout=5), 0)
        self.assertTrue(any('/the-last-one' in line for line in self.web.access_lines()))

    def test_leaves_when_idle_but_not_before_the_minimum(self):
        self.start(env={'EXIT_ON_ZERO_ACTIVE_CONNECTIONS': 'true', 'MINIMUM_DRAIN_DURATION': '500ms', 'TERMINATION_DRAIN_DURATION_SECONDS': '60'})
        slow = self.outsider.connect(self.web.ip, 9080)
        slow.sendall(b'POST / HTTP/1.1\r\nHost: web\r\nContent-Length: 2\r\n\r\n1')
        idle = self.http()
        self.assertEqual(self.get(idle), 200)
        since = time.monotonic()
        self.web.proxy.send_signal(signal.SIGTERM)
        self.assertEqual(idle.sock.recv(1), b'')                 # closed when the minimum is over …
        self.assertGreaterEqual(time.monotonic() - since, 0.5)
        self.assertIsNone(self.web.proxy.poll())                 # … while a request is still being served
        slow.sendall(b'2')
        self.assertIn(b' 200 ', slow.recv(4096))
        slow.close()
        self.assertEqual(self.web.proxy.wait(timeout=5), 0)
        self.assertLess(time.monotonic() - since, 10)

    def test_second_signal_leaves_at_once(self):
        self.start(env={'TERMINATION_DRAIN_DURATION_SECONDS': '60'})
        connection = self.http()
        self.assertEqual(self.get(connection), 200)
        self.web.proxy.send_signal(signal.SIGTERM)
        self.web.wait(lambda: self.web.admin(15021, '/healthz/ready')[0] == 503, 'draining')
        self.assertEqual(self.get(connection, '/between'), 200)
        since = time.monotonic()
        self.web.proxy.send_signal(signal.SIGTERM)
        self.assertEqual(self.web.proxy.wait(timeout=10), 0)
        self.assertLess(time.monotonic() - since, 2)
        self.assertTrue(any('/between' in line for line in self.web.access_lines()))

    def test_signal_before_the_first_configuration(self):
        empty = f'{self.lab.folder}/fifo'
        os.mkdir(empty)
        web = self.web
        web.proxy = subprocess.Popen(
            ['ip', 'netns', 'exec', web.netns, *AS_PROXY, '--config', f'{empty}/not-there', '--pod', 'default/web'],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=CLEAN, cwd='/')
        web.wait(lambda: web.admin(15021, '/healthz/ready')[0] == 503, 'starting')
        since = time.monotonic()
        web.proxy.send_signal(signal.SIGTERM)
        self.assertEqual(web.proxy.wait(timeout=5), 0)
        self.assertLess(time.monotonic() - since, 2)


class Memory(Limited):
    def use(self, used):
        for name in ('memory/memory.usage_in_bytes', 'memory.current'):
            self.write(name, used)

    def write(self, name, value):
        path = f'{self.groups}/{name}'
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(f'{path}.new', 'w') as file:
            file.write(f'{value}\n')
        os.chmod(f'{path}.new', 0o644)
        os.rename(f'{path}.new', path)

    def test_requests_are_refused_and_idle_connections_closed_until_memory_is_free_again(self):
        # The control group's files as v1 and v2 have them, mounted over the real ones in the proxy's own mount namespace.
        self.groups = f'{self.lab.folder}/groups'
        for name in ('memory/memory.limit_in_bytes', 'memory.max'):
            self.write(name, 100 << 20)
        self.use(50 << 20)
        self.start(inside=['sh', '-c', 'mount --bind "$0" /sys/fs/cgroup && exec "$@"', self.groups])
        idle, second = self.http(), self.http()
        self.assertEqual(self.get(idle), 200)
        self.assertEqual(self.get(second), 200)
        self.use(95 << 20)
        self.assertEqual(idle.sock.recv(1), b'')
        status, headers, body = request(self.http(), '/refused')
        self.assertEqual((status, headers.get('connection'), body), (503, 'close', b'envoy overloaded'))
        self.assertEqual(self.stat('sluice_overload_active'), 1)
        self.web.wait(lambda: any(' 503 OM overload ' in line for line in self.web.access_lines()), 'logging OM')
        self.assertEqual(self.web.admin(15021, '/healthz/ready')[0], 200)
        self.use(80 << 20)
        self.web.wait(lambda: self.get(self.http()) == 200, 'serving again')
        self.assertEqual(self.stat('sluice_overload_active'), 0)
        self.assertGreaterEqual(self.stat('sluice_limit_reached_total', '"memory"'), 1)


if __name__ == '__main__':
    if os.geteuid() != 0:
        print('network namespaces need root')
        sys.exit(77)
    unittest.main(verbosity=2, warnings='ignore')   # sockets end with the process
