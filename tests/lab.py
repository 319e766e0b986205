"""A small mesh in network namespaces for tests of the real programs: pods on one bridge, each with the rules of sluice-init, a
proxy as uid 1337 and apps as uid 1000. Everything is removed on any exit; names carry the pid of the test."""
import atexit
import ctypes
import hashlib
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

BIN = os.environ.get('SLUICE_BIN') or sys.exit('SLUICE_BIN: the folder with the programs')
LIBC = ctypes.CDLL(None, use_errno=True)
CLEAN = {'PATH': '/usr/sbin:/usr/bin:/sbin:/bin', **{k: v for k, v in os.environ.items() if k.endswith('SAN_OPTIONS')}}
SANITIZED = 'asan' in BIN or 'tsan' in BIN       # memory figures and load sizes mean nothing there


def ip(*words):
    done = subprocess.run(['ip', *words], capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"ip {' '.join(words)}: {done.stderr.strip()}")


def inside(netns, work, uid=0, gid=None):
    """work() on a thread that has entered the namespace, as `uid` and `gid` (the same number unless given) for what the owner
    match sees. Its result or exception."""
    box = []

    def body():
        try:
            with open(f'/run/netns/{netns}') as file:
                if LIBC.setns(file.fileno(), 0x40000000):
                    raise OSError(ctypes.get_errno(), 'setns')
            LIBC.setfsgid(uid if gid is None else gid)
            LIBC.setfsuid(uid)
            box.append((True, work()))
        except BaseException as error:   # handed to the caller's thread
            box.append((False, error))
    thread = threading.Thread(target=body)
    thread.start()
    thread.join()
    fine, value = box[0]
    if not fine:
        raise value
    return value


class App:
    """What runs in a pod: answers HTTP requests with who it is; /size/N gives N bytes, an upload is counted and hashed. With
    `tcp` it echoes bytes; with `greeting` it speaks first."""

    def __init__(self, netns, name, port, tcp=False, greeting=b''):
        self.name, self.tcp, self.greeting = name, tcp, greeting
        self.seen, self.open, self.stopping = [], set(), False

        def listen():
            sock = socket.socket(socket.AF_INET6)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
            sock.bind(('::', port))
            sock.listen(512)
            return sock
        self.listener = inside(netns, listen)
        threading.Thread(target=self._accept, daemon=True).start()

    def stop(self):
        self.stopping = True
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        for sock in list(self.open):
            sock.close()

    def _accept(self):
        while not self.stopping:
            try:
                sock, peer = self.listener.accept()
            except OSError:
                return
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=self._serve, args=(sock, peer), daemon=True).start()

    def _serve(self, sock, peer):
        self.open.add(sock)
        try:
            if self.greeting:
                sock.sendall(self.greeting)
            (self._echo if self.tcp else self._http)(sock, peer)
        except OSError:
            pass
        finally:
            self.open.discard(sock)
            sock.close()

    def _echo(self, sock, peer):
        self.seen.append(peer[0])
        while data := sock.recv(1 << 20):
            sock.sendall(data)
        sock.shutdown(socket.SHUT_WR)

    def _http(self, sock, peer):
        reader = sock.makefile('rb', 1 << 20)
        while line := reader.readline(65536):
            method, path, _ = line.decode().split(' ', 2)
            headers = {}
            while (line := reader.readline(65536)) not in (b'\r\n', b''):
                name, _, value = line.decode().partition(':')
                headers[name.lower()] = value.strip()
            left, digest, size = int(headers.get('content-length', 0)), hashlib.sha256(), 0
            while left:
                data = reader.read(min(left, 1 << 20))
                if not data:
                    return
                left, size = left - len(data), size + len(data)
                if size <= 1 << 20:
                    digest.update(data)
            self.seen.append((method, path, peer[0], headers))
            if path.startswith('/size/'):
                self._send_zeros(sock, int(path[6:]))
                continue
            body = json.dumps({'app': self.name, 'path': path, 'id': headers.get('x-load-id', ''), 'size': size,
                               'sha': digest.hexdigest(), 'peer': peer[0], 'headers': headers}).encode()
            sock.sendall(b'HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%s' % (len(body), body if method != 'HEAD' else b''))

    @staticmethod
    def _send_zeros(sock, size):
        sock.sendall(b'HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n' % size)
        block = memoryview(bytes(1 << 20))
        while size:
            size -= len(block[:size])
            sock.sendall(block) if size >= 0 and len(block) == 1 << 20 else sock.sendall(block[:size])


class Pod:
    def __init__(self, lab, name, number, labels, gateway=False, sidecar=True):
        self.lab, self.name, self.labels, self.gateway, self.sidecar = lab, name, labels, gateway, sidecar
        self.netns = f'{lab.prefix}-{name}'
        self.ip, self.ip6 = f'10.244.77.{number}', f'fd00:10:244:77::{number:x}'
        self.proxy, self.apps = None, []
        ip('netns', 'add', self.netns)
        lab.netns.append(self.netns)
        ip('-n', self.netns, 'link', 'set', 'lo', 'up')
        ip('link', 'add', 'eth0', 'netns', self.netns, 'type', 'veth', 'peer', 'name', f'v{number}', 'netns', lab.bridge)
        ip('-n', lab.bridge, 'link', 'set', f'v{number}', 'master', 'br0', 'up')
        ip('-n', self.netns, 'addr', 'add', f'{self.ip}/24', 'dev', 'eth0')
        ip('-n', self.netns, 'addr', 'add', f'{self.ip6}/64', 'dev', 'eth0', 'nodad')
        ip('-n', self.netns, 'link', 'set', 'eth0', 'up')
        ip('-n', self.netns, 'route', 'add', 'default', 'via', '10.244.77.1')
        ip('-n', self.netns, '-6', 'route', 'add', 'default', 'via', 'fd00:10:244:77::1')
        self.run('sysctl', '-qw', 'net.ipv4.ip_unprivileged_port_start=0')

    def run(self, *argv, check=True, **options):
        done = subprocess.run(['ip', 'netns', 'exec', self.netns, *argv], capture_output=True, text=True, env=CLEAN, **options)
        if check and done.returncode:
            raise RuntimeError(f'{argv}: exit {done.returncode}: {done.stderr}{done.stdout}')
        return done

    def yaml(self):
        labels = json.dumps(self.labels)
        annotations = '{inject.istio.io/templates: gateway}' if self.gateway else '{}'
        return f'''---
apiVersion: v1
kind: Pod
metadata: {{name: {self.name}, namespace: default, labels: {labels}, annotations: {annotations}}}
spec: {{serviceAccountName: {self.name}, containers: [{{name: app, image: app}}]}}
status: {{phase: Running, podIP: {self.ip}, podIPs: [{{ip: {self.ip}}}, {{ip: "{self.ip6}"}}], conditions: [{{type: Ready, status: "True"}}]}}
'''

    def init(self, *flags):
        self.run(f'{BIN}/sluice-init', '-p', '15001', '-z', '15006', '-u', '1337', '-m', 'REDIRECT', '-i', '*', '-x', '', '-b', '*',
                 '-d', '15090,15021,15020', *flags)

    def start_proxy(self):
        self.launch_proxy()
        self.wait(lambda: self.admin(15021, '/healthz/ready')[0] == 200, 'ready')

    def launch_proxy(self, *flags, become=('--reuid=1337',), env=None):
        self.log = open(f'{self.lab.folder}/{self.name}.log', 'ab')
        self.access = open(f'{self.lab.folder}/{self.name}.access', 'ab')
        self.proxy = subprocess.Popen(
            ['ip', 'netns', 'exec', self.netns, 'setpriv', *become, '--regid=1337', '--clear-groups', '--pdeathsig=KILL',
             f'{BIN}/sluice-proxy', 'gateway' if self.gateway else 'sidecar', '--config', self.lab.config, '--pod', f'default/{self.name}', *flags],
            stdin=subprocess.DEVNULL, stdout=self.access, stderr=self.log, env={**CLEAN, **(env or {})}, cwd='/')

    def kill_proxy(self, how=signal.SIGKILL):
        self.proxy.send_signal(how)
        return self.proxy.wait(timeout=20)

    def admin(self, port, path, method='GET'):
        def ask():
            connection = http.client.HTTPConnection('127.0.0.1', port, timeout=5)
            connection.request(method, path)
            answer = connection.getresponse()
            result = answer.status, answer.read().decode()
            connection.close()
            return result
        return inside(self.netns, ask)

    def wait(self, what, name, seconds=20):
        limit = time.monotonic() + seconds
        while True:
            if self.proxy and self.proxy.poll() is not None:
                raise RuntimeError(f'proxy of {self.name} ended with {self.proxy.returncode}: {self.tail()}')
            try:
                if what():
                    return
            except OSError:
                pass
            if time.monotonic() > limit:
                raise RuntimeError(f'{self.name}: not {name} after {seconds} s: {self.tail()}')
            time.sleep(0.02)   # polling for an event of another process

    def tail(self):
        with open(self.log.name, errors='replace') as file:
            return ''.join(file.readlines()[-12:])

    def access_lines(self):
        with open(self.access.name, errors='replace') as file:
            return file.read().splitlines()

    def connect(self, address, port, uid=1000, timeout=10):
        return inside(self.netns, lambda: socket.create_connection((address, port), timeout), uid)

    def http(self, address, port, host, uid=1000):
        """A connection that stays open; use request() on it."""
        connection = http.client.HTTPConnection(address, port, timeout=20)
        connection.sock = self.connect(address, port, uid, 20)
        connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.host_header = host
        return connection

    def app(self, port, **options):
        self.apps.append(App(self.netns, self.name, port, **options))
        return self.apps[-1]

    def rss_mb(self):
        with open(f'/proc/{self.proxy.pid}/status') as file:
            return next(int(line.split()[1]) for line in file if line.startswith('VmHWM:')) / 1024


def request(connection, path, method='GET', body=None, headers=None):
    connection.request(method, path, body=body, headers={'Host': connection.host_header, **(headers or {})})
    answer = connection.getresponse()
    data = answer.read()
    return answer.status, dict(answer.getheaders()), data


class Lab:
    def __init__(self):
        self.prefix = f'slt{os.getpid()}'
        self.folder = tempfile.mkdtemp(prefix='sluice-test-')
        os.chmod(self.folder, 0o755)
        self.config = f'{self.folder}/config'
        os.mkdir(self.config)
        self.netns, self.pods, self.files = [], [], {}
        atexit.register(self.close)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, lambda n, _: sys.exit(128 + n))
        self.bridge = f'{self.prefix}-bridge'
        ip('netns', 'add', self.bridge)
        self.netns.append(self.bridge)
        ip('-n', self.bridge, 'link', 'add', 'br0', 'type', 'bridge')
        ip('-n', self.bridge, 'addr', 'add', '10.244.77.1/24', 'dev', 'br0')
        ip('-n', self.bridge, 'addr', 'add', 'fd00:10:244:77::1/64', 'dev', 'br0', 'nodad')
        ip('-n', self.bridge, 'link', 'set', 'br0', 'up')

    def close(self):
        for pod in self.pods:
            if pod.proxy and pod.proxy.poll() is None:
                pod.proxy.kill()
                pod.proxy.wait()
        for name in reversed(self.netns):
            subprocess.run(['ip', 'netns', 'del', name], capture_output=True)
        self.netns = []
        shutil.rmtree(self.folder, ignore_errors=True)

    def pod(self, name, labels=None, **options):
        self.pods.append(Pod(self, name, len(self.pods) + 10, labels or {'app': name}, **options))
        return self.pods[-1]

    def write(self, name, text):
        """One file by one rename, as editors and ConfigMap volumes do."""
        self.files[name] = text.encode()
        temporary = f'{self.config}/.{name}.new'
        with open(temporary, 'wb') as file:
            file.write(self.files[name])
        os.chmod(temporary, 0o644)
        os.rename(temporary, f'{self.config}/{name}')

    def write_pods(self):
        self.write('pods.yaml', MESH + ''.join(pod.yaml() for pod in self.pods))

    def digest(self):
        total = hashlib.sha256()
        for name in sorted(self.files, key=str.encode):
            total.update(name.encode() + b'\0' + self.files[name] + b'\0')
        return total.hexdigest()

    def settled(self):
        """Every proxy works with exactly the files as they are now."""
        want = self.digest()

        def live(pod):
            status = json.loads(pod.admin(15000, '/config/status')[1])
            return status['digest'] == want and status['applied_on_all_workers']
        for pod in self.pods:
            if pod.proxy:
                pod.wait(lambda: live(pod), f'on configuration {want[:12]}')


MESH = '''apiVersion: v1
kind: ConfigMap
metadata: {name: istio, namespace: istio-system}
data:
  mesh: |
    accessLogFile: /dev/stdout
'''


def service(name, ports, number, selector=None):
    """ports: {name: port}; the target port is the same."""
    lines = ''.join(f'  - {{name: {n}, port: {p}, targetPort: {p}}}\n' for n, p in ports.items())
    return f'''---
apiVersion: v1
kind: Service
metadata: {{name: {name}, namespace: default}}
spec:
  clusterIP: 10.96.77.{number}
  clusterIPs: [10.96.77.{number}, "fd00:10:96:77::{number:x}"]
  ipFamilies: [IPv4, IPv6]
  selector: {{app: {selector or name}}}
  ports:
{lines}'''
